//! The URL table.

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

mod broadcasts;

/// All routes.
pub fn routes(state: AppState) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(broadcasts::disconnect)) // POST /internal/streams/{id}/disconnect
        .routes(routes!(broadcasts::finalize)) // POST /internal/streams/{id}/finalize
        .with_state(state)
}
