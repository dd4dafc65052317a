//! Accounts, sign-in, sessions and subscriptions (the seeds' user service as well).
//!
//! Owns `auth_db`: users, sessions with their refresh tokens, subscriptions, and the view
//! `users_public` that other databases read through `postgres_fdw`. Answers `/api/auth/*` behind
//! the gateway and `/internal/users/*` to other services. Writes the Redis keys
//! `auth:revoked:{sid}`, by which every service refuses an access token whose session is over (what
//! Redis missed waits in `auth_db`), and emits to Kafka, through its outbox, `user.deleted`,
//! `user.disabled` and `subscription.changed`.

pub mod admin;
pub mod app;
pub mod client_address;
pub mod config;
pub mod cookies;
pub mod credentials;
pub mod device;
pub mod error;
pub mod lockout;
pub mod password;
pub mod profile;
pub mod refresh_token;
pub mod revocation;
pub mod routes;
pub mod session;
pub mod store;
pub mod subscription;
pub mod user;
