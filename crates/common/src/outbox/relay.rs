//! From the table to Kafka.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use futures::{StreamExt, stream};
use sqlx::{Connection, FromRow, PgConnection, PgPool};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    error_chain,
    kafka::{KafkaError, Producer},
    retry::Backoff,
};

/// Who holds this lock of the database relays; the bytes of "outbox".
const LEADER_LOCK: i64 = 0x6f75_7462_6f78;
/// How soon a follower notices that the leader is gone.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a new row is seen.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Rows in memory at a time.
const BATCH: i64 = 500;
/// Keys that are sent side by side.
const CONCURRENT_KEYS: usize = 64;
/// Deadline of a statement: a database that hangs is left, and the lock with it.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Sent rows are kept this long, for whoever looks for a missing event.
const PRUNE_INTERVAL: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the outbox cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer in time")]
    Timeout,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    topic: String,
    key: String,
    payload: String,
}

/// Send what [`enqueue`](super::enqueue) wrote, until `stop`. Run it in every instance: one of
/// them, who holds an advisory lock, sends; the others stand by.
///
/// It outlives outages of Postgres and Kafka. Rows are marked as sent when Kafka has them, on the
/// connection that holds the lock, so a leader that lost it marks nothing.
pub async fn relay(pool: PgPool, producer: Producer, stop: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    while !stop.is_cancelled() {
        let mut led = false;
        let error = tokio::select! {
            // Dropped half-way it closes the connection and gives up the lock; what was sent and
            // not marked is sent again.
            ended = lead(&pool, &producer, &mut led) => match ended {
                Ok(never) => match never {},
                Err(error) => error,
            },
            () = stop.cancelled() => return,
        };
        tracing::warn!(error = error_chain(&error), "outbox relay starts again");
        if led {
            backoff.reset();
        }
        let wait = backoff.next().unwrap_or_default();
        let _ = timeout(wait, stop.cancelled()).await;
    }
}

/// Become the leader, then relay for as long as the connection lasts.
async fn lead(
    pool: &PgPool,
    producer: &Producer,
    led: &mut bool,
) -> Result<Infallible, RelayError> {
    // The pool's options bring the server's keepalives: should this host vanish, the lock is free
    // for a follower after 15 s (`postgres.rs`).
    let options = pool.connect_options();
    let mut connection = within(PgConnection::connect_with(&options)).await?;
    while !try_lock(&mut connection).await? {
        sleep(FOLLOW_INTERVAL).await;
    }
    *led = true;
    tracing::debug!("relaying the outbox");

    let mut outage = Outage::default();
    let mut prune_at = Instant::now();
    loop {
        let rows = unsent(&mut connection).await?;
        if rows.is_empty() {
            sleep(POLL_INTERVAL).await;
        } else {
            let (sent, failure) = send(producer, rows).await;
            mark_sent(&mut connection, &sent).await?;
            outage.note(failure).await;
        }
        if Instant::now() >= prune_at {
            prune(&mut connection).await?;
            prune_at = Instant::now() + PRUNE_INTERVAL;
        }
    }
}

/// Kafka's, logged at its begin and end.
struct Outage {
    since: Option<Instant>,
    backoff: Backoff,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            since: None,
            // Short, for each failed attempt has waited for its delivery already.
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
        }
    }
}

impl Outage {
    async fn note(&mut self, failure: Option<KafkaError>) {
        let Some(error) = failure else {
            if let Some(since) = self.since.take() {
                let lasted_s = since.elapsed().as_secs();
                tracing::info!(lasted_s, "outbox delivers again");
                self.backoff.reset();
            }
            return;
        };
        if self.since.is_none() {
            self.since = Some(Instant::now());
            tracing::warn!(error = error_chain(&error), "outbox waits for Kafka");
        }
        sleep(self.backoff.next().unwrap_or_default()).await;
    }
}

/// Send rows, those of a key one after another, and stop with a key at its first failure. The ids
/// of those that Kafka has, and a failure if there was one.
async fn send(producer: &Producer, rows: Vec<Row>) -> (Vec<i64>, Option<KafkaError>) {
    let mut by_key: HashMap<(String, String), Vec<Row>> = HashMap::new();
    for row in rows {
        let key = (row.topic.clone(), row.key.clone());
        by_key.entry(key).or_default().push(row);
    }
    let results: Vec<(Vec<i64>, Option<KafkaError>)> = stream::iter(by_key.into_values())
        .map(|rows| send_key(producer, rows))
        .buffer_unordered(CONCURRENT_KEYS)
        .collect()
        .await;
    let mut sent = Vec::new();
    let mut failure = None;
    for (ids, error) in results {
        sent.extend(ids);
        failure = failure.or(error);
    }
    (sent, failure)
}

async fn send_key(producer: &Producer, rows: Vec<Row>) -> (Vec<i64>, Option<KafkaError>) {
    let mut sent = Vec::with_capacity(rows.len());
    for row in rows {
        let payload = row.payload.as_bytes();
        if let Err(error) = producer.send(&row.topic, &row.key, payload).await {
            return (sent, Some(error));
        }
        sent.push(row.id);
    }
    (sent, None)
}

async fn try_lock(connection: &mut PgConnection) -> Result<bool, RelayError> {
    within(
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LEADER_LOCK)
            .fetch_one(connection),
    )
    .await
}

/// The oldest rows that are not sent. Never "id above the last": a transaction that drew a lower
/// id may commit later.
async fn unsent(connection: &mut PgConnection) -> Result<Vec<Row>, RelayError> {
    within(
        sqlx::query_as(
            "SELECT id, topic, key, payload::text AS payload FROM outbox
             WHERE sent_at IS NULL ORDER BY id LIMIT $1",
        )
        .bind(BATCH)
        .fetch_all(connection),
    )
    .await
}

async fn mark_sent(connection: &mut PgConnection, ids: &[i64]) -> Result<(), RelayError> {
    if ids.is_empty() {
        return Ok(());
    }
    within(
        sqlx::query("UPDATE outbox SET sent_at = now() WHERE id = ANY($1)")
            .bind(ids)
            .execute(connection),
    )
    .await
    .map(|_| ())
}

/// In bites, so that a long backlog does not become one long statement.
async fn prune(connection: &mut PgConnection) -> Result<(), RelayError> {
    within(
        sqlx::query(
            "DELETE FROM outbox WHERE id IN (
                 SELECT id FROM outbox WHERE sent_at < now() - interval '1 hour'
                 ORDER BY id LIMIT 5000)",
        )
        .execute(connection),
    )
    .await
    .map(|_| ())
}

async fn within<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, RelayError> {
    match timeout(STATEMENT_TIMEOUT, work).await {
        Ok(result) => result.map_err(RelayError::Database),
        Err(_) => Err(RelayError::Timeout),
    }
}
