//! Viewers, by heartbeat.

use axum::extract::State;
use marquee_common::{
    contract::{Problem, StreamId},
    error::ApiError,
    extract::{Json, OptionalJson, Path},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{app::AppState, error::Error};

/// Body of a heartbeat.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Heartbeat {
    /// What the first heartbeat was given; absent in that one.
    session_id: Option<String>,
}

/// Answer to a heartbeat.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeartbeatAnswer {
    /// To be sent with the next heartbeat, in 10 s.
    session_id: String,
    /// How many watch, this one included.
    viewer_count: u64,
}

/// Somebody is watching: sent every 10 s, forgotten after 30 s. A session that was not issued for
/// this stream is replaced by a new one.
#[utoipa::path(
    post, path = "/api/streams/{id}/viewers", tag = "streams",
    params(("id" = StreamId, Path, description = "The stream")),
    request_body(content = Heartbeat, description = "May be left out"),
    security(()),
    responses(
        (status = 200, description = "The session, and how many watch", body = HeartbeatAnswer),
        (status = 400, description = "`bad_json`", body = Problem),
        (status = 404, description = "`not_found`", body = Problem),
        (status = 413, description = "`body_too_large`", body = Problem),
        (status = 415, description = "`unsupported_media_type`", body = Problem),
        (status = 422, description = "`validation_failed`", body = Problem),
        (status = 503, description = "`unavailable`: viewers cannot be counted", body = Problem),
    )
)]
pub async fn beat(
    State(state): State<AppState>,
    Path(id): Path<StreamId>,
    OptionalJson(heartbeat): OptionalJson<Heartbeat>,
) -> Result<Json<HeartbeatAnswer>, ApiError> {
    if !state.store.stream_exists(id).await? {
        return Err(Error::NotFound.into());
    }
    let sessions = &state.viewer_sessions;
    let known = heartbeat
        .session_id
        .and_then(|text| sessions.check(id, &text).map(|session| (session, text)));
    let (session, session_id) = known.unwrap_or_else(|| sessions.issue(id));
    let viewer_count = state.viewers.beat(id, session).await?;
    Ok(Json(HeartbeatAnswer {
        session_id,
        viewer_count,
    }))
}
