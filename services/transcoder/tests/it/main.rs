//! The transcoder against real storage and a real ffmpeg.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod edge;
mod encode;
mod output;
mod storage;
mod thumbnail;
