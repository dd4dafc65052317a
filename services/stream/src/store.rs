//! Every SQL query of the service, one file a subject.
//!
//! The database's clock is the only one: instances of this service never compare their own. Lock
//! order everywhere: a user's advisory lock, then the stream's row, then its broadcast's; only
//! renewals touch broadcasts without their stream.

mod accounts;
mod broadcasts;
mod events;
mod finalize;
mod followed;
mod ingest;
mod listing;
mod rows;
mod silence;
mod streams;
mod usernames;

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, migrate::Migrator};

pub use broadcasts::PastBroadcast;
pub use events::HealthSample;
pub use finalize::Unfinalized;
pub use followed::FollowedRow;
pub use ingest::{Admitted, Holder};
pub use listing::{PublicQuery, public_position};
pub use rows::StreamRow;
pub use streams::Published;
pub use usernames::{AuthDatabase, Usernames};

/// The tables of `streams_db`.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/stream");

/// The rules whose figures an operator sets.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a key opens its stream.
    pub key_ttl: Duration,
    /// Active streams a user may have; 0: any number.
    pub max_active_streams: u32,
    /// How long a key is refused after `stop`.
    pub stop_hold: Duration,
    /// Least time between two rotations of a key.
    pub key_cooldown: Duration,
    /// A broadcast of which nothing was heard for this long is over.
    pub silence: Duration,
    /// How long the transcoder of an ended broadcast has to confirm its ENDLIST before another
    /// one is asked for it.
    pub finalize_confirm: Duration,
}

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    usernames: Arc<Usernames>,
    rules: Rules,
}

impl Store {
    /// The store over a migrated database.
    pub fn new(pool: PgPool, usernames: Usernames, rules: Rules) -> Self {
        Self {
            pool,
            usernames: Arc::new(usernames),
            rules,
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(drop)
    }
}

/// Postgres has no unsigned numbers; what does not fit was never given out by us.
fn int8(field: &str, value: u64) -> Result<i64, crate::error::Error> {
    i64::try_from(value).map_err(|_| crate::error::Error::field(field, "is too large"))
}

/// A duration as an SQL interval.
fn interval(duration: Duration) -> sqlx::postgres::types::PgInterval {
    sqlx::postgres::types::PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
