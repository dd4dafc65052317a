//! The URL table.

mod broadcasts;
mod events;
mod ingest;
mod keys;
mod public;
mod streams;
mod view;
mod viewers;
mod webhook;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

/// Every route of the service.
pub fn router(state: AppState) -> OpenApiRouter<()> {
    OpenApiRouter::new()
        .routes(routes!(keys::generate)) // POST /api/streams/generate-key
        .routes(routes!(streams::create, streams::list)) // POST, GET /api/streams
        .routes(routes!(public::list)) // GET /api/streams/public
        .routes(routes!(streams::get, streams::update, streams::delete)) // GET, PATCH, DELETE /api/streams/{id}
        .routes(routes!(keys::rotate)) // POST /api/streams/{id}/rotate-key
        .routes(routes!(broadcasts::stop)) // POST /api/streams/{id}/stop
        .routes(routes!(broadcasts::list)) // GET /api/streams/{id}/broadcasts
        .routes(routes!(broadcasts::health)) // GET /api/streams/{id}/health
        .routes(routes!(viewers::beat)) // POST /api/streams/{id}/viewers
        .routes(routes!(events::follow)) // GET /api/streams/{id}/events
        .routes(routes!(ingest::authorize)) // POST /internal/ingest/authorize
        .routes(routes!(ingest::renew)) // POST /internal/ingest/renew
        .routes(routes!(webhook::receive)) // POST /internal/streams/{id}/events
        .routes(routes!(broadcasts::info)) // GET /internal/broadcasts/{id}
        .with_state(state)
}
