//! The proxy between a real Redis and small real servers on loopback: they are its true edge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap is a failed test"
)]

mod bad_input;
mod coalescing;
mod fixture;
mod invalidation;
mod loops;
mod openapi;
mod operations;
mod redis_faults;
mod relay;
mod routes_api;
mod routing;
mod streaming;
mod upgrades;
mod upstream_faults;
