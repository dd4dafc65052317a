//! Between transcoder and stream service: admission, renewal, webhook, disconnect, finalize.
//!
//! The stream service's broadcast row is the only authority on who may write a broadcast; its
//! `epoch` rises with each admitted publisher, and a transcoder that learns of a higher one stops
//! for good (DESIGN.md section 3, "One authority, one identity").

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{BroadcastId, EventId, StreamId, UserId};

/// How a publisher came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IngestProtocol {
    /// SRT, live mode.
    Srt,
    /// RTMP.
    Rtmp,
}

/// `POST /internal/ingest/authorize`: may this key publish here?
///
/// Answers 200 [`Authorized`], 404 `not_found`, 410 `stream_key_expired`, 403 `held`,
/// 429 `key_contended`.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuthorizeRequest {
    /// The key the publisher gave. A secret: never logged.
    pub stream_key: String,
    /// How the publisher came in.
    pub protocol: IngestProtocol,
    /// The publisher's address, `ip:port`.
    pub remote_addr: String,
    /// Base URL of the asking transcoder's HTTP interface (`http://host:8086`).
    pub transcoder_url: String,
}

impl std::fmt::Debug for AuthorizeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizeRequest")
            .field("stream_key", &"***")
            .field("protocol", &self.protocol)
            .field("remote_addr", &self.remote_addr)
            .field("transcoder_url", &self.transcoder_url)
            .finish()
    }
}

/// The publisher is admitted: it starts a broadcast or goes on with one, under `epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Authorized {
    /// The stream the key opens.
    pub stream_id: StreamId,
    /// Its owner.
    pub user_id: UserId,
    /// Its title.
    pub title: String,
    /// The broadcast that starts, or goes on.
    pub broadcast_id: BroadcastId,
    /// Above every epoch given out for this broadcast before.
    pub epoch: u64,
    /// The lowest media sequence number that was never reported as taken. A transcoder that does
    /// not itself hold the broadcast starts at `next_msn + 8` when `resumed`, else at `next_msn`.
    pub next_msn: u64,
    /// The discontinuity number of the newest reported segment; for a new broadcast that of its
    /// first one.
    pub discontinuity_seq: u64,
    /// The discontinuity number of the broadcast's very first segment: what a playlist rebuilt
    /// from segment names counts from.
    pub discontinuity_seq_first: u64,
    /// Whether the broadcast had begun before this call.
    pub resumed: bool,
    /// What the broadcast began with; `None` until its first `live` event.
    pub ladder: Option<BroadcastLadder>,
}

/// What a broadcast's renditions are; fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BroadcastLadder {
    /// Rung names, highest first (`1080p` … `360p`, or `audio` alone).
    pub rungs: Vec<String>,
    /// Whether it began with sound (a source without gets silence then).
    pub audio: bool,
}

/// `POST /internal/ingest/renew`, every 2 s and also with no broadcast: it is how the stream
/// service knows which transcoders live.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RenewRequest {
    /// The transcoder, as in [`AuthorizeRequest`].
    pub transcoder_url: String,
    /// All broadcasts it holds.
    pub broadcasts: Vec<RenewBroadcast>,
}

/// A broadcast in a [`RenewRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RenewBroadcast {
    /// The broadcast.
    pub broadcast_id: BroadcastId,
    /// The epoch it is held under.
    pub epoch: u64,
    /// The lowest media sequence number not taken yet.
    pub next_msn: u64,
    /// The discontinuity number of the newest segment.
    pub discontinuity_seq: u64,
}

/// Answer to [`RenewRequest`], one entry a broadcast asked about, in the same order.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RenewResponse {
    /// The authority's word on each.
    pub broadcasts: Vec<RenewedBroadcast>,
}

/// The authority's word on a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RenewedBroadcast {
    /// The broadcast.
    pub broadcast_id: BroadcastId,
    /// Its present epoch; higher than the holder's and not `granted_to_you`: the holder has been
    /// replaced.
    pub epoch: u64,
    /// Whether the present epoch was granted to the transcoder that asks (its `transcoder_url` is
    /// the row's): the answer to its own authorize may still be on the way, or was lost.
    pub granted_to_you: bool,
    /// Whether it goes on.
    pub state: BroadcastState,
}

