//! Real servers for tests and for the local stack.
//!
//! Nothing in Marquee mocks Postgres, Redis, S3 or Kafka. This crate boots private instances of the
//! real ones from what a Debian machine has, without containers, and is used twice: by the binary
//! `stack` (`make demo`, `make up`, `make e2e`) and, as a library, by the services' tests, which ask
//! [`infra`] where the servers are, take a fresh [`database`] each and wait with [`eventually`].

pub mod answer;
pub mod error;
pub mod eventually;
pub mod infra;
pub mod low_latency;
pub mod ports;
pub mod process;
pub mod progress;
pub mod servers;
pub mod stack;
mod state_file;

pub use answer::{Answer, Problem, answer};
pub use eventually::eventually;
pub use infra::{Infra, S3, TestDatabase, database, infra};
pub use ports::{free_port, free_udp_port};
pub use process::{TestProcess, spawn_process};
