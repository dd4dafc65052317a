//! Broadcasts whose transcoder has fallen silent, and what is kept too long.

use std::time::Duration;

use marquee_common::contract::{BroadcastId, StreamId};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Store,
    broadcasts::{end_broadcast, lock_broadcast},
    interval,
    streams::lock_stream_if_free,
};
use crate::error::Error;

/// Rows forgotten by one statement.
const PRUNE_BITE: i64 = 5_000;
/// Such statements in one round.
const PRUNE_BITES: u32 = 10;

/// A broadcast of which nothing was heard for too long.
#[derive(Clone, Copy, Debug, FromRow)]
struct Silent {
    #[sqlx(try_from = "Uuid")]
    id: BroadcastId,
    #[sqlx(try_from = "Uuid")]
    stream_id: StreamId,
}

impl Store {
    /// Ends broadcasts of which nothing was heard for the grace and its margin, counted from
    /// when this instance began to listen (`listening` ago) if that is later: a service that was
    /// away itself must not blame the transcoders. Returns how many.
    pub async fn end_silent(&self, listening: Duration) -> Result<u64, Error> {
        if listening < self.rules.silence {
            return Ok(0);
        }
        let silent: Vec<Silent> = sqlx::query_as(
            "SELECT id, stream_id FROM broadcasts \
             WHERE ended_at IS NULL AND heard_at < clock_timestamp() - $1 \
             ORDER BY heard_at LIMIT 100",
        )
        .bind(interval(self.rules.silence))
        .fetch_all(&self.pool)
        .await?;
        let mut ended = 0;
        for broadcast in silent {
            ended += u64::from(self.end_if_silent(broadcast).await?);
        }
        Ok(ended)
    }

    /// Ends one unless it was heard meanwhile, or another instance is at it.
    async fn end_if_silent(&self, silent: Silent) -> Result<bool, Error> {
        let mut tx = self.pool.begin().await?;
        let Some(stream) = lock_stream_if_free(&mut tx, silent.stream_id).await? else {
            return Ok(false);
        };
        let Some(broadcast) = lock_broadcast(&mut tx, silent.id).await? else {
            return Ok(false);
        };
        let heard = broadcast.now - broadcast.heard_at <= self.rules.silence;
        if heard || !broadcast.phase.is_running() {
            return Ok(false);
        }
        let at = broadcast.now;
        end_broadcast(&mut tx, Some(&stream), &broadcast, "silent", at).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets events after an hour, transcoders after a day, and events of accounts when Kafka
    /// cannot bring them again: it keeps a message for a week after the last one of its segment,
    /// which may come a week after the message.
    pub async fn prune(&self) -> Result<(), Error> {
        // In bites; a backlog (this service was away) is gone in a few minutes.
        for _ in 0..PRUNE_BITES {
            let pruned = sqlx::query(
                "DELETE FROM broadcast_events WHERE event_id IN ( \
                     SELECT event_id FROM broadcast_events \
                     WHERE received_at < now() - interval '1 hour' LIMIT $1)",
            )
            .bind(PRUNE_BITE)
            .execute(&self.pool)
            .await?;
            if pruned.rows_affected() < PRUNE_BITE.unsigned_abs() {
                break;
            }
        }
        sqlx::query("DELETE FROM account_events WHERE received_at < now() - interval '15 days'")
            .execute(&self.pool)
            .await?;
        sqlx::query("DELETE FROM transcoders WHERE heard_at < now() - interval '1 day'")
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// How many broadcasts run, for the metric.
    pub async fn count_running(&self) -> Result<i64, Error> {
        let running = sqlx::query_scalar(
            "SELECT count(*) FROM broadcasts WHERE ended_at IS NULL AND phase <> 'starting'",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(running)
    }
}
