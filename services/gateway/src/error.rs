//! Why a request got no answer from a service, and the problem the client gets instead.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use marquee_common::{BoxError, error::ApiError};

use crate::{rate_limit::Refused, route_table::ServiceName};

/// Why a request got no answer from a service.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The path leads nowhere.
    #[error("no route")]
    NoRoute,
    /// It does not name one host (RFC 9112 section 3.2).
    #[error("the request does not name one host")]
    NoSingleHost,
    /// The client asks too often.
    #[error("too many {}", .0.limit.what())]
    RateLimited(Refused),
    /// The body is larger than its route takes.
    #[error("the body is too large")]
    TooLarge,
    /// The client did not send its body in time.
    #[error("the client did not send its body in time")]
    ClientTooSlow,
    /// The client broke off while it sent its body.
    #[error("the client broke off")]
    ClientGone(#[source] BoxError),
    /// This installation does not run the service.
    #[error("{0} is not configured")]
    NotConfigured(ServiceName),
    /// No connection to the service could be made, however often it was tried.
    #[error("no connection to {0}")]
    Unreachable(ServiceName, #[source] BoxError),
    /// The connection broke before the answer began, or what came was no HTTP.
    #[error("{0} broke off")]
    BrokeOff(ServiceName, #[source] BoxError),
    /// The answer did not begin in time.
    #[error("{0} did not answer in time")]
    TooLate(ServiceName),
}

impl From<GatewayError> for ApiError {
    fn from(error: GatewayError) -> Self {
        let bad_gateway = |detail| Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", detail);
        match &error {
            GatewayError::NoRoute => Self::not_found(),
            GatewayError::NoSingleHost => Self::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "Send exactly one Host header, with a host and perhaps a port.",
            ),
            GatewayError::RateLimited(Refused { limit, wait }) => {
                let seconds = wait.as_millis().div_ceil(1000).max(1);
                let what = limit.what();
                let detail = format!("Too many {what}. Try again in {seconds} s.");
                Self::rate_limited(*wait, detail)
            }
            GatewayError::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is larger than this route accepts.",
            ),
            GatewayError::ClientTooSlow => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "The body did not arrive in time. Send it again.",
            ),
            GatewayError::ClientGone(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "bad_body",
                "The body could not be read to its end.",
            )
            .with_source(error),
            GatewayError::NotConfigured(_) => {
                Self::unavailable("This installation does not run the service behind this path.")
                    .with_source(error)
            }
            GatewayError::Unreachable(..) => {
                bad_gateway("The service behind this path cannot be reached. Try again shortly.")
                    .with_source(error)
            }
            GatewayError::BrokeOff(..) => bad_gateway(
                "The service behind this path broke off. Whether it did what was asked is unknown.",
            )
            .with_source(error),
            GatewayError::TooLate(_) => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "gateway_timeout",
                "The service behind this path did not answer in time. Whether it did what was \
                 asked is unknown.",
            )
            .with_source(error),
        }
    }
}

impl IntoResponse for GatewayError {
    fn into_response(self) -> Response {
        ApiError::from(self).into_response()
    }
}
