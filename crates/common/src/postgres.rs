//! Postgres: a pool with deadlines, and migrations that several instances may start together.

use std::{fmt, str::FromStr, time::Duration};

use clap::Args;
use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use crate::{error_chain, retry::Backoff};

/// How long a request waits for a connection before it is better off with a 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// No statement of a request is worth more; migrations are exempt.
const STATEMENT_TIMEOUT: &str = "30s";
/// A transaction whose client forgot it must not hold its locks for long.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "60s";
/// How long a service waits at its start for the server and for its own database (which the
/// bootstrap may still be making).
const START_PATIENCE: Duration = Duration::from_mins(1);
/// One attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// All migrations together, the wait for another instance's included.
const MIGRATE_TIMEOUT: Duration = Duration::from_mins(5);

/// Where the service's own database is.
#[derive(Clone, Debug, Args)]
pub struct PostgresConfig {
    /// URL of the service's database, `postgres://user:password@host:port/database`.
    #[arg(long, env = "DB_URL", hide_env_values = true)]
    pub db_url: DbUrl,
    /// Largest number of connections this instance opens.
    #[arg(long, env = "DB_MAX_CONNECTIONS", default_value_t = 10)]
    pub db_max_connections: u32,
}

/// A database URL. `Debug` shows `***`, for it holds a password.
#[derive(Clone)]
pub struct DbUrl(Box<PgConnectOptions>);

/// How the server finds out that a client's host has vanished (power, network): after 15 s
/// instead of the two hours of the kernel's default. What such a client held, above all the advisory
/// lock of the outbox's leader, is free again then. The server's side is the one that matters:
/// ours has a deadline on each statement. Without effect on a Unix socket.
const SERVER_KEEPALIVES: [(&str, &str); 4] = [
    // Silence after which it asks, between two questions, and questions without an answer.
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "2"),
    // Milliseconds an answer may stay unacknowledged; while one is, the kernel sends no keepalives.
    ("tcp_user_timeout", "15000"),
];

impl DbUrl {
    /// What it says, with our deadlines for statements, idle transactions and vanished clients.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.0
            .as_ref()
            .clone()
            .options([
                ("statement_timeout", STATEMENT_TIMEOUT),
                (
                    "idle_in_transaction_session_timeout",
                    IDLE_IN_TRANSACTION_TIMEOUT,
                ),
            ])
            .options(SERVER_KEEPALIVES)
    }
}

/// Why a text is no [`DbUrl`]. Never shows the text.
#[derive(Debug, thiserror::Error)]
pub enum DbUrlError {
    /// Not a Postgres URL.
    #[error("not a URL like postgres://user:password@host:5432/database")]
    NotAUrl,
    /// The credentials of the example in public documents.
    #[error("these credentials are an example from public documents, make your own")]
    PublishedExample,
}

impl FromStr for DbUrl {
    type Err = DbUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Seed 002's DB_URL.
        if text.contains("://user:password@") {
            return Err(DbUrlError::PublishedExample);
        }
        let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
        match PgConnectOptions::from_str(text) {
            Ok(options) if is_postgres => Ok(Self(Box::new(options))),
            _ => Err(DbUrlError::NotAUrl),
        }
    }
}

impl fmt::Debug for DbUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It was not there within a minute.
    #[error("the database could not be reached")]
    Unreachable(#[source] sqlx::Error),
    /// A migration failed, or does not fit what ran before.
    #[error("the database could not be migrated")]
    Migrate(#[source] MigrateError),
    /// Another instance held the migration lock, or a migration ran, for five minutes.
    #[error("the migrations did not end in time")]
    MigrateTimeout,
}

/// Wait for the database, migrate it, and open a pool.
///
/// Any number of instances may do so at once: the migrations run under an advisory lock, and
/// those that come second find them done.
pub async fn connect(
    config: &PostgresConfig,
    migrator: &'static Migrator,
) -> Result<PgPool, ConnectError> {
    let options = config.db_url.connect_options();
    migrate(&options, migrator).await?;
    Ok(PgPoolOptions::new()
        .max_connections(config.db_max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(Duration::from_mins(10))
        .connect_lazy_with(options))
}

/// Whether the database answers, for a readiness check.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(pool).await.map(|_| ())
}

/// Whether a failure passes by itself, so that a client should be told to come again (503), not
/// that we made a mistake (500).
pub fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(refusal) => refusal
            .code()
            .is_some_and(|sqlstate| is_passing_state(&sqlstate)),
        _ => false,
    }
}

/// Classes 08 (connection), 53 (resources) and 57 (operator's intervention, and the statement
/// timeout); 25006: a primary that has just become a standby; 40P01: a deadlock's victim.
fn is_passing_state(sqlstate: &str) -> bool {
    ["08", "53", "57", "25006", "40P01"]
        .iter()
        .any(|beginning| sqlstate.starts_with(beginning))
}

/// Migrate on a connection of its own: if anything fails, closing it gives the lock back.
async fn migrate(options: &PgConnectOptions, migrator: &Migrator) -> Result<(), ConnectError> {
    let exempt = options.clone().options([("statement_timeout", "0")]);
    let mut connection = wait_for_server(&exempt).await?;
    let migrated = timeout(
        MIGRATE_TIMEOUT,
        migrator.run_direct(None, &mut connection, false),
    )
    .await
    .map_err(|_| ConnectError::MigrateTimeout)?;
    // It did its work; how it goes is its own business.
    let _ = timeout(CONNECT_TIMEOUT, connection.close()).await;
    migrated.map_err(ConnectError::Migrate)
}

async fn wait_for_server(options: &PgConnectOptions) -> Result<PgConnection, ConnectError> {
    let mut backoff =
        Backoff::new(Duration::from_millis(200), Duration::from_secs(3)).within(START_PATIENCE);
    loop {
        let attempt = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await;
        let error = match attempt {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        // A missing database or role may be one that the bootstrap is about to make, hence every
        // error is waited out.
        let Some(wait) = backoff.next() else {
            return Err(ConnectError::Unreachable(error));
        };
        tracing::warn!(error = error_chain(&error), "waiting for Postgres");
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_database_url_is_never_printed() {
        let url: DbUrl = "postgres://auth:s3cret@db:5432/auth_db".parse().unwrap();
        assert_eq!(format!("{url:?}"), "***");
    }

    #[test]
    fn what_passes_by_itself_is_told_from_mistakes() {
        for passing in [
            "57014", "57P01", "57P03", "08006", "53300", "25006", "40P01",
        ] {
            assert!(is_passing_state(passing), "{passing}");
        }
        for mistake in ["23505", "42P01", "22008", "25001", "40001", ""] {
            assert!(!is_passing_state(mistake), "{mistake}");
        }
        assert!(is_passing(&sqlx::Error::PoolTimedOut));
        assert!(!is_passing(&sqlx::Error::RowNotFound));
    }

    #[test]
    fn other_urls_and_published_credentials_are_refused() {
        for refused in [
            "",
            "auth_db",
            "mysql://auth:s3cret@db/auth_db",
            "postgresql://user:password@localhost:5432/streamly_users",
        ] {
            let error = refused.parse::<DbUrl>().unwrap_err();
            assert!(!error.to_string().contains("s3cret"));
        }
    }
}
