//! The table of streams, for admins.

use std::time::Duration;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use marquee_common::{
    contract::{FieldError, Page, PageQuery, Problem},
    error::ApiError,
    extract::{Json, Path, Query},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::operator::Operator;
use crate::{
    app::AppState,
    connections::Resolver,
    probe::{self, Health, probe},
    route_table::Entry,
    stream_id,
    upstream::Upstream,
};

/// Longest time to live, in seconds: a hundred years.
const MAX_TTL_S: u64 = 100 * 365 * 86_400;

/// Where a stream's requests go.
#[derive(Debug, Serialize, ToSchema)]
pub struct RouteView {
    /// The stream.
    stream_id: String,
    /// The value in Redis; one that is no address is answered 500. Empty: the key holds something
    /// that is not a string.
    #[schema(example = "127.0.0.1:8000")]
    upstream: String,
    /// Seconds until it is forgotten; null: never.
    ttl_s: Option<u64>,
    /// Whether the upstream answers.
    health: Health,
}

impl RouteView {
    async fn of(resolver: &Resolver, entry: Entry) -> Self {
        let health = probe(resolver, &entry).await;
        Self {
            stream_id: entry.stream_id,
            upstream: entry.value.unwrap_or_default(),
            ttl_s: entry.ttl.map(|ttl| ttl.as_secs()),
            health,
        }
    }
}

/// Where a stream's requests shall go.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RouteUpdate {
    /// `host:port`, `host` (port 80) or `[v6]:port`.
    #[schema(example = "127.0.0.1:8000")]
    upstream: String,
    /// Forget it after so many seconds; null or left out: never.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3_153_600_000_u64)]
    ttl_s: Option<u64>,
}

impl RouteUpdate {
    fn check(&self) -> Result<(Upstream, Option<Duration>), ApiError> {
        let mut errors = Vec::new();
        let upstream = self.upstream.parse::<Upstream>();
        if let Err(error) = &upstream {
            errors.push(field("upstream", error.to_string()));
        }
        if self
            .ttl_s
            .is_some_and(|ttl| !(1..=MAX_TTL_S).contains(&ttl))
        {
            errors.push(field("ttl_s", format!("must be between 1 and {MAX_TTL_S}")));
        }
        match upstream {
            Ok(upstream) if errors.is_empty() => {
                Ok((upstream, self.ttl_s.map(Duration::from_secs)))
            }
            _ => Err(ApiError::validation(errors)),
        }
    }
}

fn field(name: &str, message: String) -> FieldError {
    FieldError {
        field: name.to_owned(),
        message,
    }
}

/// The streams that have a route, in the order of their ids, with whether each upstream answers.
#[utoipa::path(
    get,
    path = "/api/proxy/routes",
    tag = "routes",
    security(("bearer" = []), ("cookie" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "Routes", body = Page<RouteView>),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    _: Operator,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<RouteView>>, ApiError> {
    let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
    let found = state.table.list(page.cursor.as_deref(), limit).await;
    let found = found.map_err(redis_away)?;
    let items = stream::iter(found.entries)
        .map(|entry| RouteView::of(&state.resolver, entry))
        .buffered(probe::AT_A_TIME)
        .collect()
        .await;
    Ok(Json(Page {
        items,
        next_cursor: found.next,
    }))
}

/// A stream's route, with whether its upstream answers.
#[utoipa::path(
    get,
    path = "/api/proxy/routes/{stream_id}",
    tag = "routes",
    security(("bearer" = []), ("cookie" = [])),
    params(("stream_id" = String, Path, description = "The stream; at most 256 bytes")),
    responses(
        (status = 200, description = "The route", body = RouteView),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn find(
    State(state): State<AppState>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Json<RouteView>, ApiError> {
    let found = state.table.find(&id).await.map_err(redis_away)?;
    let entry = found.ok_or_else(ApiError::not_found)?;
    Ok(Json(RouteView::of(&state.resolver, entry).await))
}

/// Let a stream's requests go to an upstream, from the next one on.
#[utoipa::path(
    put,
    path = "/api/proxy/routes/{stream_id}",
    tag = "routes",
    security(("bearer" = []), ("cookie" = [])),
    params(("stream_id" = String, Path, description = "The stream; at most 256 bytes")),
    request_body(content = RouteUpdate),
    responses(
        (status = 200, description = "Changed", body = RouteView),
        (status = 201, description = "New", body = RouteView),
        (status = 400, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden` or `csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: the id could be read in two ways", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn set(
    State(state): State<AppState>,
    _: Operator,
    Path(id): Path<String>,
    Json(update): Json<RouteUpdate>,
) -> Result<Response, ApiError> {
    stream_id::check(&id)
        .map_err(|error| ApiError::validation(vec![field("stream_id", error.to_string())]))?;
    let (upstream, ttl) = update.check()?;
    let is_new = state
        .table
        .set(&id, &upstream, ttl)
        .await
        .map_err(redis_away)?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let entry = Entry {
        stream_id: id,
        value: Some(upstream.to_string()),
        ttl,
    };
    let view = RouteView::of(&state.resolver, entry).await;
    Ok((status, Json(view)).into_response())
}

/// Let a stream's requests go nowhere, from the next one on.
#[utoipa::path(
    delete,
    path = "/api/proxy/routes/{stream_id}",
    tag = "routes",
    security(("bearer" = []), ("cookie" = [])),
    params(("stream_id" = String, Path, description = "The stream; at most 256 bytes")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden` or `csrf_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    State(state): State<AppState>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let deleted = state.table.delete(&id).await.map_err(redis_away)?;
    if !deleted {
        return Err(ApiError::not_found());
    }
    Ok(StatusCode::NO_CONTENT)
}

fn redis_away(error: redis::RedisError) -> ApiError {
    ApiError::unavailable("The table of streams cannot be reached at the moment. Try again.")
        .with_source(error)
}
