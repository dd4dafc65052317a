//! The one door to the platform's API: `/api/*` and `/stream/*` to the services behind it.
//!
//! Owns no data but how often each client asks (Redis, `gateway:limit:*`). It decides which service a
//! path belongs to, removes what a client must not say (identity and hop-by-hop headers), says what
//! the client cannot (its address), answers CORS for the whole API, keeps rate limits and deadlines,
//! and passes bodies on as they come. `/internal/*` has no way through.

pub mod admission;
pub mod app;
pub mod body;
pub mod config;
pub mod cors;
pub mod error;
pub mod forward;
pub mod headers;
pub mod openapi;
pub mod path;
pub mod rate_limit;
pub mod route_table;
pub mod routes;
pub mod upstream;
