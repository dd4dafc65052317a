//! A service's answer, read to its end, and the one shape of all problems.
//!
//! The shape is written down here again and not taken from the services' code: tests that read what
//! clients read notice when it changes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};
use serde::Deserialize;
use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null where it is none.
    pub body: Value,
}

/// A problem (RFC 9457) as clients get it.
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to change.
    pub detail: String,
    /// A stable snake-case code.
    pub code: String,
    /// The id under which the log tells more.
    pub request_id: Option<String>,
    /// The fields at fault.
    #[serde(default)]
    pub errors: Vec<FieldError>,
}

/// One field at fault.
#[derive(Clone, Debug, Deserialize)]
pub struct FieldError {
    /// The field's name in the request body.
    pub field: String,
    /// What to change.
    pub message: String,
}

/// Sends a request and reads the answer to its end.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a whole body");
    Answer::new(status, headers, text)
}

impl Answer {
    /// An answer of these.
    pub fn new(status: StatusCode, headers: HeaderMap, text: String) -> Self {
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self {
            status,
            headers,
            text,
            body,
        }
    }

    /// Checks the status and gives the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }

    /// Checks that this is a problem with this status and code, in the one shape of all problems.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> Problem {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem: Problem = serde_json::from_value(self.body.clone()).expect("a problem");
        assert_eq!(problem.code, code);
        assert_eq!(problem.status, status);
        assert!(!problem.detail.is_empty() && !problem.title.is_empty());
        let id = self.headers["x-request-id"].to_str().expect("an id");
        assert_eq!(problem.request_id.as_deref(), Some(id));
        problem
    }

    /// What a test's upstream that echoes requests says it received under a header name.
    #[track_caller]
    pub fn received(&self, header: &str) -> Vec<&str> {
        let headers = self.body["headers"]
            .as_array()
            .unwrap_or_else(|| panic!("no echo: {self:?}"));
        headers
            .iter()
            .filter(|pair| pair[0] == header)
            .filter_map(|pair| pair[1].as_str())
            .collect()
    }

    /// The `Set-Cookie` line of a cookie.
    #[track_caller]
    pub fn set_cookie(&self, name: &str) -> String {
        let prefix = format!("{name}=");
        self.headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|line| line.to_str().ok())
            .find(|line| line.starts_with(&prefix))
            .unwrap_or_else(|| panic!("no cookie {name} in {:?}", self.headers))
            .to_owned()
    }
}
