//! The shapes that cross a service boundary: ids, HTTP bodies, event payloads, problems.
//!
//! Pure data (serde, uuid, time): both ends of a call compile against the same type, so a field
//! cannot be renamed on one side only. Nothing here does I/O.

pub mod account;
mod ids;
pub mod ingest;
pub mod live;
mod page;
mod problem;
mod token;

pub use ids::{BroadcastId, EventId, SessionId, StreamId, UserId};
pub use page::{Page, PageQuery};
pub use problem::{FieldError, PROBLEM_JSON, Problem};
pub use token::{AccessClaims, Role};
