//! What `marquee-common` promises its services, against real servers (`make infra`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap is a failed test"
)]

mod access_log;
mod auth;
mod drain;
mod express;
mod framing;
mod kafka;
mod outbox;
mod postgres;
mod problems;
mod redis;
mod s3;
mod server;
mod setup;
mod workspace_rules;
