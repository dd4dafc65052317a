//! The transcoder's webhook: what happened to a broadcast.

use marquee_common::contract::{
    StreamId,
    ingest::{
        BroadcastLadder, BroadcastState, EndData, EventReceipt, HealthData, LiveData,
        TranscoderEvent, TranscoderEventKind,
    },
};
use sqlx::{FromRow, PgConnection, types::Json};
use time::OffsetDateTime;

use super::{
    Store,
    broadcasts::{announce, end_broadcast, lock_broadcast, show_on_stream},
    finalize::mark_older_finalized,
    int8,
    rows::{BroadcastRow, LockedStream},
    streams::lock_stream,
};
use crate::{
    error::Error,
    lifecycle::{Phase, Signal},
};

/// A health sample of a stream.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct HealthSample {
    /// When it was taken, by the transcoder's clock within what ours allows.
    pub at: OffsetDateTime,
    /// What was measured.
    pub data: Json<HealthData>,
}

impl Store {
    /// Applies an event if it is the present holder's and newer than the last one, and answers
    /// with the authority's word either way.
    pub async fn apply_event(
        &self,
        stream_id: StreamId,
        event: &TranscoderEvent,
    ) -> Result<EventReceipt, Error> {
        let seq = int8("seq", event.seq)?;
        let mut tx = self.pool.begin().await?;
        let stream = lock_stream(&mut tx, stream_id).await?;
        let found = lock_broadcast(&mut tx, event.broadcast_id).await?;
        let Some(broadcast) = found.filter(|found| found.stream_id == stream_id) else {
            // As in a renewal: what nobody knows is over.
            return Ok(EventReceipt {
                epoch: event.epoch,
                broadcast: BroadcastState::Ended,
            });
        };
        let newer = event.epoch == broadcast.epoch && seq > broadcast.applied_seq;
        let mut over = broadcast.ended_at.is_some();
        if newer && insert_event(&mut tx, &broadcast, event, seq).await? {
            self.apply(&mut tx, stream.as_ref(), &broadcast, event)
                .await?;
            over |= matches!(event.kind, TranscoderEventKind::Ended(_));
            tx.commit().await?;
        } else {
            tracing::debug!(
                broadcast_id = %broadcast.id,
                epoch = event.epoch,
                seq,
                "an event that was applied before, or is older than one that was"
            );
        }
        Ok(EventReceipt {
            epoch: broadcast.epoch,
            broadcast: if over {
                BroadcastState::Ended
            } else {
                BroadcastState::Running
            },
        })
    }

    /// A stream's health samples of the last hour, newest first.
    pub async fn list_health(&self, stream: StreamId) -> Result<Vec<HealthSample>, Error> {
        let samples = sqlx::query_as(
            "SELECT at, data FROM broadcast_events \
             WHERE stream_id = $1 AND type = 'health' AND at > now() - interval '1 hour' \
             ORDER BY epoch DESC, seq DESC LIMIT 1000",
        )
        .bind(stream.0)
        .fetch_all(&self.pool)
        .await?;
        Ok(samples)
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        stream: Option<&LockedStream>,
        broadcast: &BroadcastRow,
        event: &TranscoderEvent,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE broadcasts SET applied_seq = $2, heard_at = clock_timestamp() WHERE id = $1",
        )
        .bind(broadcast.id.0)
        .bind(int8("seq", event.seq)?)
        .execute(&mut *tx)
        .await?;
        match &event.kind {
            TranscoderEventKind::Health(_) => Ok(()),
            TranscoderEventKind::Live(data) => {
                go_live(tx, stream, broadcast, data, happened_at(event, broadcast)).await
            }
            TranscoderEventKind::Interrupted(data) => interrupt(tx, stream, broadcast, data).await,
            TranscoderEventKind::Ended(data) => match broadcast.phase {
                Phase::Ended => mark_finalized(tx, broadcast).await,
                Phase::Starting | Phase::Live | Phase::Interrupted => {
                    let at = happened_at(event, broadcast);
                    end_broadcast(tx, stream, broadcast, &data.reason, at).await
                }
            },
        }
    }
}

