//! What at least two Marquee services need, so that it is written once.
//!
//! [`contract`] is pure data and always there; everything else is behind a feature, so that a
//! service builds only what it uses.

#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "io")]
pub mod config;
pub mod contract;
#[cfg(feature = "server")]
pub mod error;
#[cfg(feature = "server")]
pub mod extract;
#[cfg(feature = "server")]
pub mod forwarding;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "outbox")]
pub mod outbox;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "io")]
pub mod retry;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod telemetry;

/// Any error, owned: how a cause travels to the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error and its sources on one line, `outer: cause: root`, as the log wants it.
///
/// Our errors do not repeat their sources in `Display`, so each part comes once.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Foreign errors often end in their source's text already.
        if !line.ends_with(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        source = cause.source();
    }
    line
}
