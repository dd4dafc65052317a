//! The listener against real publishers (`srt-live-transmit`, `ffmpeg`) on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

mod admission;
mod delivery;
mod encryption;
mod endings;
mod hostile;
mod publisher;
mod relay;
mod secrets;
mod stream_id;
mod support;
