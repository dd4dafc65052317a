//! Whether a client has asked too often, found out with as little of its request as tells whose it
//! is.
//!
//! A login's account and a viewer's session stand in the body, so that is read (it is small, or
//! refused) and passed on as it was. A user is only who a checked token says: nobody can use up
//! somebody else's keys by claiming to be them.

use std::net::IpAddr;

use axum::{
    body::Body,
    extract::{FromRequestParts, Request},
};
use bytes::Bytes;
use http::request::Parts;
use marquee_common::{
    auth::{AuthContext, OptionalUser},
    contract::UserId,
};

use crate::{
    app::AppState,
    body,
    error::GatewayError,
    rate_limit::{Kind, rules::READ_BODY_BYTES},
};

/// Lets a request from `client` pass, unless a bucket it falls under has no token.
pub async fn admit(
    state: &AppState,
    client: IpAddr,
    request: Request,
) -> Result<Request, GatewayError> {
    let Some(limiter) = &state.rate_limiter else {
        return Ok(request);
    };
    let kind = Kind::of(request.method(), request.uri().path());
    let (mut head, mut body) = request.into_parts();
    let mut told = Bytes::new();
    if kind.is_told_by_body() {
        told = body::read_whole(body, READ_BODY_BYTES, state.forwarder.deadlines().upload).await?;
        body = Body::from(told.clone());
    }
    let user = match kind {
        Kind::NewKey => user_of(&mut head, &state.auth).await,
        _ => None,
    };
    let charges = limiter.figures().charges(kind, client, &told, user);
    limiter
        .take(&charges)
        .await
        .map_err(GatewayError::RateLimited)?;
    Ok(Request::from_parts(head, body))
}

/// Whose token a request has, by header or cookie. The service refuses one that is not valid; here
/// it is nobody's.
async fn user_of(head: &mut Parts, auth: &AuthContext) -> Option<UserId> {
    let user = OptionalUser::from_request_parts(head, auth).await;
    let OptionalUser(claims) = user.ok()?;
    claims.map(|claims| claims.sub)
}
