//! What the tables' rows are in Rust.

use marquee_common::contract::{BroadcastId, StreamId, UserId, ingest::BroadcastLadder};
use sqlx::{FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    lifecycle::{Phase, StreamStatus},
    metadata::Visibility,
    stream_key::StreamKey,
};

/// The status of `streams s`. A key's time ends by the clock, not when the sweeper comes round,
/// unless a broadcast runs.
macro_rules! shown_status {
    () => {
        "CASE WHEN s.status = 'active' AND s.expires_at <= now() AND NOT EXISTS ( \
             SELECT FROM broadcasts r WHERE r.stream_id = s.id AND r.ended_at IS NULL) \
         THEN 'expired' ELSE s.status END AS status"
    };
}
pub(super) use shown_status;

/// The columns of a [`StreamRow`] but the username, of `streams s`.
macro_rules! stream_columns {
    () => {
        concat!(
            "s.id, s.user_id, s.stream_key, ",
            $crate::store::rows::shown_status!(),
            ", s.title, s.description, s.category, s.tags, s.visibility, s.started_at, \
             s.available_qualities, s.created_at, s.updated_at, s.expires_at"
        )
    };
}
pub(super) use stream_columns;

/// A stream with its owner's name.
#[derive(Clone, Debug, FromRow)]
pub struct StreamRow {
    /// Its id.
    #[sqlx(try_from = "Uuid")]
    pub id: StreamId,
    /// Its owner.
    #[sqlx(try_from = "Uuid")]
    pub user_id: UserId,
    /// Its key; shown to its owner only.
    #[sqlx(try_from = "String")]
    pub stream_key: StreamKey,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub status: StreamStatus,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Who finds it.
    #[sqlx(try_from = "String")]
    pub visibility: Visibility,
    /// When the running broadcast went live.
    pub started_at: Option<OffsetDateTime>,
    /// The running broadcast's rungs.
    pub available_qualities: Vec<String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last changed by its owner.
    pub updated_at: OffsetDateTime,
    /// When its key's time is over.
    pub expires_at: OffsetDateTime,
    /// The owner's name; `None` while `auth_db` is away.
    #[sqlx(default)]
    pub username: Option<String>,
}

/// A stream's row, locked for this transaction: what decisions are made of.
#[derive(Debug, FromRow)]
pub(super) struct LockedStream {
    #[sqlx(try_from = "Uuid")]
    pub id: StreamId,
    #[sqlx(try_from = "Uuid")]
    pub user_id: UserId,
    #[sqlx(try_from = "String")]
    pub status: StreamStatus,
    pub title: String,
    #[sqlx(try_from = "String")]
    pub visibility: Visibility,
    pub expires_at: OffsetDateTime,
    pub key_rotated_at: Option<OffsetDateTime>,
    /// Until the owner makes a key again.
    pub owner_disabled_at: Option<OffsetDateTime>,
    pub held_until: Option<OffsetDateTime>,
    pub contended_until: Option<OffsetDateTime>,
    pub takeovers: Vec<OffsetDateTime>,
    /// The database's clock once the row was locked.
    pub now: OffsetDateTime,
}

/// The columns of a [`BroadcastRow`].
macro_rules! broadcast_columns {
    () => {
        "id, stream_id, user_id, title, visibility, phase, epoch, applied_seq, transcoder_url, \
         next_msn, discontinuity_seq, discontinuity_seq_first, ladder, created_at, started_at, \
         interrupted_at, heard_at, ended_at, clock_timestamp() AS now"
    };
}
pub(super) use broadcast_columns;

/// A broadcast's row.
#[derive(Clone, Debug, FromRow)]
pub(super) struct BroadcastRow {
    #[sqlx(try_from = "Uuid")]
    pub id: BroadcastId,
    #[sqlx(try_from = "Uuid")]
    pub stream_id: StreamId,
    #[sqlx(try_from = "Uuid")]
    pub user_id: UserId,
    pub title: String,
    pub visibility: String,
    #[sqlx(try_from = "String")]
    pub phase: Phase,
    #[sqlx(try_from = "i64")]
    pub epoch: u64,
    pub applied_seq: i64,
    pub transcoder_url: String,
    #[sqlx(try_from = "i64")]
    pub next_msn: u64,
    #[sqlx(try_from = "i64")]
    pub discontinuity_seq: u64,
    #[sqlx(try_from = "i64")]
    pub discontinuity_seq_first: u64,
    pub ladder: Option<Json<BroadcastLadder>>,
    pub created_at: OffsetDateTime,
    pub started_at: Option<OffsetDateTime>,
    pub interrupted_at: Option<OffsetDateTime>,
    pub heard_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    /// The database's clock when the row was read.
    pub now: OffsetDateTime,
}

impl BroadcastRow {
    pub fn rungs(&self) -> Vec<String> {
        self.ladder
            .as_ref()
            .map(|ladder| ladder.rungs.clone())
            .unwrap_or_default()
    }
}
