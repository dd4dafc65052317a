//! Where requests come in. Which service answers which path is in [`crate::route_table`].

use std::net::SocketAddr;

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use hyper::body::Body as _;
use marquee_common::{forwarding::name_one_host, server::RequestContext};

use crate::{
    admission::admit,
    app::AppState,
    cors,
    error::GatewayError,
    headers,
    route_table::{Route, Treatment},
};

/// The entrances.
pub fn routes(state: AppState) -> Router {
    Router::new()
        .route("/api", any(api))
        .route("/api/", any(api))
        .route("/api/{*rest}", any(api)) //          every service's API
        .route("/openapi.json", get(openapi)) //     every service's OpenAPI in one
        .route("/api/openapi.json", get(openapi)) // the same, where nginx passes it
        .route("/stream", any(media)) //             no stream, as the proxy says it
        .route("/stream/", any(media))
        .route("/stream/{*rest}", any(media)) //     live edges, through the proxy
        .with_state(state)
}

async fn openapi(State(state): State<AppState>) -> Json<serde_json::Value> {
    Json(state.document.get().await.as_ref().clone())
}

/// Pages of other origins may call these, as far as CORS lets them.
async fn api(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let grant = state.cors.judge(request.uri().path(), request.headers());
    if cors::is_preflight(&request) {
        return grant.answer_preflight();
    }
    let mut response = pass(&state, peer, request).await.into_response();
    grant.mark(&mut response);
    response
}

/// What is behind these speaks for itself.
async fn media(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    pass(&state, peer, request).await.into_response()
}

async fn pass(
    state: &AppState,
    peer: SocketAddr,
    mut request: Request,
) -> Result<http::Response<Body>, GatewayError> {
    let route = Route::find(request.uri().path()).ok_or(GatewayError::NoRoute)?;
    let upstream = state
        .upstreams
        .find(route.service)
        .ok_or(GatewayError::NotConfigured(route.service))?;
    if !name_one_host(request.version(), request.headers()) {
        return Err(GatewayError::NoSingleHost);
    }
    let body_limit = route.treatment.body_limit_bytes(state.body_limit_bytes);
    // An announced length is refused before a byte of it is read.
    let announced = request.body().size_hint().lower();
    if body_limit.is_some_and(|limit| announced > limit) {
        return Err(GatewayError::TooLarge);
    }
    let headers = request.headers_mut();
    // First, so that a client cannot have `Connection` name and remove what is added here.
    headers::clean_request(headers);
    let client = state.trusted_proxies.rewrite(headers, peer.ip());
    if let Some(context) = RequestContext::current() {
        context.write_headers(headers);
    }
    let request = match route.treatment {
        Treatment::Api { .. } => admit(state, client, request).await?,
        Treatment::Media => request,
    };
    state
        .forwarder
        .forward(route, upstream, request, body_limit)
        .await
}
