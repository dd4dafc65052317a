//! Knowing a browser again.

use axum::response::Response;
use http::{HeaderValue, header::SET_COOKIE};
use marquee_common::contract::UserId;

use crate::{
    app::AppState,
    device::{DeviceToken, LIFETIME},
    error::AuthError,
    refresh_token::TokenHash,
};

/// The device whose cookie a request has, if the user has signed in from it before.
pub async fn known(
    state: &AppState,
    user_id: Option<UserId>,
    cookie: Option<&str>,
) -> Result<Option<TokenHash>, AuthError> {
    let Some(cookie) = cookie else {
        return Ok(None);
    };
    let token = DeviceToken::hash_presented(cookie);
    let known = state.store.knows_device(user_id, &token).await?;
    Ok(known.then_some(token))
}

/// Remembers the device that a user has signed in from: `known` again, or a new one, which gets its
/// cookie with the answer.
pub async fn remember(
    state: &AppState,
    user_id: UserId,
    known: Option<TokenHash>,
    mut answer: Response,
) -> Result<Response, AuthError> {
    if let Some(token) = known {
        state.store.upsert_device(user_id, &token).await?;
        return Ok(answer);
    }
    let token = DeviceToken::generate()?;
    state.store.upsert_device(user_id, &token.hash()).await?;
    let cookie = state.cookies.device(token.expose(), LIFETIME);
    // base64url and attributes: always a header's value.
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(answer)
}
