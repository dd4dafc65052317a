//! Errors as RFC 9457 problems: a stable code and a helpful detail for the client, the cause for
//! the log.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    BoxError,
    contract::{FieldError, PROBLEM_JSON, Problem},
    error_chain,
    server::RequestContext,
};

/// What every unexpected failure tells the client; the log knows more.
const INTERNAL_DETAIL: &str = "Something went wrong on our side. Try again later; if it stays, \
    report it with the request_id.";

/// An answer that is an error. Handlers return it; as a response it is
/// `application/problem+json` with the request's id.
///
/// A source given to [`Self::with_source`] never reaches the client: it is written once, in the
/// request's access-log line.
pub struct ApiError(Box<Inner>);

struct Inner {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<BoxError>,
}

/// Why a response is a 5xx, for the access log (a response extension).
#[derive(Clone)]
pub(crate) struct ErrorCause(pub(crate) Arc<str>);

impl ApiError {
    /// An error with a stable snake-case `code` and a `detail` that says what to change.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
            source: None,
        }))
    }

    /// 404 `not_found`.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing here, or it is not yours to see.",
        )
    }

    /// 401 `unauthenticated`, with the scheme that would do.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Sign in: send a valid access token as `Authorization: Bearer` or as the \
             `access_token` cookie.",
        )
        .header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"marquee\""),
        )
    }

    /// 403 `forbidden`.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 422 `validation_failed`, naming each field at fault.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let mut error = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
            "Some fields are not as they should be; see `errors`.",
        );
        error.0.errors = errors;
        error
    }

    /// 409 with a code of its own.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 429 `rate_limited` with `Retry-After`, rounded up to a second.
    pub fn rate_limited(retry_after: Duration, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(retry_after)
    }

    /// 503 `unavailable`: something this needs is away.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// 500 `internal`: the client learns nothing, the log the source.
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            INTERNAL_DETAIL,
        )
        .with_source(source)
    }

    /// The cause, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Add a field at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.0.errors.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
        self
    }

    /// Add a response header; one whose value is no legal header value is left out.
    #[must_use]
    pub fn header<V>(mut self, name: HeaderName, value: V) -> Self
    where
        V: TryInto<HeaderValue>,
    {
        if let Ok(value) = value.try_into() {
            self.0.headers.push((name, value));
        }
        self
    }

    /// Add `Retry-After`, rounded up to a second.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        self.header(header::RETRY_AFTER, seconds.to_string())
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The response to a request outside of [`RequestContext`], and its cause for the log.
    pub fn response_to(self, request_id: Option<&str>) -> (Response, Option<Arc<str>>) {
        let cause = self.cause();
        let problem = self.problem(request_id.map(str::to_owned));
        (self.with_body(&problem), cause)
    }

    fn problem(&self, request_id: Option<String>) -> Problem {
        Problem {
            type_uri: "about:blank".to_owned(),
            title: self
                .0
                .status
                .canonical_reason()
                .unwrap_or("Error")
                .to_owned(),
            status: self.0.status.as_u16(),
            detail: self.0.detail.clone(),
            code: self.0.code.to_owned(),
            request_id,
            errors: self.0.errors.clone(),
        }
    }

    /// The cause as the access log shows it. A 5xx without a source shows its detail, so that no
    /// failure of ours is silent there.
    fn cause(&self) -> Option<Arc<str>> {
        match &self.0.source {
            Some(source) => Some(error_chain(source.as_ref()).into()),
            None if self.0.status.is_server_error() => Some(self.0.detail.as_str().into()),
            None => None,
        }
    }

    fn with_body(self, problem: &Problem) -> Response {
        // A struct of strings and numbers always serializes; an empty body would still carry the
        // status.
        let body = serde_json::to_vec(problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        // An error is about one request and never about the next one.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.0.headers {
            headers.append(name, value);
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let context = RequestContext::current();
        let request_id = context.as_ref().map(RequestContext::request_id);
        let (mut response, cause) = self.response_to(request_id);
        if let Some(cause) = cause {
            response.extensions_mut().insert(ErrorCause(cause));
        }
        response
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.status, self.0.code, self.0.detail)
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("status", &self.0.status)
            .field("code", &self.0.code)
            .field("detail", &self.0.detail)
            .field("errors", &self.0.errors)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
