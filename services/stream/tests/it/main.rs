//! The stream service against real Postgres, Redis and Kafka, in one binary.
//!
//! Time is moved by shifting rows, since the database's clock is the only one the service reads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap is a failed test"
)]
#![allow(
    clippy::similar_names,
    reason = "a word on the world, a patch of a path: short names beside each other"
)]

mod accounts;
mod broadcasts;
mod events;
mod faults;
mod hostile;
mod ingest;
mod kafka;
mod keys;
mod leaks;
mod openapi;
mod public;
mod setup;
mod streams;
mod sweeper;
mod transcoder;
mod usernames;
mod viewers;
mod webhook;
mod wire;
mod world;
