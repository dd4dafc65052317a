//! Stream keys: a first one, and another one.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use marquee_common::{
    auth::User,
    contract::{Problem, StreamId},
    error::ApiError,
    extract::Path,
};

use super::{
    broadcasts::send_away,
    streams::{answer_created, find},
    view::{CreatedStream, OwnStream, caller, not_cached},
};
use crate::{app::AppState, metadata::MetadataInput};

/// Make a stream with a key, named after its owner.
#[utoipa::path(
    post, path = "/api/streams/generate-key", tag = "streams",
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 201, description = "The stream with its key", body = CreatedStream),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`active_stream_exists`; `errors` has its `stream_id`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn generate(
    State(state): State<AppState>,
    User(claims): User,
) -> Result<Response, ApiError> {
    answer_created(&state, &claims, MetadataInput::default()).await
}

/// Give a stream a new key with a new time, also an expired one. The old key's publisher is
/// disconnected and its broadcast ends.
#[utoipa::path(
    post, path = "/api/streams/{id}/rotate-key", tag = "streams",
    params(("id" = StreamId, Path, description = "The stream")),
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The stream with its new key and `expires_at`", body = OwnStream),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`active_stream_exists`: another one took its place", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`key_cooldown`, with Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate(
    State(state): State<AppState>,
    User(claims): User,
    Path(id): Path<StreamId>,
) -> Result<Response, ApiError> {
    let ended = state.store.rotate_key(id, &caller(&claims)).await?;
    send_away(&state, ended).await;
    let (row, viewers) = find(&state, id).await?;
    let body = not_cached(OwnStream::of(&state, row, viewers));
    Ok((StatusCode::OK, body).into_response())
}
