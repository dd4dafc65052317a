//! The stream service: streams and their keys, who may publish, what is live, who watches.
//!
//! - **Owns** `streams_db`: streams, broadcasts and their epochs. Its broadcast row is the only
//!   authority on who may write a broadcast (DESIGN.md section 3).
//! - **Consumes** the transcoders' webhook and renewals; `auth_db.users_public` by `postgres_fdw`;
//!   `user.deleted` and `user.disabled` from Kafka.
//! - **Emits** `live.started` and `live.ended` on the Kafka topic `live`, through its outbox; tells
//!   transcoders to disconnect a publisher or to finalize a broadcast.

pub mod accounts;
pub mod addresses;
pub mod admission;
pub mod app;
pub mod config;
pub mod cursor;
pub mod error;
pub mod followers;
pub mod lifecycle;
pub mod metadata;
pub mod ownership;
pub mod recent_copies;
pub mod routes;
pub mod store;
pub mod stream_key;
pub mod sweeper;
pub mod transcoders;
pub mod viewer_session;
pub mod viewers;
