//! Signing in, staying signed in, signing out.

use axum::{
    extract::State,
    response::{AppendHeaders, IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::SET_COOKIE};
use marquee_common::{
    auth::User,
    contract::Problem,
    error::ApiError,
    extract::{Json, OptionalJson},
};
use serde::Deserialize;

use super::{
    browser,
    client::Client,
    device,
    problems::{BadBody, MayNotWrite, Unavailable},
    proof::{Prover, prove},
    signed_in::{self, SignedIn},
};
use crate::{
    app::AppState, cookies, error::AuthError, lockout::Place, refresh_token::RefreshToken,
    store::Rotation,
};

/// Who wants to sign in.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Credentials {
    /// Username or e-mail address, in any case. May also be called `username` or `email`.
    #[serde(alias = "username", alias = "email")]
    login: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// Sign in.
///
/// Unknown users and wrong passwords get the same answer after the same time. After a few wrong
/// passwords one has to wait before the next, for longer each time.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "auth",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in; both cookies are set", body = SignedIn),
        (status = 401, description = "`invalid_credentials`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`locked`: the password was wrong too often; `Retry-After` tells when to try again", body = Problem, content_type = "application/problem+json"),
        BadBody,
        Unavailable,
    ),
)]
pub async fn login(
    State(state): State<AppState>,
    client: Client,
    headers: HeaderMap,
    Json(credentials): Json<Credentials>,
) -> Result<Response, AuthError> {
    // Postgres has no NUL in text, and nobody has one in a name.
    let login = credentials.login.trim().replace('\0', "\u{fffd}");
    // Names and addresses are ASCII. To some locales' lower() other letters are spellings of theirs,
    // which the gateway, that counts sign-ins by account, would take for another's.
    let is_possible = login.is_ascii();
    let cookie = browser::cookie(&headers, cookies::DEVICE);
    // Once more if the account changed meanwhile: perhaps another sign-in renewed its hash.
    for _ in 0..2 {
        let account = if is_possible {
            state.store.find_account_by_login(&login).await?
        } else {
            None
        };
        let user_id = account.as_ref().map(|account| account.user.id);
        let device = device::known(&state, user_id, cookie).await?;
        let prover = Prover {
            login: &login,
            account: account.as_ref(),
            address: client.address,
            own_place: device.map(Place::Device),
        };
        let proof = prove(&state, prover, credentials.password.clone()).await?;
        let (Some(account), Some(proof)) = (account, proof) else {
            break;
        };
        let (id, hash) = (account.user.id, &account.password_hash);
        let answer = signed_in::open_session(&state, StatusCode::OK, id, hash, &client).await?;
        if let Some(answer) = answer {
            if let Some(renewed) = proof.renewed_hash {
                state.store.update_password_hash(id, hash, &renewed).await?;
            }
            return device::remember(&state, id, device, answer).await;
        }
    }
    Err(AuthError::InvalidCredentials)
}

/// A refresh token to exchange.
#[derive(Default, Deserialize, utoipa::ToSchema)]
pub struct RefreshRequest {
    /// Without it the cookie `refresh_token` counts.
    refresh_token: Option<String>,
}

/// Exchange a refresh token for a new pair.
///
/// Each token is good for one exchange. Repeated within 10 s it gives another pair; later the
/// session ends, because somebody else must have the token too.
#[utoipa::path(
    post,
    path = "/api/auth/refresh",
    tag = "auth",
    request_body(content = Option<RefreshRequest>),
    responses(
        (status = 200, description = "A new pair; both cookies are set", body = SignedIn),
        (status = 401, description = "`refresh_token_invalid` or `refresh_token_reused`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`csrf_failed`: by cookie, and from a page that is not listed", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`: this token was repeated, or its session refreshed, too often; `Retry-After` tells when to try again", body = Problem, content_type = "application/problem+json"),
        BadBody,
        Unavailable,
    ),
)]
pub async fn refresh(
    State(state): State<AppState>,
    client: Client,
    headers: HeaderMap,
    OptionalJson(request): OptionalJson<RefreshRequest>,
) -> Result<Response, AuthError> {
    if let Some(token) = request.refresh_token {
        return exchange(&state, token, &client).await;
    }
    let token =
        browser::cookie(&headers, cookies::REFRESH_TOKEN).ok_or(AuthError::RefreshTokenInvalid)?;
    browser::require_allowed_origin(&state.auth, &headers)?;
    match exchange(&state, token.to_owned(), &client).await {
        // A browser would go on sending the dead cookie.
        Err(error @ (AuthError::RefreshTokenInvalid | AuthError::RefreshTokenReused)) => {
            Err(sign_browser_out(&state, error.into()).into())
        }
        answer => answer,
    }
}

async fn exchange(state: &AppState, token: String, client: &Client) -> Result<Response, AuthError> {
    let successor = RefreshToken::generate()?;
    let rotation = state
        .store
        .rotate_refresh_token(
            &RefreshToken::presented(token).hash(),
            &successor.hash(),
            client.address,
            (
                state.sign_in.refresh_token_ttl(),
                state.sign_in.refresh_reuse_grace(),
            ),
        )
        .await?;
    match rotation {
        Rotation::Exchanged {
            session_id,
            user_id,
        } => {
            let account = state.store.find_account(user_id).await?;
            let account = account.ok_or(AuthError::RefreshTokenInvalid)?;
            let status = StatusCode::OK;
            Ok(signed_in::answer(
                state,
                status,
                account.user,
                session_id,
                &successor,
            ))
        }
        Rotation::Reused { session_id } => {
            tracing::warn!(%session_id, "a refresh token was reused; its session is revoked");
            state.revocations.announce(&[session_id]).await;
            Err(AuthError::RefreshTokenReused)
        }
        Rotation::TooOften(wait) => Err(AuthError::TooManyRefreshes(wait)),
        Rotation::Invalid => Err(AuthError::RefreshTokenInvalid),
    }
}

fn sign_browser_out(state: &AppState, error: ApiError) -> ApiError {
    let [access, refresh] = state.cookies.sign_out();
    error.header(SET_COOKIE, access).header(SET_COOKIE, refresh)
}

/// Sign out: the session ends, and its access token is refused from now on.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 204, description = "Signed out; both cookies are cleared"),
        MayNotWrite,
        Unavailable,
    ),
)]
pub async fn logout(
    State(state): State<AppState>,
    User(claims): User,
) -> Result<Response, AuthError> {
    state.store.mark_session_revoked(claims.sid).await?;
    state.revocations.announce(&[claims.sid]).await;
    Ok(signed_out(&state))
}

/// 204 to a client whose session is over.
pub(super) fn signed_out(state: &AppState) -> Response {
    let cookies = state.cookies.sign_out().map(|cookie| (SET_COOKIE, cookie));
    (StatusCode::NO_CONTENT, AppendHeaders(cookies)).into_response()
}
