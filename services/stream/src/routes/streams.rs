//! Streams: make, list, show, change, delete.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use marquee_common::{
    auth::{OptionalUser, User},
    contract::{AccessClaims, Page, Problem, Role, StreamId},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Query},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    broadcasts::send_away,
    view::{CreatedStream, OwnStream, StreamView, caller, not_cached},
};
use crate::{
    app::AppState,
    cursor,
    error::Error,
    lifecycle::StreamStatus,
    metadata::{MetadataInput, MetadataPatch},
    store::StreamRow,
    stream_key::StreamKey,
};

/// Make a stream with metadata and a key.
#[utoipa::path(
    post, path = "/api/streams", tag = "streams",
    request_body(content = MetadataInput, description = "May be left out"),
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 201, description = "The stream with its key", body = CreatedStream),
        (status = 400, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`active_stream_exists`; `errors` has its `stream_id`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(state): State<AppState>,
    User(claims): User,
    OptionalJson(input): OptionalJson<MetadataInput>,
) -> Result<Response, ApiError> {
    answer_created(&state, &claims, input).await
}

/// 201 `{stream}` for a new stream of who asks.
pub async fn answer_created(
    state: &AppState,
    claims: &AccessClaims,
    input: MetadataInput,
) -> Result<Response, ApiError> {
    let metadata = input.check(&claims.username).map_err(Error::Invalid)?;
    let id = state
        .store
        .insert_stream(&caller(claims), &metadata)
        .await?;
    let (row, viewers) = find(state, id).await?;
    let stream = OwnStream::of(state, row, viewers);
    Ok((StatusCode::CREATED, not_cached(CreatedStream { stream })).into_response())
}

/// Whose streams.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One's own.
    #[default]
    Own,
    /// Everybody's, for an admin; without the keys of others.
    All,
}

/// Which streams.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// `own` (default), or `all` for an admin.
    #[serde(default)]
    scope: Scope,
    /// Rows wanted, 1 to 100 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One's own streams with keys and URLs, newest first.
#[utoipa::path(
    get, path = "/api/streams", tag = "streams",
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "A page of streams", body = Page<StreamView>),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: `scope=all` is for admins", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(state): State<AppState>,
    User(claims): User,
    Query(query): Query<ListQuery>,
) -> Result<Response, ApiError> {
    let limit = page_limit(query.limit);
    let after = position(query.cursor.as_deref())?.map(StreamId);
    let wanted = i64::from(limit) + 1;
    let mut rows = match query.scope {
        Scope::Own => state.store.list_own(claims.sub, after, wanted).await?,
        Scope::All if claims.role == Role::Admin => state.store.list_all(after, wanted).await?,
        Scope::All => {
            return Err(ApiError::forbidden(
                "Only an admin sees everybody's streams.",
            ));
        }
    };
    let next_cursor = cut(&mut rows, limit, |row| cursor::encode(&row.id.0));
    let ids: Vec<StreamId> = rows.iter().map(|row| row.id).collect();
    let counts = state.viewers.counts(&ids).await;
    let items = rows
        .into_iter()
        .zip(counts)
        .map(|(row, viewers)| {
            let own = row.user_id == claims.sub;
            StreamView::of(&state, row, viewers, own)
        })
        .collect();
    Ok(not_cached(Page { items, next_cursor }))
}

/// A stream by its id, with its key for its owner; or by its key, for whoever holds it.
#[utoipa::path(
    get, path = "/api/streams/{id}", tag = "streams",
    params(("id" = String, Path, description = "The stream's id, or its key")),
    security((), ("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The stream", body = StreamView),
        (status = 401, description = "`unauthenticated`: a bearer token that is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "`stream_key_expired`, by key only", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(state): State<AppState>,
    OptionalUser(claims): OptionalUser,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    if let Ok(key) = id.parse::<StreamKey>() {
        let row = state
            .store
            .find_stream_by_key(&key)
            .await?
            .ok_or(Error::NotFound)?;
        if row.status == StreamStatus::Expired {
            return Err(Error::KeyExpired.into());
        }
        let viewers = state.viewers.count(row.id).await;
        return Ok(not_cached(OwnStream::of(&state, row, viewers)));
    }
    let id = id.parse::<StreamId>().map_err(|_| Error::NotFound)?;
    let (row, viewers) = find(&state, id).await?;
    let own = claims.is_some_and(|claims| claims.sub == row.user_id);
    Ok(not_cached(StreamView::of(&state, row, viewers, own)))
}

/// Change a stream's metadata; what is absent stays as it is.
#[utoipa::path(
    patch, path = "/api/streams/{id}", tag = "streams",
    params(("id" = StreamId, Path, description = "The stream")),
    request_body = MetadataPatch,
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The changed stream", body = StreamView),
        (status = 400, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn update(
    State(state): State<AppState>,
    User(claims): User,
    Path(id): Path<StreamId>,
    Json(patch): Json<MetadataPatch>,
) -> Result<Response, ApiError> {
    let caller = caller(&claims);
    let change = patch.check().map_err(Error::Invalid)?;
    state.store.update_metadata(id, &caller, &change).await?;
    let (row, viewers) = find(&state, id).await?;
    let own = caller.owns(row.user_id);
    Ok(not_cached(StreamView::of(&state, row, viewers, own)))
}

/// Delete a stream; its broadcast ends and its publisher is disconnected.
#[utoipa::path(
    delete, path = "/api/streams/{id}", tag = "streams",
    params(("id" = StreamId, Path, description = "The stream")),
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn delete(
    State(state): State<AppState>,
    User(claims): User,
    Path(id): Path<StreamId>,
) -> Result<StatusCode, ApiError> {
    let ended = state.store.delete_stream(id, &caller(&claims)).await?;
    send_away(&state, ended).await;
    Ok(StatusCode::NO_CONTENT)
}

/// A stream and how many watch it.
pub async fn find(state: &AppState, id: StreamId) -> Result<(StreamRow, Option<u64>), Error> {
    let row = state.store.find_stream(id).await?.ok_or(Error::NotFound)?;
    let viewers = state.viewers.count(id).await;
    Ok((row, viewers))
}

/// `?limit=`, brought into 1..=100.
pub fn page_limit(limit: Option<u32>) -> u32 {
    limit.unwrap_or(50).clamp(1, 100)
}

/// `?cursor=` of a list in the order of ids.
fn position(text: Option<&str>) -> Result<Option<Uuid>, Error> {
    Ok(text.map(cursor::decode).transpose()?)
}

/// Cuts the row that was read beyond `limit`, and makes the cursor to it.
pub fn cut<T>(rows: &mut Vec<T>, limit: u32, encode: impl Fn(&T) -> String) -> Option<String> {
    let limit = limit as usize;
    if rows.len() <= limit {
        return None;
    }
    rows.truncate(limit);
    rows.last().map(encode)
}
