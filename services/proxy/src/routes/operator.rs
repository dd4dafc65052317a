//! Who may read and change the table.

use axum::{extract::FromRequestParts, http::request::Parts};
use marquee_common::{auth::Admin, error::ApiError};

use crate::app::AppState;

/// A signed-in admin.
pub struct Operator;

impl FromRequestParts<AppState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Some(auth) = &state.auth else {
            let detail = "This proxy runs without JWT_SECRET_KEY and knows no admins; change routes \
                          with `proxy routes` or redis-cli.";
            return Err(ApiError::unavailable(detail));
        };
        Admin::from_request_parts(parts, auth).await?;
        Ok(Self)
    }
}
