//! What the stream service asks of a transcoder.

use axum::{extract::State, http::StatusCode};
use marquee_common::{
    auth::Internal,
    contract::{
        Problem, StreamId,
        ingest::{DisconnectRequest, FinalizeRequest},
    },
    error::ApiError,
    extract::{Json, Path},
};

use crate::{
    app::AppState,
    finalize::{FinalizeError, finalize as write_end},
};

/// Send a stream's publisher away.
#[utoipa::path(
    post,
    path = "/internal/streams/{id}/disconnect",
    tag = "internal",
    params(("id" = StreamId, Path, description = "The stream")),
    request_body = DisconnectRequest,
    responses(
        (status = 204, description = "The publisher is being disconnected"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not held here under that epoch or an older one", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn disconnect(
    _: Internal,
    State(state): State<AppState>,
    Path(stream_id): Path<StreamId>,
    Json(request): Json<DisconnectRequest>,
) -> Result<StatusCode, ApiError> {
    let held = state
        .registry
        .disconnect(stream_id, request.epoch, request.reason)
        .await;
    if held {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found())
    }
}

/// End the playlists of a broadcast whose transcoder died.
#[utoipa::path(
    post,
    path = "/internal/streams/{id}/finalize",
    tag = "internal",
    params(("id" = StreamId, Path, description = "The stream")),
    request_body = FinalizeRequest,
    responses(
        (status = 202, description = "The playlists are ended"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The broadcast is held here and ends by itself", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Storage is away: ask again, or another transcoder", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn finalize(
    _: Internal,
    State(state): State<AppState>,
    Path(stream_id): Path<StreamId>,
    Json(request): Json<FinalizeRequest>,
) -> Result<StatusCode, ApiError> {
    if state.registry.holds(request.broadcast_id) {
        return Err(ApiError::conflict(
            "held_here",
            "This transcoder holds the broadcast and ends it by itself.",
        ));
    }
    write_end(&state.output, stream_id, &request)
        .await
        .map_err(|error| match error {
            FinalizeError::Ladder(_) => ApiError::validation(Vec::new()).with_field(
                "ladder.rungs",
                "Name rungs of 1080p, 720p, 480p, 360p or audio.",
            ),
            FinalizeError::Storage(_) => {
                ApiError::unavailable("Storage did not keep the ended playlists. Ask again.")
                    .with_source(error)
            }
        })?;
    Ok(StatusCode::ACCEPTED)
}
