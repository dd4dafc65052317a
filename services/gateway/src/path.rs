//! Which request paths mean one thing only.
//!
//! A path is routed by its first segments and then read again by the service behind. If the two
//! could read it differently (`/api/auth/%2e%2e/internal`, `//internal`, `/api/x%2f..`), a client
//! could reach what has no route, so such a path is taken nowhere.

use percent_encoding::percent_decode_str;

/// How often a segment is decoded to see whether it turns into something else. Each hop behind us
/// decodes once at most, and there are fewer than these.
const DECODINGS: usize = 4;

/// Whether every reader of this path sees the same segments in it, however often it decodes.
pub fn is_unambiguous(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        // Only the last may be empty: a trailing slash.
        let is_last = segments.peek().is_none();
        if (segment.is_empty() && !is_last) || !is_plain(segment) {
            return false;
        }
    }
    true
}

fn is_plain(segment: &str) -> bool {
    let mut segment = segment.as_bytes().to_vec();
    for _ in 0..DECODINGS {
        let steps_up_or_stays = matches!(name(&segment), b"." | b"..");
        let splits = segment.iter().any(|b| matches!(b, b'/' | b'\\'));
        let hides = segment.iter().any(u8::is_ascii_control);
        if steps_up_or_stays || splits || hides {
            return false;
        }
        if !segment.contains(&b'%') {
            return true;
        }
        if !escapes_are_whole(&segment) {
            return false;
        }
        let Ok(text) = std::str::from_utf8(&segment) else {
            return false;
        };
        segment = percent_decode_str(text).collect();
    }
    false
}

// `..;x` is `..` to servers that know path parameters.
fn name(segment: &[u8]) -> &[u8] {
    segment.split(|b| *b == b';').next().unwrap_or_default()
}

fn escapes_are_whole(segment: &[u8]) -> bool {
    let mut bytes = segment.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'%' {
            let is_hex = |digit: Option<&u8>| digit.is_some_and(u8::is_ascii_hexdigit);
            if !is_hex(bytes.next()) || !is_hex(bytes.next()) {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_unambiguous;

    #[test]
    fn ordinary_paths_are_unambiguous() {
        for path in [
            "/api/auth/login",
            "/api/streams/",
            "/stream/0198/1080p/a-1-2-3-4-d.ts",
            "/api/videos/a%20b",
            "/api/videos/caf%C3%A9",
            "/api/videos/..hidden",
            "/api/videos/v1.2",
            "/",
        ] {
            assert!(is_unambiguous(path), "{path}");
        }
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_not() {
        for path in [
            "",
            "*",
            "api/auth",
            "//internal/users",
            "/api//internal",
            "/api/auth/../internal",
            "/api/auth/..",
            "/api/./auth",
            "/api/auth/%2e%2e/%2e%2e/internal",
            "/api/auth/.%2E/internal",
            "/api/auth/%2finternal",
            "/api/auth/..%2f..%2finternal",
            "/api/auth/%5c..%5cinternal",
            "/api/auth\\..\\internal",
            "/api/auth/%252e%252e/internal",
            "/api/auth/%25252e%25252e/internal",
            "/api/auth/%2525252525252e/internal",
            "/api/auth/..;a=b/internal",
            "/api/auth/%00",
            "/api/auth/a%0d%0ab",
            "/api/auth/%",
            "/api/auth/%2",
            "/api/auth/%zz",
        ] {
            assert!(!is_unambiguous(path), "{path}");
        }
    }
}
