//! Why a request got no answer from its upstream, and the problem the client gets instead.

use http::{StatusCode, header::ALLOW};
use marquee_common::{BoxError, error::ApiError, server::Doubt};

use crate::{
    connections::ConnectError, lookup::LookupError, stream_id::StreamIdError, upstream::Upstream,
};

/// Why a request got no answer from its upstream.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Where the request ends is not clear.
    #[error("the request's end is in doubt")]
    Doubtful,
    /// The path names no stream that could be asked for.
    #[error("the stream id {0}")]
    StreamId(#[from] StreamIdError),
    /// It does not name one host (RFC 9112 section 3.2).
    #[error("the request does not name one host")]
    NoSingleHost,
    /// CONNECT or TRACE, which are about the proxy itself.
    #[error("the method is not passed on")]
    Method,
    /// The request has been here before.
    #[error("the route of {0} leads back to this proxy")]
    Loop(Box<str>),
    /// Redis knows no address, or a bad one, or cannot be asked.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// There is no connection to the upstream.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke before the answer began, or what came was no HTTP.
    #[error("{0} broke off")]
    BrokeOff(Upstream, #[source] BoxError),
    /// The answer did not begin in time.
    #[error("{0} did not answer in time")]
    TooLate(Upstream),
    /// The client did not send its body in time.
    #[error("the client did not send its body in time")]
    ClientTooSlow,
    /// The client broke off while it sent its body.
    #[error("the client broke off")]
    ClientGone(#[source] BoxError),
    /// Whoever asked for several requests at once has failed.
    #[error("the request that this one was joined to failed: {0}")]
    Joined(std::sync::Arc<ProxyError>),
}

impl ProxyError {
    /// What the metric of failures calls it; `None`: it is not the upstream's.
    pub fn upstream_failure(&self) -> Option<&'static str> {
        match self {
            Self::Connect(ConnectError::TooLate(_)) => Some("connect_timeout"),
            Self::Connect(ConnectError::NoAddress(..)) => Some("no_address"),
            Self::Connect(_) => Some("refused"),
            Self::BrokeOff(..) => Some("broke_off"),
            Self::TooLate(_) => Some("timeout"),
            Self::Loop(_) => Some("loop"),
            _ => None,
        }
    }

    fn answer(&self) -> ApiError {
        let bad_gateway = |detail| ApiError::new(StatusCode::BAD_GATEWAY, "bad_gateway", detail);
        let late = |detail| ApiError::new(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", detail);
        let internal =
            |code, detail| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail);
        match self {
            Self::Doubtful => Doubt::problem(),
            Self::StreamId(error) => ApiError::new(
                StatusCode::BAD_REQUEST,
                match error {
                    StreamIdError::Missing => "stream_id_missing",
                    _ => "bad_stream_id",
                },
                format!("The stream id in /stream/{{stream_id}} {error}."),
            ),
            Self::NoSingleHost => ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "Send exactly one Host header, with a host and perhaps a port.",
            ),
            Self::Method => ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "CONNECT and TRACE are not passed on.",
            )
            .header(ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            Self::Loop(_) => ApiError::new(
                StatusCode::LOOP_DETECTED,
                "loop_detected",
                "This stream's address leads back to the proxy.",
            ),
            Self::Lookup(LookupError::NotFound(_)) => ApiError::new(
                StatusCode::NOT_FOUND,
                "stream_not_found",
                "There is no such stream, or it is not on air.",
            ),
            Self::Lookup(LookupError::Redis(_)) => internal(
                "routes_unavailable",
                "Where this stream is cannot be found out at the moment. Try again in a few seconds.",
            ),
            Self::Lookup(LookupError::BadValue { .. } | LookupError::NotAString(_)) => internal(
                "bad_upstream",
                "This stream's address is not a valid one. Its operator has to set it anew.",
            ),
            Self::Connect(ConnectError::TooLate(_)) => {
                late("The stream's server does not take connections. Try again shortly.")
            }
            Self::Connect(_) => {
                bad_gateway("The stream's server cannot be reached. Try again shortly.")
            }
            Self::BrokeOff(..) => {
                bad_gateway("The stream's server broke off, or did not answer in HTTP.")
            }
            Self::TooLate(_) => late("The stream's server did not answer in time."),
            Self::ClientTooSlow => ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "The body did not arrive in time. Send it again.",
            ),
            Self::ClientGone(_) => ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad_body",
                "The body could not be read to its end.",
            ),
            Self::Joined(error) => error.answer(),
        }
    }
}

impl From<ProxyError> for ApiError {
    fn from(error: ProxyError) -> Self {
        let answer = error.answer();
        if answer.status().is_server_error() {
            answer.with_source(error)
        } else {
            answer
        }
    }
}
