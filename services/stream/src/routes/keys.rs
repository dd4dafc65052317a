//! Stream keys: a first one, and another one.

use axum::{extract::State, response::Response};
use marquee_common::{
    auth::User,
    contract::{Problem, StreamId},
    error::ApiError,
    extract::Path,
};

use super::{
    broadcasts::send_away,
    streams::{answer_created, find},
    view::{CreatedStream, StreamView, caller, not_cached},
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
/// disconnected and its broadcast ends. An admin may do so for the owner, and does not see the key.
#[utoipa::path(
    post, path = "/api/streams/{id}/rotate-key", tag = "streams",
    params(("id" = StreamId, Path, description = "The stream")),
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The stream; for its owner with the new key and `expires_at`", body = StreamView),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`active_stream_exists`: another one took its place; `owner_disabled`: only its owner revives it", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`key_cooldown`, with Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate(
    State(state): State<AppState>,
    User(claims): User,
    Path(id): Path<StreamId>,
) -> Result<Response, ApiError> {
    let caller = caller(&claims);
    let ended = state.store.rotate_key(id, &caller).await?;
    send_away(&state, ended).await;
    let (row, viewers) = find(&state, id).await?;
    let own = caller.owns(row.user_id);
    Ok(not_cached(StreamView::of(&state, row, viewers, own)))
}
