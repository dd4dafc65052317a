//! Calling other services, with deadlines, our key and the request's ids.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use reqwest::{Method, RequestBuilder};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::{
    auth::X_INTERNAL_API_KEY, config::Secret, contract::Problem, error::ApiError,
    server::RequestContext,
};

/// Idle connections are given up before the server (75 s) and nginx (60 s) do, so that no request
/// is sent into a closing one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Our services are near; one that has not accepted by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer that is larger is none of ours.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// A client whose calls end within `timeout`, body included. It follows no redirects and knows
/// no proxies: it is for the platform's own addresses.
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "start-up: fails only without TLS, which is built in"
)]
pub fn client(timeout: Duration) -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("a client without exotic options can be built")
}

/// Why a call did not bring what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service answered, with an error; `code` and `detail` are its problem's, or empty.
    #[error("answered {status} {code}: {detail}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// The problem's code.
        code: String,
        /// The problem's detail.
        detail: String,
    },
    /// No answer: refused, cut off, or too late.
    #[error("could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// An answer that does not fit the contract.
    #[error("gave an answer that does not fit")]
    BadAnswer(#[source] crate::BoxError),
}

impl CallError {
    /// The status, if the service answered with an error.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The stable code of the service's problem; empty when there was none.
    pub fn code(&self) -> &str {
        match self {
            Self::Status { code, .. } => code,
            _ => "",
        }
    }

    /// Whether the same call may succeed later: no answer, a 5xx, or 429.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Unreachable(_) => true,
            Self::BadAnswer(_) => false,
        }
    }
}

/// An unexpected failure of a call: 503, the cause for the log. A caller that expects some
/// statuses matches them first.
impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        Self::unavailable("A part of the platform is away. Try again later.").with_source(error)
    }
}

/// Calls the internal routes of one service; a cheap clone.
#[derive(Clone, Debug)]
pub struct InternalClient {
    client: reqwest::Client,
    base_url: Url,
    api_key: Secret,
}

impl InternalClient {
    /// For the service at `base_url`; each call ends within `timeout`.
    pub fn new(base_url: Url, api_key: Secret, timeout: Duration) -> Self {
        Self {
            client: client(timeout),
            base_url,
            api_key,
        }
    }

    /// `GET path` (which begins with `/` and may have a query).
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.answer(self.request(Method::GET, path)).await
    }

    /// `POST path` with a JSON body. An answer without a body is read as `()`.
    pub async fn post<B, T>(&self, path: &str, body: &B) -> Result<T, CallError>
    where
        B: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        self.answer(self.request(Method::POST, path).json(body))
            .await
    }

    /// The same to another instance, for services that are known by URL (transcoders).
    #[must_use]
    pub fn at(&self, base_url: Url) -> Self {
        Self {
            base_url,
            ..self.clone()
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base_url.as_str().trim_end_matches('/'));
        let mut headers = HeaderMap::new();
        if let Some(context) = RequestContext::current() {
            context.write_headers(&mut headers);
        }
        self.client
            .request(method, url)
            .headers(headers)
            .header(X_INTERNAL_API_KEY, self.api_key.expose())
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let response = request
            .send()
            .await
            .map_err(|error| CallError::Unreachable(error.without_url()))?;
        let status = response.status();
        let body = read_bounded(response).await?;
        if !status.is_success() {
            let (code, detail) = serde_json::from_slice::<Problem>(&body)
                .map(|problem| (problem.code, problem.detail))
                .unwrap_or_default();
            return Err(CallError::Status {
                status,
                code,
                detail,
            });
        }
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|error| CallError::BadAnswer(error.into()))
    }
}

async fn read_bounded(mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| CallError::Unreachable(error.without_url()))?
    {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            let text = format!("more than {MAX_ANSWER_BYTES} bytes");
            return Err(CallError::BadAnswer(text.into()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
