//! The URL table.

use axum::{Router, routing::get};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

mod broadcasts;
mod edge;

/// All routes.
pub fn routes(state: AppState) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(broadcasts::disconnect)) // POST /internal/streams/{id}/disconnect
        .routes(routes!(broadcasts::finalize)) // POST /internal/streams/{id}/finalize
        .with_state(state)
}

/// What viewers ask for: held while it is not there yet, and in the words of HLS.
pub fn streaming_routes(state: AppState) -> Router {
    Router::new()
        .route(
            "/stream/{stream_id}/master.m3u8",
            get(edge::master).options(edge::preflight),
        )
        .route(
            "/stream/{stream_id}/{rung}/{file}",
            get(edge::media).options(edge::preflight),
        )
        .layer(axum::middleware::map_response(edge::allow_all_origins))
        .with_state(state)
}
