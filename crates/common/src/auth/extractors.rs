//! `User`, `OptionalUser`, `Admin` and `Internal`.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{
        HeaderMap, HeaderName, Method, StatusCode, header::AUTHORIZATION, header::COOKIE,
        header::ORIGIN, request::Parts,
    },
};

use super::AuthContext;
use crate::{
    contract::{AccessClaims, Role},
    error::ApiError,
};

/// Header by which services know each other.
pub const X_INTERNAL_API_KEY: HeaderName = HeaderName::from_static("x-internal-api-key");

/// Cookie that holds the access token.
const ACCESS_COOKIE: &str = "access_token";

/// A signed-in user: `Authorization: Bearer`, else the cookie `access_token`. 401
/// `unauthenticated` without; 403 `csrf_failed` for a write by cookie whose `Origin` is not
/// allowed.
#[derive(Clone, Debug)]
pub struct User(pub AccessClaims);

/// A signed-in user, or nobody. A bearer token that is not valid is 401 (its owner wants to
/// know); a cookie that is not valid, or may not be used for this write, is nobody.
#[derive(Clone, Debug)]
pub struct OptionalUser(pub Option<AccessClaims>);

/// A [`User`] whose role is admin; 403 `forbidden` for others.
#[derive(Clone, Debug)]
pub struct Admin(pub AccessClaims);

/// Another service, by `X-Internal-API-Key`; 401 `unauthenticated` without.
#[derive(Clone, Copy, Debug)]
pub struct Internal;

impl<S> FromRequestParts<S> for User
where
    AuthContext: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let auth = AuthContext::from_ref(state);
        let Some(token) = token(&parts.headers) else {
            return Err(ApiError::unauthenticated());
        };
        let claims = auth
            .verify(token.text())
            .await
            .map_err(|error| ApiError::unauthenticated().with_source(error))?;
        if matches!(token, Token::Cookie(_)) && !may_write_by_cookie(&auth, parts) {
            return Err(csrf_failed());
        }
        Ok(Self(claims))
    }
}

impl<S> FromRequestParts<S> for OptionalUser
where
    AuthContext: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match token(&parts.headers) {
            None => Ok(Self(None)),
            Some(Token::Bearer(_)) => {
                let User(claims) = User::from_request_parts(parts, state).await?;
                Ok(Self(Some(claims)))
            }
            Some(Token::Cookie(_)) => {
                let user = User::from_request_parts(parts, state).await.ok();
                Ok(Self(user.map(|User(claims)| claims)))
            }
        }
    }
}

impl<S> FromRequestParts<S> for Admin
where
    AuthContext: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let User(claims) = User::from_request_parts(parts, state).await?;
        match claims.role {
            Role::Admin => Ok(Self(claims)),
            Role::User => Err(ApiError::forbidden("Only an admin may do this.")),
        }
    }
}

impl<S> FromRequestParts<S> for Internal
where
    AuthContext: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let auth = AuthContext::from_ref(state);
        match parts.headers.get(X_INTERNAL_API_KEY) {
            Some(key) if auth.is_internal_key(key.as_bytes()) => Ok(Self),
            _ => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "This route is for the platform's own services.",
            )),
        }
    }
}

enum Token<'a> {
    Bearer(&'a str),
    Cookie(&'a str),
}

impl<'a> Token<'a> {
    fn text(&self) -> &'a str {
        match self {
            Self::Bearer(token) | Self::Cookie(token) => token,
        }
    }
}

/// The header wins: a script that sends one means it.
fn token(headers: &HeaderMap) -> Option<Token<'_>> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().unwrap_or_default().split_once(' ')?;
        return scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| Token::Bearer(token.trim()));
    }
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == ACCESS_COOKIE && !value.is_empty())
        .map(|(_, value)| Token::Cookie(value))
}

/// A browser attaches cookies to what any page sends, but lets no page forge `Origin`.
fn may_write_by_cookie(auth: &AuthContext, parts: &Parts) -> bool {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    parts
        .headers
        .get(ORIGIN)
        .and_then(|origin| origin.to_str().ok())
        .is_some_and(|origin| auth.is_allowed_origin(origin))
}

fn csrf_failed() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "csrf_failed",
        "A write signed in by cookie must come from a page of an allowed origin; send the token \
         as `Authorization: Bearer` instead.",
    )
}
