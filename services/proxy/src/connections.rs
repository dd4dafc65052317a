//! Connections to upstreams: made, used for one request after the other, kept while idle.
//!
//! A worker has its own, and a connection is driven by the request that uses it, not by a task of
//! its own: what an upstream answers wakes the client's task at once, on the same thread.

mod connect;
mod exchange;
mod pool;
mod resolve;

pub use connect::ConnectError;
pub use exchange::{Connection, Download, ExchangeError};
pub use pool::Pool;
pub use resolve::{MAX_LOOKUPS, Resolver};
