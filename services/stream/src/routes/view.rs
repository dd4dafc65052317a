//! What the API shows of a stream: to everyone, and to whom the key belongs.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use marquee_common::{
    contract::{AccessClaims, Role, StreamId, UserId},
    extract::Json,
};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Ref, RefOr, Schema, schema::AnyOfBuilder},
};

use crate::{
    addresses::Addresses, app::AppState, lifecycle::StreamStatus, metadata::Visibility,
    ownership::Caller, store::StreamRow,
};

/// A stream as everyone may see it. Never its key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PublicStream {
    /// Its id.
    pub id: StreamId,
    /// Its owner.
    pub user_id: UserId,
    /// Its owner's name; `null` while it cannot be had.
    pub username: Option<String>,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// Its category, in lower case.
    pub category: Option<String>,
    /// Its tags, in lower case.
    pub tags: Vec<String>,
    /// Who finds it.
    pub visibility: Visibility,
    /// Whether it can be watched.
    pub status: StreamStatus,
    /// How many watch; `null` while that cannot be counted.
    pub viewer_count: Option<u64>,
    /// The rungs of the running broadcast, highest first; `audio` alone without a picture.
    pub available_qualities: Vec<String>,
    /// A picture of what is on; `null` while there is none.
    pub thumbnail_url: Option<String>,
    /// When the running broadcast went live.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When the stream was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Where it plays (HLS).
    pub hls_url: String,
    /// Where it plays with low latency (LL-HLS) while it is live; `hls_url` plays whenever this does
    /// not.
    pub ll_hls_url: String,
}

/// A stream as its owner sees it, or who else holds its key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OwnStream {
    /// What everyone sees.
    #[serde(flatten)]
    pub public: PublicStream,
    /// The key by which to publish. Whoever has it can.
    pub stream_key: String,
    /// When the key's time is over.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When the owner last changed something.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Where to push by RTMP; holds the key.
    pub rtmp_url: String,
    /// Where to push by SRT; holds the key.
    pub srt_url: String,
}

/// `{stream}`: a new stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedStream {
    /// The stream.
    pub stream: OwnStream,
}

/// A stream by who asks: with its key for its owner, without for everyone else.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum StreamView {
    /// With its key.
    Own(Box<OwnStream>),
    /// Without.
    Public(Box<PublicStream>),
}

/// `anyOf`, where the derived `oneOf` would be wrong: whoever sees the key sees all the rest as well.
impl PartialSchema for StreamView {
    fn schema() -> RefOr<Schema> {
        let any_of = AnyOfBuilder::new()
            .description(Some(
                "A stream by who asks: with its key for its owner, without for everyone else.",
            ))
            .item(Ref::from_schema_name(OwnStream::name()))
            .item(Ref::from_schema_name(PublicStream::name()))
            .build();
        Schema::AnyOf(any_of).into()
    }
}

impl ToSchema for StreamView {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((OwnStream::name().into(), OwnStream::schema()));
        schemas.push((PublicStream::name().into(), PublicStream::schema()));
        OwnStream::schemas(schemas);
        PublicStream::schemas(schemas);
    }
}

impl StreamView {
    pub fn of(state: &AppState, row: StreamRow, viewers: Option<u64>, with_key: bool) -> Self {
        if with_key {
            Self::Own(Box::new(OwnStream::of(state, row, viewers)))
        } else {
            Self::Public(Box::new(PublicStream::of(state, row, viewers)))
        }
    }
}

impl PublicStream {
    pub fn of(state: &AppState, row: StreamRow, viewer_count: Option<u64>) -> Self {
        let thumbnail_url = thumbnail_url(
            &state.addresses,
            row.id,
            row.status,
            &row.available_qualities,
        );
        Self {
            hls_url: state.addresses.hls(row.id),
            ll_hls_url: state.addresses.ll_hls(row.id),
            id: row.id,
            user_id: row.user_id,
            username: row.username,
            title: row.title,
            description: row.description,
            category: row.category,
            tags: row.tags,
            visibility: row.visibility,
            status: row.status,
            viewer_count,
            available_qualities: row.available_qualities,
            thumbnail_url,
            started_at: row.started_at,
            created_at: row.created_at,
        }
    }
}

impl OwnStream {
    pub fn of(state: &AppState, row: StreamRow, viewer_count: Option<u64>) -> Self {
        Self {
            stream_key: row.stream_key.expose().to_owned(),
            expires_at: row.expires_at,
            updated_at: row.updated_at,
            rtmp_url: state.addresses.rtmp(&row.stream_key),
            srt_url: state.addresses.srt(&row.stream_key),
            public: PublicStream::of(state, row, viewer_count),
        }
    }
}

/// Where the live thumbnail is: while a broadcast runs that has pictures.
pub fn thumbnail_url(
    addresses: &Addresses,
    id: StreamId,
    status: StreamStatus,
    qualities: &[String],
) -> Option<String> {
    let running = matches!(status, StreamStatus::Live | StreamStatus::Reconnecting);
    let has_pictures = qualities.iter().any(|quality| quality != "audio");
    (running && has_pictures).then(|| addresses.thumbnail(id))
}

/// Who asks, as the rules of ownership want it.
pub fn caller(claims: &AccessClaims) -> Caller {
    Caller {
        user: claims.sub,
        admin: claims.role == Role::Admin,
        token_issued_at: claims.iat,
    }
}

/// JSON that no cache may keep: it can hold a key.
pub fn not_cached<T: Serialize>(body: T) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    ([(header::CACHE_CONTROL, no_store)], Json(body)).into_response()
}
