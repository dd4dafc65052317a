//! The answer to register, login and refresh: the user, a pair of tokens, and both cookies.

use axum::{
    Json,
    response::{AppendHeaders, IntoResponse, Response},
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, SET_COOKIE},
};
use marquee_common::contract::{AccessClaims, SessionId, UserId};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::client::Client;
use crate::{
    app::AppState, error::AuthError, refresh_token::RefreshToken, store::NewSession, user::User,
};

/// A user with a fresh pair of tokens.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SignedIn {
    /// Who is signed in.
    user: User,
    /// A JWT for `Authorization: Bearer`.
    access_token: String,
    /// Opaque; good for one refresh.
    refresh_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Life of the access token, in seconds.
    expires_in: i64,
}

/// Opens a session for a user who has proved to know the password of `password_hash`. What the
/// tokens say of the user is what is so when the session is recorded. `None` if that is no longer the
/// account's hash, or the account is gone or disabled.
pub async fn open_session(
    state: &AppState,
    status: StatusCode,
    user_id: UserId,
    password_hash: &str,
    client: &Client,
) -> Result<Option<Response>, AuthError> {
    let session_id = SessionId::new();
    let refresh_token = RefreshToken::generate()?;
    let user = state
        .store
        .insert_session(NewSession {
            id: session_id,
            user_id,
            password_hash,
            user_agent: client.user_agent.as_deref(),
            address: client.address,
            token: &refresh_token.hash(),
            token_ttl: state.sign_in.refresh_token_ttl(),
            max_sessions: state.sign_in.max_sessions_per_user,
        })
        .await?;
    Ok(user.map(|user| answer(state, status, user, session_id, &refresh_token)))
}

/// The answer with a new access token of the session, and the refresh token that was stored for it.
pub fn answer(
    state: &AppState,
    status: StatusCode,
    user: User,
    session_id: SessionId,
    refresh_token: &RefreshToken,
) -> Response {
    let ttl = state.sign_in.access_token_ttl();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let access_token = state.auth.issue(&AccessClaims {
        sub: user.id,
        username: user.username.clone(),
        role: user.role,
        sid: session_id,
        aud: AccessClaims::AUDIENCE.to_owned(),
        iat: now,
        exp: now + ttl.whole_seconds(),
        jti: Uuid::now_v7().to_string(),
    });
    let cookies = state.cookies.sign_in(
        (&access_token, ttl),
        (refresh_token.expose(), state.sign_in.refresh_token_ttl()),
    );
    let body = SignedIn {
        user,
        access_token,
        refresh_token: refresh_token.expose().to_owned(),
        token_type: "Bearer",
        expires_in: ttl.whole_seconds(),
    };
    (
        status,
        // RFC 6749 section 5.1: tokens must not stay in a cache.
        [(CACHE_CONTROL, "no-store")],
        AppendHeaders(cookies.map(|cookie| (SET_COOKIE, cookie))),
        Json(body),
    )
        .into_response()
}
