//! The gateway in front of small real servers on loopback: they are its true edge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap is a failed test"
)]

mod cors;
mod documentation;
mod failures;
mod fixture;
mod hygiene;
mod limits;
mod operations;
mod process;
mod rate_limits;
mod redis_away;
mod routing;
mod smuggling;
mod streaming;
