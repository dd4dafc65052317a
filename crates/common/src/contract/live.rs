//! The Kafka topic `live`: when a broadcast starts and ends, in order per stream.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{BroadcastId, EventId, StreamId, UserId};

/// Topic of [`LiveEvent`]s, keyed by `stream_id`.
pub const LIVE_TOPIC: &str = "live";

/// A message on [`LIVE_TOPIC`]. Delivered at least once; apply by `event_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEvent {
    /// Unique per event.
    pub event_id: EventId,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub timestamp: OffsetDateTime,
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: LiveEventKind,
    /// The stream.
    pub stream_id: StreamId,
    /// The broadcast that started or ended.
    pub broadcast_id: BroadcastId,
    /// The stream's owner.
    pub user_id: UserId,
    /// The stream's title at that time.
    pub title: String,
    /// The stream's visibility at that time.
    pub visibility: String,
    /// The rungs on offer, highest first; audio only is `["audio"]`.
    pub available_qualities: Vec<String>,
    /// When the broadcast started.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it ended; `None` in `live.started`.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub ended_at: Option<OffsetDateTime>,
}

/// The `type` of a [`LiveEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiveEventKind {
    /// The first segment of a broadcast can be played.
    #[serde(rename = "live.started")]
    Started,
    /// The broadcast is over and will not go on.
    #[serde(rename = "live.ended")]
    Ended,
}

/// Answer of `GET /internal/broadcasts/{id}` on the stream service: what a consumer of
/// [`LiveEvent`]s may want to look up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BroadcastInfo {
    /// The stream.
    pub stream_id: StreamId,
    /// The stream's owner.
    pub user_id: UserId,
    /// The stream's title while the broadcast ran.
    pub title: String,
    /// The stream's visibility while it ran.
    pub visibility: String,
    /// When it went live; `None` when it never did.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended; `None` while it runs.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// The rungs on offer, highest first.
    pub available_qualities: Vec<String>,
}
