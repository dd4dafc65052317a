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
    rate_limit::{Kind, event_streams::Place, rules::READ_BODY_BYTES},
};

/// A request that may pass.
#[derive(Debug)]
pub struct Admitted {
    /// As it came.
    pub request: Request,
    /// Where it asks for an event stream: its place among those of its address.
    pub event_stream: Option<Place>,
}

impl Admitted {
    /// A request that nobody counts.
    pub fn uncounted(request: Request) -> Self {
        Self {
            request,
            event_stream: None,
        }
    }
}

/// Counts a request that is the gateway's own to answer as one of its address.
pub async fn count(state: &AppState, client: IpAddr) -> Result<(), GatewayError> {
    let Some(limiter) = &state.rate_limiter else {
        return Ok(());
    };
    let charges = limiter.figures().charges(Kind::Plain, client, &[], None);
    let taken = limiter.take(&charges).await;
    taken.map_err(GatewayError::RateLimited)
}

/// Counts a request that goes no further, and says what to answer: `error`, unless it was one
/// request too many.
pub async fn refuse(state: &AppState, client: IpAddr, error: GatewayError) -> GatewayError {
    match count(state, client).await {
        Ok(()) => error,
        Err(too_many) => too_many,
    }
}

/// Lets a request from `client` pass, unless a bucket it falls under has no token.
pub async fn admit(
    state: &AppState,
    client: IpAddr,
    request: Request,
) -> Result<Admitted, GatewayError> {
    let Some(limiter) = &state.rate_limiter else {
        return Ok(Admitted::uncounted(request));
    };
    let kind = Kind::of(request.method(), request.uri().path());
    let (mut head, mut body) = request.into_parts();
    let mut told = Bytes::new();
    if kind.is_told_by_body() {
        let within = state.forwarder.deadlines().upload;
        told = match body::read_whole(body, READ_BODY_BYTES, within).await {
            Ok(told) => told,
            Err(error) => return Err(refuse(state, client, error).await),
        };
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
    let event_stream = match kind {
        Kind::Events => Some(limiter.open_event_stream(client)),
        _ => None,
    };
    Ok(Admitted {
        request: Request::from_parts(head, body),
        event_stream: event_stream
            .transpose()
            .map_err(GatewayError::RateLimited)?,
    })
}

/// Whose token a request has, by header or cookie. The service refuses one that is not valid; here
/// it is nobody's.
async fn user_of(head: &mut Parts, auth: &AuthContext) -> Option<UserId> {
    let user = OptionalUser::from_request_parts(head, auth).await;
    let OptionalUser(claims) = user.ok()?;
    claims.map(|claims| claims.sub)
}
