//! What a browser sends by itself: cookies, and where the page came from.

use http::{
    HeaderMap, StatusCode,
    header::{COOKIE, ORIGIN},
};
use marquee_common::{auth::AuthContext, error::ApiError};

/// The value of a cookie that is not empty.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value)
}

/// Refuses a write authorised by cookie that does not come from a page of ours: another site's page
/// can make a browser send the cookie, but not forge `Origin`.
pub fn require_allowed_origin(auth: &AuthContext, headers: &HeaderMap) -> Result<(), ApiError> {
    let allowed = headers
        .get(ORIGIN)
        .and_then(|origin| origin.to_str().ok())
        .is_some_and(|origin| auth.is_allowed_origin(origin));
    if allowed {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "csrf_failed",
        "A refresh by cookie must come from a page of an allowed origin; send the token in the \
         body instead.",
    ))
}
