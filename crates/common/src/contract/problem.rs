//! RFC 9457 problem details with Marquee's stable `code` and the `request_id` of the access log.

use serde::{Deserialize, Serialize};

/// The media type of every error body (RFC 9457 section 3).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error as a client sees it. `code` is stable and made for programs, `detail` says what to
/// change and is made for people; a 5xx never carries its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// `about:blank`, or a URI that explains the problem (RFC 9457 section 3.1.1).
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to change.
    pub detail: String,
    /// A stable snake-case code (`validation_failed`, `not_found`, …).
    pub code: String,
    /// The id under which the log tells more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The fields at fault, with 422.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One field at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field's name in the request body.
    pub field: String,
    /// What to change.
    pub message: String,
}
