//! The URL table.

mod browser;
mod client;
mod device;
mod internal;
mod me;
mod page;
mod problems;
mod proof;
mod registration;
mod sessions;
mod signed_in;
mod users;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

/// Every route of the service.
pub fn routes(state: AppState) -> OpenApiRouter {
    use users::subscription;
    OpenApiRouter::new()
        .routes(routes!(registration::register)) //       POST /api/auth/register
        .routes(routes!(sessions::login)) //              POST /api/auth/login
        .routes(routes!(sessions::refresh)) //            POST /api/auth/refresh
        .routes(routes!(sessions::logout)) //             POST /api/auth/logout
        .routes(routes!(me::show, me::update, me::remove)) // GET · PATCH · DELETE /api/auth/me
        .routes(routes!(me::password::change)) //         PUT /api/auth/me/password
        .routes(routes!(me::sessions::list)) //           GET /api/auth/me/sessions
        .routes(routes!(me::sessions::end)) //            DELETE /api/auth/me/sessions/{id}
        .routes(routes!(me::subscription)) //             GET /api/auth/me/subscription
        .routes(routes!(users::list)) //                  GET /api/auth/users
        .routes(routes!(users::update)) //                PATCH /api/auth/users/{id}
        .routes(routes!(subscription::grant, subscription::revoke)) // PUT · DELETE …/{id}/subscription
        .routes(routes!(internal::subscription)) //       GET /internal/users/{id}/subscription
        .with_state(state)
}
