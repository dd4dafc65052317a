//! Ended broadcasts whose playlists still wait for their ENDLIST.
//!
//! Writing it is the holder's, which may need minutes for its last segments while storage is
//! away, and keeps renewing the broadcast until it is done. It confirms by an `ended` event. One
//! that neither renews nor confirms is dead, and any other transcoder is asked.
//!
//! A stream's broadcasts share their playlists. While a newer one runs, an older one's ENDLIST
//! waits, lest it end the newer one's playlists; once the newer one is live it is void, for the
//! playlists list the newer one only. A newer one that never was live leaves the older one's to be
//! written.

use std::time::Duration;

use marquee_common::contract::{
    BroadcastId, StreamId,
    ingest::{BroadcastLadder, FinalizeRequest},
};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::{Store, interval};
use crate::error::Error;

/// Least wait between two attempts; it doubles up to [`RETRY_MAX`]. Longer than the call itself may
/// take (`transcoders.rs`), so that two transcoders are never at it together.
const RETRY_MIN: Duration = Duration::from_secs(30);
/// Longest wait between two attempts.
const RETRY_MAX: Duration = Duration::from_mins(2);
/// A holder that renews an ended broadcast for longer than it can keep segments (10 min on disk)
/// is not going to finish it.
const HOLDER_MAX: Duration = Duration::from_mins(15);

/// An ended broadcast that somebody has to finalize.
#[derive(Clone, Debug)]
pub struct Unfinalized {
    /// Its stream.
    pub stream_id: StreamId,
    /// What to tell a transcoder.
    pub request: FinalizeRequest,
}

#[derive(FromRow)]
struct Row {
    #[sqlx(try_from = "Uuid")]
    id: BroadcastId,
    #[sqlx(try_from = "Uuid")]
    stream_id: StreamId,
    #[sqlx(try_from = "i64")]
    discontinuity_seq_first: u64,
    ladder: Option<Json<BroadcastLadder>>,
}

impl Store {
    /// Takes ended broadcasts that are due and puts their next attempt off, so that each is asked
    /// for by one instance at a time.
    pub async fn claim_unfinalized(&self, most: i64) -> Result<Vec<Unfinalized>, Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "UPDATE broadcasts SET finalize_attempts = finalize_attempts + 1, \
                 finalize_at = clock_timestamp() \
                     + LEAST($2 * power(2, LEAST(finalize_attempts, 10)), $3) \
             WHERE id IN ( \
                 SELECT id FROM broadcasts b \
                 WHERE ended_at IS NOT NULL AND finalized_at IS NULL \
                   AND finalize_at <= clock_timestamp() \
                   AND (heard_at < clock_timestamp() - $4 OR ended_at < clock_timestamp() - $5) \
                   AND NOT EXISTS ( \
                       SELECT FROM broadcasts r \
                       WHERE r.stream_id = b.stream_id AND r.ended_at IS NULL) \
                 ORDER BY finalize_at LIMIT $1 FOR UPDATE SKIP LOCKED) \
             RETURNING id, stream_id, discontinuity_seq_first, ladder",
        )
        .bind(most)
        .bind(interval(RETRY_MIN))
        .bind(interval(RETRY_MAX))
        .bind(interval(self.rules.finalize_confirm))
        .bind(interval(HOLDER_MAX))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Unfinalized {
                stream_id: row.stream_id,
                request: FinalizeRequest {
                    broadcast_id: row.id,
                    discontinuity_seq_first: row.discontinuity_seq_first,
                    ladder: row.ladder.map(|ladder| ladder.0),
                },
            })
            .collect())
    }

    /// A transcoder did it.
    pub async fn mark_finalized(&self, id: BroadcastId) -> Result<(), Error> {
        sqlx::query(
            "UPDATE broadcasts SET finalized_at = now() WHERE id = $1 AND finalized_at IS NULL",
        )
        .bind(id.0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// `broadcast` is live: its stream's playlists list nothing of older ones any more.
pub(super) async fn mark_older_finalized(
    tx: &mut PgConnection,
    stream: StreamId,
    broadcast: BroadcastId,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE broadcasts SET finalized_at = now() \
         WHERE stream_id = $1 AND id <> $2 AND ended_at IS NOT NULL AND finalized_at IS NULL",
    )
    .bind(stream.0)
    .bind(broadcast.0)
    .execute(tx)
    .await?;
    Ok(())
}
