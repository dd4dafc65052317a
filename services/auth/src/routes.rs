//! The URL table.

mod browser;
mod internal;
mod me;
mod registration;
mod sessions;
mod signed_in;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

/// Every route of the service.
pub fn routes(state: AppState) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(registration::register)) //       POST /api/auth/register
        .routes(routes!(sessions::login)) //              POST /api/auth/login
        .routes(routes!(sessions::refresh)) //            POST /api/auth/refresh
        .routes(routes!(sessions::logout)) //             POST /api/auth/logout
        .routes(routes!(me::show, me::update)) //         GET · PATCH /api/auth/me
        .routes(routes!(me::subscription)) //             GET /api/auth/me/subscription
        .routes(routes!(internal::subscription)) //       GET /internal/users/{id}/subscription
        .with_state(state)
}