/// Remembers an event for an hour; `false` if it was there already.
async fn insert_event(
    tx: &mut PgConnection,
    broadcast: &BroadcastRow,
    event: &TranscoderEvent,
    seq: i64,
) -> Result<bool, Error> {
    let (name, data) = match &event.kind {
        TranscoderEventKind::Live(data) => ("live", serde_json::to_value(data)),
        TranscoderEventKind::Health(data) => ("health", serde_json::to_value(data)),
        TranscoderEventKind::Interrupted(data) => ("interrupted", serde_json::to_value(data)),
        TranscoderEventKind::Ended(data) => ("ended", serde_json::to_value(data)),
    };
    let inserted = sqlx::query(
        "INSERT INTO broadcast_events (event_id, stream_id, broadcast_id, epoch, seq, type, at, \
                                       data, received_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now()) ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(event.event_id.0)
    .bind(broadcast.stream_id.0)
    .bind(broadcast.id.0)
    .bind(int8("epoch", event.epoch)?)
    .bind(seq)
    .bind(name)
    .bind(happened_at(event, broadcast))
    .bind(data.map_err(Error::Serialize)?)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// When it happened, by the transcoder's clock but within what ours allows.
fn happened_at(event: &TranscoderEvent, broadcast: &BroadcastRow) -> OffsetDateTime {
    let earliest = broadcast.started_at.unwrap_or(broadcast.created_at);
    event.at.clamp(earliest, earliest.max(broadcast.now))
}

/// `live`: the broadcast can be played. The first one fixes the ladder and the start.
async fn go_live(
    tx: &mut PgConnection,
    stream: Option<&LockedStream>,
    broadcast: &BroadcastRow,
    data: &LiveData,
    at: OffsetDateTime,
) -> Result<(), Error> {
    let step = broadcast.phase.on(Signal::WentLive);
    let ladder = broadcast.ladder.clone().unwrap_or_else(|| {
        Json(BroadcastLadder {
            rungs: data.available_qualities.clone(),
            audio: data.audio,
        })
    });
    let live = BroadcastRow {
        phase: step.phase,
        ladder: Some(ladder),
        started_at: broadcast.started_at.or(Some(at)),
        interrupted_at: None,
        ..broadcast.clone()
    };
    write_phase(tx, stream, &live).await?;
    announce(tx, &live, step.announce).await?;
    if step.announce.is_some() {
        mark_older_finalized(tx, live.stream_id, live.id).await?;
        tracing::info!(
            stream_id = %live.stream_id,
            broadcast_id = %live.id,
            qualities = live.rungs().join(","),
            codec = data.codec,
            width = data.width,
            height = data.height,
            fps = data.fps,
            "broadcast live"
        );
    }
    Ok(())
}

/// `interrupted`: the publisher is away and has the grace to come back.
async fn interrupt(
    tx: &mut PgConnection,
    stream: Option<&LockedStream>,
    broadcast: &BroadcastRow,
    data: &EndData,
) -> Result<(), Error> {
    tracing::info!(
        stream_id = %broadcast.stream_id,
        broadcast_id = %broadcast.id,
        reason = data.reason,
        log = data.log.join("\n"),
        "broadcast interrupted"
    );
    let step = broadcast.phase.on(Signal::Interrupted);
    let away = BroadcastRow {
        phase: step.phase,
        interrupted_at: Some(broadcast.now),
        ..broadcast.clone()
    };
    write_phase(tx, stream, &away).await
}

/// Writes where a broadcast stands, unless it is over already, and shows it on its stream.
async fn write_phase(
    tx: &mut PgConnection,
    stream: Option<&LockedStream>,
    broadcast: &BroadcastRow,
) -> Result<(), Error> {
    if broadcast.phase == Phase::Ended {
        return Ok(());
    }
    sqlx::query(
        "UPDATE broadcasts SET phase = $2, ladder = $3, started_at = $4, interrupted_at = $5 \
         WHERE id = $1",
    )
    .bind(broadcast.id.0)
    .bind(broadcast.phase.name())
    .bind(&broadcast.ladder)
    .bind(broadcast.started_at)
    .bind(broadcast.interrupted_at)
    .execute(&mut *tx)
    .await?;
    match stream {
        Some(stream) => show_on_stream(tx, stream, broadcast).await,
        None => Ok(()),
    }
}

/// `ended` of a broadcast that is over: its holder has written ENDLIST.
async fn mark_finalized(tx: &mut PgConnection, broadcast: &BroadcastRow) -> Result<(), Error> {
    sqlx::query(
        "UPDATE broadcasts SET finalized_at = now() WHERE id = $1 AND finalized_at IS NULL",
    )
    .bind(broadcast.id.0)
    .execute(tx)
    .await?;
    Ok(())
}
