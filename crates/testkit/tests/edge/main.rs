//! What nginx does with live media, the API, S3 and the web page, in front of a real S3 server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod api;
mod client_address;
mod fixture;
mod live;
mod page;
mod storage;
