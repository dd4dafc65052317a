//! The outbox: an event is a row, written in the same transaction as the change it tells of, and
//! sent to Kafka afterwards. So neither exists without the other, and Kafka may be away.
//!
//! Each service that sends has the table, by this text in a migration:
//!
//! ```sql
#![doc = include_str!("outbox/table.sql")]
//! ```
//!
//! Delivery is at least once, and in order for each key of a topic.

mod relay;

use serde::Serialize;
use sqlx::PgConnection;

pub use relay::relay;

/// The table, as a service's migration makes it.
pub const OUTBOX_DDL: &str = include_str!("outbox/table.sql");

/// Kafka's default limit is 1 MB a message; a row above it could never be sent, and would hold up
/// its key for ever.
const MAX_PAYLOAD_BYTES: usize = 512 * 1024;

/// Write an event in the transaction of `connection`. It is sent soon after the commit.
///
/// Until then other transactions that enqueue for the same topic and key wait, so that the order
/// of ids is the order of commits. One that enqueues for several keys does so in the keys' order,
/// lest two wait for each other.
pub async fn enqueue<T>(
    connection: &mut PgConnection,
    topic: &str,
    key: &str,
    payload: &T,
) -> Result<(), sqlx::Error>
where
    T: Serialize + Sync + ?Sized,
{
    let payload =
        serde_json::to_string(payload).map_err(|error| sqlx::Error::Encode(error.into()))?;
    if payload.len() > MAX_PAYLOAD_BYTES {
        let text = format!("an event of {} bytes is too large", payload.len());
        return Err(sqlx::Error::Encode(text.into()));
    }
    // The id is drawn when the row of `turn` is there, hence after the lock is held.
    sqlx::query(
        "WITH turn AS MATERIALIZED (
             SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 0))
         )
         INSERT INTO outbox (topic, key, payload) SELECT $1, $2, $3::jsonb FROM turn",
    )
    .bind(topic)
    .bind(key)
    .bind(payload)
    .execute(connection)
    .await
    .map(|_| ())
}
