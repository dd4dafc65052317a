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
use marquee_common::server::RequestContext;

use crate::{
    app::AppState,
    cors,
    edge::Ambiguity,
    error::GatewayError,
    headers,
    route_table::{Route, Treatment},
};

/// Where the document of the whole API is, also through nginx; on the gateway itself it stands in
/// for `/openapi.json` too.
pub const MERGED_DOCUMENT: &str = "/api/openapi.json";

/// The entrances.
pub fn routes(state: AppState) -> Router {
    Router::new()
        .route("/api", any(api))
        .route("/api/", any(api))
        .route("/api/{*rest}", any(api)) //          every service's API
        .route(MERGED_DOCUMENT, get(openapi)) //     every service's OpenAPI in one
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
    let ambiguity = request.extensions().get::<Ambiguity>();
    if ambiguity.is_some_and(Ambiguity::is_found) {
        return Err(GatewayError::AmbiguousLength);
    }
    let route = Route::find(request.uri().path()).ok_or(GatewayError::NoRoute)?;
    let upstream = state
        .upstreams
        .find(route.service)
        .ok_or(GatewayError::NotConfigured(route.service))?;
    let body_limit = match route.treatment {
        Treatment::Api => Some(state.api_body_limit),
        Treatment::Media => None,
    };
    // An announced length is refused before a byte of it is read.
    let announced = request.body().size_hint().lower();
    if body_limit.is_some_and(|limit| announced > limit) {
        return Err(GatewayError::TooLarge);
    }
    let headers = request.headers_mut();
    // First, so that a client cannot have `Connection` name and remove what is added here.
    headers::clean_request(headers);
    state.trusted_proxies.rewrite(headers, peer.ip());
    if let Some(context) = RequestContext::current() {
        context.write_headers(headers);
    }
    state
        .forwarder
        .forward(route.service, upstream, request, body_limit)
        .await
}
