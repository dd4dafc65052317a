//! Which stream a request is for.
//!
//! `/stream/{id}` and all below it belong to one stream. The id is decoded once, as seed 000's nginx
//! does before it asks Redis; a path that another server could read as another stream's goes
//! nowhere.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Under this all streams are.
pub const PREFIX: &str = "/stream";

/// Longest id, in bytes, once decoded.
pub const MAX_BYTES: usize = 256;

/// What is wrong with a path or an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamIdError {
    /// There is none.
    #[error("is missing")]
    Missing,
    /// It is longer than [`MAX_BYTES`].
    #[error("must be at most 256 bytes long")]
    TooLong,
    /// A `%` without two hexadecimal digits after it, or bytes that are no UTF-8.
    #[error("must be UTF-8, with whole percent-encodings")]
    NotText,
    /// `.`, `..`, a slash, a backslash, or a control character.
    #[error("must not be `.` or `..`, nor have slashes, backslashes or control characters in it")]
    Ambiguous,
    /// The rest of the path has `.` or `..` in it.
    #[error("must be followed by a path without `.` and `..` in it")]
    Climbs,
}

/// The id in a path under [`PREFIX`], as it stands on the wire; `None` for other paths.
pub fn of_path(path: &str) -> Option<Result<Cow<'_, str>, StreamIdError>> {
    let rest = path.strip_prefix(PREFIX)?;
    let rest = match rest.strip_prefix('/') {
        Some(rest) => rest,
        None if rest.is_empty() => "",
        None => return None,
    };
    let (id, below) = rest.split_once('/').unwrap_or((rest, ""));
    Some(decode(id).and_then(|id| {
        if below.split('/').any(is_dots) {
            return Err(StreamIdError::Climbs);
        }
        check(&id)?;
        Ok(id)
    }))
}

/// Whether an id can be asked for under [`PREFIX`].
pub fn check(id: &str) -> Result<(), StreamIdError> {
    if id.is_empty() {
        return Err(StreamIdError::Missing);
    }
    if id.len() > MAX_BYTES {
        return Err(StreamIdError::TooLong);
    }
    let splits_or_hides = |c: char| matches!(c, '/' | '\\') || c.is_control();
    if is_dots(id) || id.contains(splits_or_hides) {
        return Err(StreamIdError::Ambiguous);
    }
    Ok(())
}

fn decode(id: &str) -> Result<Cow<'_, str>, StreamIdError> {
    if !id.contains('%') {
        return Ok(Cow::Borrowed(id));
    }
    // A character takes three bytes at most when it is encoded.
    if id.len() > 3 * MAX_BYTES {
        return Err(StreamIdError::TooLong);
    }
    if !escapes_are_whole(id.as_bytes()) {
        return Err(StreamIdError::NotText);
    }
    percent_decode_str(id)
        .decode_utf8()
        .map_err(|_| StreamIdError::NotText)
}

fn escapes_are_whole(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'%')
        .skip(1)
        .all(|after| after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit))
}

/// `.` or `..`, in any spelling.
fn is_dots(segment: &str) -> bool {
    // Three bytes a dot at most.
    segment.len() <= 6
        && segment.starts_with(['.', '%'])
        && matches!(
            segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
            "." | ".."
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::{StreamIdError, check, of_path};

    fn id(path: &str) -> Result<String, StreamIdError> {
        of_path(path).unwrap().map(Into::into)
    }

    #[test]
    fn the_first_segment_names_the_stream() {
        assert_eq!(id("/stream/live001").as_deref(), Ok("live001"));
        assert_eq!(id("/stream/live001/").as_deref(), Ok("live001"));
        assert_eq!(id("/stream/live001/720p/a.ts").as_deref(), Ok("live001"));
        assert_eq!(id("/stream/live001//a%2Fb").as_deref(), Ok("live001"));
        assert_eq!(id("/stream/a/..hidden/.x").as_deref(), Ok("a"));
    }

    #[test]
    fn an_id_is_decoded_once() {
        assert_eq!(id("/stream/%6cive001").as_deref(), Ok("live001"));
        assert_eq!(id("/stream/caf%C3%A9/x").as_deref(), Ok("café"));
        assert_eq!(id("/stream/100%2525").as_deref(), Ok("100%25"));
        assert_eq!(id("/stream/a:b+c").as_deref(), Ok("a:b+c"));
    }

    #[test]
    fn no_id_is_missing() {
        for path in ["/stream", "/stream/", "/stream//x"] {
            assert_eq!(id(path), Err(StreamIdError::Missing), "{path}");
        }
    }

    #[test]
    fn another_path_is_none_of_ours() {
        for path in ["/", "", "*", "/streams/x", "/streamx", "/Stream/x"] {
            assert_eq!(of_path(path), None, "{path}");
        }
    }

    #[test]
    fn whatever_another_server_could_read_otherwise_goes_nowhere() {
        for path in [
            "/stream/.",
            "/stream/../x",
            "/stream/%2e%2e/x",
            "/stream/.%2E",
            "/stream/%2f",
            "/stream/a%2fb",
            "/stream/a%5cb",
            "/stream/a\\b",
            "/stream/a%00",
            "/stream/a%0d%0ab",
        ] {
            assert_eq!(id(path), Err(StreamIdError::Ambiguous), "{path}");
        }
        for path in [
            "/stream/a/../b/x",
            "/stream/a/x/..",
            "/stream/a/./x",
            "/stream/a/%2e%2E/b",
            "/stream/a/.%2e",
        ] {
            assert_eq!(id(path), Err(StreamIdError::Climbs), "{path}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for path in ["/stream/%", "/stream/%2", "/stream/a%zz", "/stream/%ff"] {
            assert_eq!(id(path), Err(StreamIdError::NotText), "{path}");
        }
    }

    #[test]
    fn an_id_of_four_kilobytes_is_too_long() {
        let long = "x".repeat(4096);
        assert_eq!(id(&format!("/stream/{long}")), Err(StreamIdError::TooLong));
        assert_eq!(check(&"x".repeat(256)), Ok(()));
        assert_eq!(check(&"x".repeat(257)), Err(StreamIdError::TooLong));
        let encoded = "%41".repeat(256);
        assert_eq!(id(&format!("/stream/{encoded}")), Ok("A".repeat(256)));
    }

    proptest! {
        #[test]
        fn whatever_is_found_can_be_asked_for_again(path in "/stream/[ -~]{0,40}") {
            if let Some(Ok(id)) = of_path(&path) {
                prop_assert_eq!(check(&id), Ok(()));
                let again = percent_encoding::utf8_percent_encode(
                    &id,
                    percent_encoding::NON_ALPHANUMERIC,
                );
                let path = format!("/stream/{again}");
                prop_assert_eq!(of_path(&path), Some(Ok(id.into_owned().into())));
            }
        }
    }
}
