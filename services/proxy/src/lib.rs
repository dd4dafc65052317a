//! `/stream/{stream_id}` to the `host:port` that Redis holds under `streams:{stream_id}` (seed 000).
//!
//! Owns the keys `streams:*` together with operators (`redis-cli SET`) and transcoders, which write
//! their own. Requests are passed on by workers, a thread and a runtime each ([`worker`]); where a
//! stream is, is read from Redis once and then from memory until Redis tells of a change
//! ([`lookup`]); equal requests are joined where the upstream lets them be ([`coalesce`]).

pub mod access_log;
pub mod answer;
pub mod app;
pub mod coalesce;
pub mod config;
pub mod connections;
pub mod error;
pub mod forward;
pub mod headers;
pub mod lookup;
pub mod measurements;
pub mod open_files;
pub mod probe;
pub mod request_body;
pub mod route_commands;
pub mod route_table;
pub mod routes;
pub mod stream_id;
pub mod upgrade;
pub mod upstream;
pub mod worker;
