//! The URL table.

use axum::{Router, routing::get};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

mod broadcasts;
mod edge;

pub use edge::LiveEdge;

/// All routes.
pub fn routes(state: AppState) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(broadcasts::disconnect)) // POST /internal/streams/{id}/disconnect
        .routes(routes!(broadcasts::finalize)) // POST /internal/streams/{id}/finalize
        .with_state(state)
}

impl LiveEdge {
    /// What viewers ask for: held while it is not there yet, and in the words of HLS.
    pub fn routes(&self) -> Router {
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
            .with_state(self.clone())
    }
}
