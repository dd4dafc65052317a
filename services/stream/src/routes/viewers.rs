//! Viewers, by heartbeat.

use std::time::SystemTime;

use axum::extract::State;
use marquee_common::{
    contract::{Problem, StreamId},
    error::ApiError,
    extract::{Json, OptionalJson, Path},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{app::AppState, error::Error, recent_copies::NoCopy, viewer_session};

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
    /// How many watch, this one included from its second heartbeat on; `null` while that cannot be
    /// counted.
    viewer_count: Option<u64>,
}

/// Somebody is watching: sent every 10 s, forgotten after 30 s. The first heartbeat is given a
/// session; who sends it again 5 s later or more is counted, so that a count cannot be raised without
/// staying. A session that was not issued for this stream is replaced by a new one.
#[utoipa::path(
    post, path = "/api/streams/{id}/viewers", tag = "streams",
    params(("id" = StreamId, Path, description = "The stream")),
    request_body(content = Heartbeat, description = "May be left out"),
    security(()),
    responses(
        (status = 200, description = "The session, and how many watch", body = HeartbeatAnswer),
        (status = 400, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`, with Retry-After: more than one a second of a session", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn beat(
    State(state): State<AppState>,
    Path(id): Path<StreamId>,
    OptionalJson(heartbeat): OptionalJson<Heartbeat>,
) -> Result<Json<HeartbeatAnswer>, ApiError> {
    if !exists(&state, id).await? {
        return Err(Error::NotFound.into());
    }
    let now = SystemTime::now();
    let sessions = &state.viewer_sessions;
    let known = heartbeat
        .session_id
        .and_then(|text| sessions.check(id, &text).map(|session| (session, text)));
    let (session_id, viewer_count) = match known {
        Some((session, text)) if viewer_session::counts(session, now) => {
            (text, state.viewers.beat(id, session).await?)
        }
        Some((_, text)) => (text, state.viewers.count(id).await),
        None => (sessions.issue(id, now).1, state.viewers.count(id).await),
    };
    Ok(Json(HeartbeatAnswer {
        session_id,
        viewer_count,
    }))
}

/// Whether there is such a stream, as of at most a second ago: thousands watch the same one.
async fn exists(state: &AppState, id: StreamId) -> Result<bool, Error> {
    state
        .existing
        .get(&id, state.store.stream_exists(id))
        .await
        .map_err(|error| match error {
            NoCopy::Error(error) => error,
            NoCopy::FailedLately => Error::ListAway,
        })
}
