//! URLs as a log may hold them.
//!
//! A stream key lets whoever reads it take over a broadcast, and a token in a query lets them
//! watch for free: neither may reach a log line, in whatever parameter or spelling it comes.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What stands in a secret's place.
const REDACTED: &str = "***";

/// A stream key is 32 random bytes in base64url without padding.
const KEY_CHARS: usize = 43;

/// Query parameters whose values are secrets, whatever they look like.
const SECRET_PARAMETERS: [&str; 11] = [
    "access_token",
    "code",
    "key",
    "passphrase",
    "password",
    "refresh_token",
    "stream_key",
    "streamid",
    "token",
    "x-amz-security-token",
    "x-amz-signature",
];

/// `path` with `***` for every segment that is or holds a stream key.
pub fn path(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(is_secret) {
        return Cow::Borrowed(path);
    }
    path.split('/')
        .map(|segment| {
            if is_secret(segment) {
                REDACTED
            } else {
                segment
            }
        })
        .collect::<Vec<_>>()
        .join("/")
        .into()
}

/// `query` with `***` for the values of secret parameters and for every stream key.
pub fn query(query: &str) -> String {
    query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if is_secret_parameter(name) || is_secret(value) => {
                format!("{name}={REDACTED}")
            }
            None if is_secret(pair) => REDACTED.to_owned(),
            _ => pair.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("&")
}

fn is_secret_parameter(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    SECRET_PARAMETERS
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret))
}

/// Whether `text` has a run of exactly 43 base64url characters, also when percent-encoded.
/// (UUIDs are 36 long, our object names have dots; an HMAC-SHA256 signature in base64url is 43
/// long too, and no loss.)
fn is_secret(text: &str) -> bool {
    if text.len() < KEY_CHARS {
        return false;
    }
    let decoded: Cow<'_, [u8]> = percent_decode_str(text).into();
    decoded
        .split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')))
        .any(|run| run.len() == KEY_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

    #[test]
    fn a_stream_key_in_a_path_is_hidden() {
        assert_eq!(KEY.len(), KEY_CHARS);
        assert_eq!(path(&format!("/api/streams/{KEY}")), "/api/streams/***");
        assert_eq!(
            path(&format!("/live/{KEY}/index.m3u8")),
            "/live/***/index.m3u8"
        );
        assert_eq!(path(&format!("/live/{KEY}.m3u8")), "/live/***");
    }

    #[test]
    fn a_percent_encoded_stream_key_is_hidden() {
        let encoded = format!("/api/streams/%41{}", &KEY[1..]);
        assert_eq!(path(&encoded), "/api/streams/***");
        assert_eq!(path(&format!("/x/publish%3A{KEY}")), "/x/***");
    }

    #[test]
    fn ids_and_object_names_stay_readable() {
        let plain = "/stream/018f3f2e-7c1a-7b3c-9d4e-5f6a7b8c9d0e/720p/\
                     018f3f2e7c1a-1-42-1700000000000-2000.ts";
        assert!(matches!(path(plain), Cow::Borrowed(_)));
    }

    #[test]
    fn secret_parameters_and_keys_in_queries_are_hidden() {
        assert_eq!(query("token=abc&page=2"), "token=***&page=2");
        assert_eq!(query("TOKEN=abc"), "TOKEN=***");
        assert_eq!(query("to%6ben=abc"), "to%6ben=***");
        assert_eq!(query("streamid=publish:x"), "streamid=***");
        assert_eq!(query(&format!("q={KEY}")), "q=***");
        assert_eq!(query(KEY), "***");
        assert_eq!(query("q=cats&live=true"), "q=cats&live=true");
    }
}
