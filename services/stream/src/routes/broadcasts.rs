//! A stream's broadcasts: end the running one, look at past ones.

use axum::{extract::State, response::Response};
use marquee_common::{
    auth::{Internal, User},
    contract::{
        AccessClaims, BroadcastId, Page, PageQuery, Problem, StreamId, ingest::HealthData,
        live::BroadcastInfo,
    },
    error::ApiError,
    extract::{Json, Path, Query},
};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::{
    streams::{cut, find},
    view::{StreamView, caller, not_cached},
};
use crate::{
    app::AppState,
    cursor,
    error::Error,
    store::{HealthSample, PastBroadcast, Published},
};

/// End the broadcast. The key is then refused for a minute, so that an encoder that reconnects by
/// itself does not undo it.
#[utoipa::path(
    post, path = "/api/streams/{id}/stop", tag = "broadcasts",
    params(("id" = StreamId, Path, description = "The stream")),
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The stream, off the air", body = StreamView),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`not_live`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn stop(
    State(state): State<AppState>,
    User(claims): User,
    Path(id): Path<StreamId>,
) -> Result<Response, ApiError> {
    let caller = caller(&claims);
    let ended = state.store.stop_stream(id, &caller).await?;
    send_away(&state, Some(ended)).await;
    let (row, viewers) = find(&state, id).await?;
    let own = caller.owns(row.user_id);
    Ok(not_cached(StreamView::of(&state, row, viewers, own)))
}

/// A broadcast as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BroadcastView {
    /// Its id.
    pub id: BroadcastId,
    /// The stream's title while it ran.
    pub title: String,
    /// When it went live.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it was over; `null` while it runs.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// Its length in seconds, once it is over.
    pub duration_s: Option<f64>,
    /// Why it is over (`grace_over`, `stopped`, `key_rotated`, `silent`, …).
    pub end_reason: Option<String>,
    /// Its rungs, highest first.
    pub available_qualities: Vec<String>,
}

impl From<PastBroadcast> for BroadcastView {
    fn from(row: PastBroadcast) -> Self {
        Self {
            id: row.id,
            title: row.title,
            started_at: row.started_at,
            ended_at: row.ended_at,
            duration_s: row
                .ended_at
                .map(|end| (end - row.started_at).as_seconds_f64()),
            end_reason: row.end_reason,
            available_qualities: row.available_qualities,
        }
    }
}

/// A stream's broadcasts that went live, newest first.
#[utoipa::path(
    get, path = "/api/streams/{id}/broadcasts", tag = "broadcasts",
    params(("id" = StreamId, Path, description = "The stream"), PageQuery),
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "A page of broadcasts", body = Page<BroadcastView>),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(state): State<AppState>,
    User(claims): User,
    Path(id): Path<StreamId>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<BroadcastView>>, ApiError> {
    check_owner(&state, &claims, id).await?;
    let limit = page.limit();
    let before = page
        .cursor
        .as_deref()
        .map(cursor::decode)
        .transpose()
        .map_err(Error::from)?;
    let mut rows = state
        .store
        .list_broadcasts(id, before, i64::from(limit) + 1)
        .await?;
    let next_cursor = cut(&mut rows, limit, |row| cursor::encode(&row.epoch));
    let items = rows.into_iter().map(BroadcastView::from).collect();
    Ok(Json(Page { items, next_cursor }))
}

/// A sample of ingest and encoding.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthView {
    /// When it was taken.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What was measured.
    #[serde(flatten)]
    pub data: HealthData,
}

impl From<HealthSample> for HealthView {
    fn from(sample: HealthSample) -> Self {
        Self {
            at: sample.at,
            data: sample.data.0,
        }
    }
}

/// Ingest and encoding samples of the last hour, newest first.
#[utoipa::path(
    get, path = "/api/streams/{id}/health", tag = "broadcasts",
    params(("id" = StreamId, Path, description = "The stream")),
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The samples, on one page", body = Page<HealthView>),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn health(
    State(state): State<AppState>,
    User(claims): User,
    Path(id): Path<StreamId>,
) -> Result<Json<Page<HealthView>>, ApiError> {
    check_owner(&state, &claims, id).await?;
    let samples = state.store.list_health(id).await?;
    let items = samples.into_iter().map(HealthView::from).collect();
    Ok(Json(Page {
        items,
        next_cursor: None,
    }))
}

/// A broadcast, also of a stream that is gone.
#[utoipa::path(
    get, path = "/internal/broadcasts/{id}", tag = "internal",
    params(("id" = BroadcastId, Path, description = "The broadcast")),
    security(("internal" = [])),
    responses(
        (status = 200, description = "The broadcast", body = BroadcastInfo),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn info(
    State(state): State<AppState>,
    _: Internal,
    Path(id): Path<BroadcastId>,
) -> Result<Json<BroadcastInfo>, ApiError> {
    let info = state
        .store
        .find_broadcast(id)
        .await?
        .ok_or(Error::NotFound)?;
    Ok(Json(info))
}

async fn check_owner(state: &AppState, claims: &AccessClaims, id: StreamId) -> Result<(), Error> {
    let row = state.store.find_stream(id).await?.ok_or(Error::NotFound)?;
    Ok(caller(claims).may_change(row.user_id, row.visibility)?)
}

/// Has the publisher of a broadcast that was ended disconnected, and waits for it (a second at
/// most). It happens also if the client that asked has left meanwhile.
pub async fn send_away(state: &AppState, ended: Option<Published>) {
    let Some(Published { holder, reason }) = ended else {
        return;
    };
    let (done, gone) = oneshot::channel();
    let transcoders = state.transcoders.clone();
    state.lifecycle.spawn_job("disconnect", async move {
        transcoders.disconnect(&holder, reason).await;
        // Nobody may be waiting any more.
        let _ = done.send(());
    });
    // An error is a task that was dropped: the process ends.
    let _ = gone.await;
}