/// Whether a broadcast goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BroadcastState {
    /// It may be written.
    Running,
    /// It is over: write `#EXT-X-ENDLIST` and let go.
    Ended,
}

/// `POST /internal/streams/{id}/events`: the transcoder's webhook. Idempotent by `event_id`;
/// applied only if `(epoch, seq)` is above the last one applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TranscoderEvent {
    /// Unique per event; a retry repeats it.
    pub event_id: EventId,
    /// The broadcast.
    pub broadcast_id: BroadcastId,
    /// The epoch it is held under.
    pub epoch: u64,
    /// Rises by event within an epoch.
    pub seq: u64,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What happened.
    #[serde(flatten)]
    pub kind: TranscoderEventKind,
}

/// `type` and `data` of a [`TranscoderEvent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum TranscoderEventKind {
    /// The master playlist can be played.
    Live(LiveData),
    /// A sample of ingest and encoding, every 5 s.
    Health(HealthData),
    /// The publisher left, or ffmpeg fell; the grace runs.
    Interrupted(EndData),
    /// The grace is over, or the publisher will not come back.
    Ended(EndData),
}

/// `data` of `live`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveData {
    /// Rung names, highest first.
    pub available_qualities: Vec<String>,
    /// Whether there is sound.
    pub audio: bool,
    /// Source width in pixels; 0 without video.
    pub width: u32,
    /// Source height in pixels; 0 without video.
    pub height: u32,
    /// Source frames a second; 0 without video.
    pub fps: f64,
    /// Source video codec as ffprobe names it (`h264`, `hevc`), or the audio codec without video.
    pub codec: String,
}

/// `data` of `health`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HealthData {
    /// Bits a second received from the publisher.
    pub bitrate_bps: u64,
    /// Frames a second out of the encoder.
    pub fps: f64,
    /// SRT round trip; `None` for RTMP.
    pub rtt_ms: Option<f64>,
    /// Packets lost on the way so far (most were sent again).
    pub packets_lost: u64,
    /// Packets that never came in time.
    pub packets_dropped: u64,
    /// Media seconds made a second; below 1 the machine is too slow.
    pub encode_speed: f64,
    /// Age of the oldest segment not stored yet, in seconds.
    pub storage_behind_s: f64,
    /// Distance of the source's last two keyframes.
    pub keyframe_interval_ms: u64,
}

/// `data` of `interrupted` and `ended`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndData {
    /// Why, for the operator (`publisher_left`, `ffmpeg_exited`, `draining`, `grace_over`, …).
    pub reason: String,
    /// ffmpeg's last log lines, when it was to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Answer to a [`TranscoderEvent`]: the authority's word on the broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventReceipt {
    /// The broadcast's present epoch.
    pub epoch: u64,
    /// Whether it goes on.
    pub broadcast: BroadcastState,
}

/// `POST /internal/streams/{id}/disconnect` on a transcoder: 204 once the publisher is gone
/// (within 1 s), 404 when it does not hold the stream under that epoch or an older one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DisconnectRequest {
    /// Publishers of this epoch and older ones go.
    pub epoch: u64,
    /// Why.
    pub reason: DisconnectReason,
}

/// Why a publisher is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisconnectReason {
    /// The owner or an admin ended the broadcast: end it at once.
    Stopped,
    /// The stream was deleted: end it at once.
    Deleted,
    /// The key was rotated: the old key's publisher goes, its broadcast ends.
    KeyRotated,
    /// A newer publisher holds the broadcast on another transcoder: let go, write nothing more.
    Replaced,
}

/// `POST /internal/streams/{id}/finalize` on any transcoder, 202: write `#EXT-X-ENDLIST` for an
/// ended broadcast whose transcoder died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FinalizeRequest {
    /// The ended broadcast.
    pub broadcast_id: BroadcastId,
    /// The discontinuity number of its first segment.
    pub discontinuity_seq_first: u64,
    /// Its renditions; `None` when its transcoder died before its first `live` event. Whatever it
    /// has published by then is ended as it stands, and that may be nothing.
    #[serde(default)]
    pub ladder: Option<BroadcastLadder>,
}
