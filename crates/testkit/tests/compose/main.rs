//! What `docker compose up` starts from: docker-compose.yml, its production overlay, deploy/Dockerfile, .env.example and
//! the scripts in deploy/compose. Only their text is looked at, and the scripts are run: no engine is needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod accepted;
mod containers;
mod dockerfile;
mod files;
mod secrets;
mod variables;
