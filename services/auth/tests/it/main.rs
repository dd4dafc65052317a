//! The auth service against a real Postgres and Redis (`make infra`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap is a failed test"
)]

mod account;
mod admin_cli;
mod bad_input;
mod events;
mod fixture;
mod lockout;
mod me;
mod openapi;
mod operations;
mod refresh;
mod registration;
mod relay;
mod sessions;
mod sign_in;
mod sign_out;
mod subscription;
mod users;
mod users_public;
