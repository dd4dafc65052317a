//! What can go wrong while servers are started, in words that tell the reader what to do next.

use std::{io, path::PathBuf};

/// A failure of the launcher.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A program is not installed.
    #[error("{program} is missing: {remedy}")]
    Missing {
        /// The program looked for.
        program: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// A program ran and failed.
    #[error("{what} failed: {detail}")]
    Failed {
        /// The step.
        what: String,
        /// The end of its output, or why it could not be started.
        detail: String,
    },
    /// A server did not answer in time.
    #[error("{name} did not become ready within {within_s} s; the end of {log}:\n{tail}", log = log.display())]
    NotReady {
        /// The server.
        name: String,
        /// The time it was given.
        within_s: u64,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A state file is not what this program writes.
    #[error("{} is not readable as JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A statement failed in Postgres.
    #[error("PostgreSQL refused: {what}")]
    Sql {
        /// What was attempted.
        what: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A call over HTTP failed.
    #[error("{what}")]
    Http {
        /// What was attempted.
        what: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// There is nothing to act on.
    #[error("{0}")]
    Refused(String),
}

/// The result of every step here.
pub type Result<T> = std::result::Result<T, StackError>;

impl StackError {
    /// Wraps an I/O error with the path it is about.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// A failed step with its reason.
    pub fn failed(what: impl Into<String>, detail: &dyn std::fmt::Display) -> Self {
        Self::Failed {
            what: what.into(),
            detail: detail.to_string(),
        }
    }
}
