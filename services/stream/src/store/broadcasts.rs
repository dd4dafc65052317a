//! A broadcast's row: locking, ending, and telling of it.

use marquee_common::{
    contract::{
        BroadcastId, EventId, StreamId,
        live::{BroadcastInfo, LIVE_TOPIC, LiveEvent, LiveEventKind},
    },
    outbox,
};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Store,
    rows::{BroadcastRow, LockedStream, broadcast_columns},
    streams::key_expired,
};
use crate::{
    error::Error,
    lifecycle::{Announcement, Phase, Signal, StreamStatus},
};

/// Longest reason that is kept.
const REASON_MAX: usize = 100;

/// A broadcast of the past, or the running one, for its owner.
#[derive(Clone, Debug, FromRow)]
pub struct PastBroadcast {
    /// Its id.
    #[sqlx(try_from = "Uuid")]
    pub id: BroadcastId,
    /// The stream's title while it ran.
    pub title: String,
    /// When it went live.
    pub started_at: OffsetDateTime,
    /// When it was over; `None` while it runs.
    pub ended_at: Option<OffsetDateTime>,
    /// Why it is over.
    pub end_reason: Option<String>,
    /// Its rungs.
    pub available_qualities: Vec<String>,
    /// Orders the list.
    pub epoch: i64,
}

impl Store {
    /// A stream's broadcasts that went live, newest first, below `before`.
    pub async fn list_broadcasts(
        &self,
        stream: StreamId,
        before: Option<i64>,
        rows: i64,
    ) -> Result<Vec<PastBroadcast>, Error> {
        let list = sqlx::query_as(
            "SELECT id, title, started_at, ended_at, end_reason, epoch, \
                    ARRAY(SELECT jsonb_array_elements_text(ladder -> 'rungs')) \
                        AS available_qualities \
             FROM broadcasts \
             WHERE stream_id = $1 AND started_at IS NOT NULL AND ($2::int8 IS NULL OR epoch < $2) \
             ORDER BY epoch DESC LIMIT $3",
        )
        .bind(stream.0)
        .bind(before)
        .bind(rows)
        .fetch_all(&self.pool)
        .await?;
        Ok(list)
    }

    /// A broadcast, also of a stream that is gone.
    pub async fn find_broadcast(&self, id: BroadcastId) -> Result<Option<BroadcastInfo>, Error> {
        const SQL: &str = concat!(
            "SELECT ",
            broadcast_columns!(),
            " FROM broadcasts WHERE id = $1"
        );
        let row: Option<BroadcastRow> = sqlx::query_as(SQL)
            .bind(id.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| BroadcastInfo {
            available_qualities: row.rungs(),
            stream_id: row.stream_id,
            user_id: row.user_id,
            title: row.title,
            visibility: row.visibility,
            started_at: row.started_at,
            ended_at: row.ended_at,
        }))
    }
}

/// Locks the broadcast that runs on a stream, if one does. The stream's row is locked before.
pub(super) async fn lock_running(
    tx: &mut PgConnection,
    stream: StreamId,
) -> Result<Option<BroadcastRow>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        broadcast_columns!(),
        " FROM broadcasts \
         WHERE stream_id = $1 AND ended_at IS NULL FOR UPDATE"
    );
    Ok(sqlx::query_as(SQL)
        .bind(stream.0)
        .fetch_optional(tx)
        .await?)
}

/// Locks a broadcast's row. The stream's row, if there still is one, is locked before.
pub(super) async fn lock_broadcast(
    tx: &mut PgConnection,
    id: BroadcastId,
) -> Result<Option<BroadcastRow>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        broadcast_columns!(),
        " FROM broadcasts WHERE id = $1 FOR UPDATE"
    );
    Ok(sqlx::query_as(SQL).bind(id.0).fetch_optional(tx).await?)
}

/// Ends a running broadcast: its row, its stream's status and `live.ended`, in one transaction.
///
/// Its ENDLIST is then waited for (`store/finalize.rs`), also when it never was live: its
/// transcoder may have published playlists and died before it could say so.
pub(super) async fn end_broadcast(
    tx: &mut PgConnection,
    stream: Option<&LockedStream>,
    broadcast: &BroadcastRow,
    reason: &str,
    at: OffsetDateTime,
) -> Result<(), Error> {
    let step = broadcast.phase.on(Signal::Ended);
    let reason: String = reason.chars().take(REASON_MAX).collect();
    sqlx::query(
        "UPDATE broadcasts SET phase = $2, ended_at = $3, end_reason = $4, \
             finalize_at = now() \
         WHERE id = $1",
    )
    .bind(broadcast.id.0)
    .bind(step.phase.name())
    .bind(at)
    .bind(&reason)
    .execute(&mut *tx)
    .await?;
    let ended = BroadcastRow {
        phase: step.phase,
        ended_at: Some(at),
        ..broadcast.clone()
    };
    if let Some(stream) = stream {
        show_on_stream(tx, stream, &ended).await?;
    }
    announce(tx, &ended, step.announce).await?;
    tracing::info!(
        stream_id = %ended.stream_id,
        broadcast_id = %ended.id,
        reason,
        was_live = step.announce.is_some(),
        "broadcast ended"
    );
    Ok(())
}

/// Brings a stream's status, start and qualities in line with its newest broadcast.
pub(super) async fn show_on_stream(
    tx: &mut PgConnection,
    stream: &LockedStream,
    broadcast: &BroadcastRow,
) -> Result<(), Error> {
    let status = StreamStatus::of(Some(broadcast.phase), key_expired(stream, broadcast.now));
    if !stream.status.may_become(status) {
        // The broadcast's row decides; this can only be a row somebody changed by hand.
        tracing::error!(stream_id = %stream.id, from = %stream.status, to = %status,
            "a stream's status takes a way it cannot take");
    }
    let on_air = matches!(broadcast.phase, Phase::Live | Phase::Interrupted);
    sqlx::query(
        "UPDATE streams SET status = $2, started_at = $3, available_qualities = $4 WHERE id = $1",
    )
    .bind(stream.id.0)
    .bind(status.name())
    .bind(broadcast.started_at.filter(|_| on_air))
    .bind(if on_air {
        broadcast.rungs()
    } else {
        Vec::new()
    })
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts `live.started` or `live.ended` into the outbox, in the transaction that makes it true.
pub(super) async fn announce(
    tx: &mut PgConnection,
    broadcast: &BroadcastRow,
    announcement: Option<Announcement>,
) -> Result<(), Error> {
    let kind = match announcement {
        Some(Announcement::Started) => LiveEventKind::Started,
        Some(Announcement::Ended) => LiveEventKind::Ended,
        None => return Ok(()),
    };
    let event = LiveEvent {
        event_id: EventId::new(),
        timestamp: broadcast.now,
        kind,
        stream_id: broadcast.stream_id,
        broadcast_id: broadcast.id,
        user_id: broadcast.user_id,
        title: broadcast.title.clone(),
        visibility: broadcast.visibility.clone(),
        available_qualities: broadcast.rungs(),
        started_at: broadcast.started_at.unwrap_or(broadcast.created_at),
        ended_at: broadcast.ended_at,
    };
    Ok(outbox::enqueue(tx, LIVE_TOPIC, &broadcast.stream_id.to_string(), &event).await?)
}
