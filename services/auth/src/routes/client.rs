//! Who asks: the address and the name of the client.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{header::USER_AGENT, request::Parts};

use crate::app::AppState;

/// Longest part of a `User-Agent` that is kept, in characters.
const USER_AGENT_MAX: usize = 255;

/// The client of a request.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it sits.
    pub address: IpAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
}

impl FromRequestParts<AppState> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        // The server tells the peer of every request; without one all would sit in one place.
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let user_agent = parts.headers.get(USER_AGENT);
        Ok(Self {
            address: state.trusted_proxies.client(&parts.headers, peer),
            user_agent: user_agent
                .and_then(|name| name.to_str().ok())
                .map(|name| name.chars().take(USER_AGENT_MAX).collect()),
        })
    }
}
