//! Connections to upstreams: made, used for one request after the other, kept while idle.
//!
//! A worker has its own, and a connection is driven by the request that uses it, not by a task of
//! its own: what an upstream answers wakes the client's task at once, on the same thread.

mod connect;
mod exchange;
mod pool;

pub use connect::{ConnectError, Resolver, connect};
pub use exchange::{Connection, Download, ExchangeError};
pub use pool::Pool;
