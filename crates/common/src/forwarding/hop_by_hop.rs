//! Which headers end at every hop, and which host a request is for.

use http::{
    HeaderMap, HeaderName, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
    uri::Authority,
};

/// Headers about one connection (RFC 9110 section 7.6.1), and their old relatives.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether a request names one host, as it must (RFC 9112 section 3.2; before HTTP/1.1, it may).
pub fn name_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => {
            let host = host.as_bytes();
            // Empty: of a URI that has no host.
            host.is_empty() || (Authority::try_from(host).is_ok() && !host.contains(&b'@'))
        }
        (Some(_), Some(_)) => false,
    }
}

/// Removes the headers about one connection, and those that `Connection` names. A length beside
/// `Transfer-Encoding` was never true, and goes with it (RFC 9112 section 6.3).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Version, header::HeaderName};

    use super::{name_one_host, strip_hop_by_hop};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut request = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("authorization", "Bearer x"),
        ]);
        strip_hop_by_hop(&mut request);
        assert_eq!(request, headers(&[("authorization", "Bearer x")]));
    }

    #[test]
    fn a_length_beside_chunks_goes_with_them() {
        let mut both = headers(&[("transfer-encoding", "chunked"), ("content-length", "5")]);
        strip_hop_by_hop(&mut both);
        assert!(both.is_empty());
        let mut one = headers(&[("content-length", "5")]);
        strip_hop_by_hop(&mut one);
        assert_eq!(one, headers(&[("content-length", "5")]));
    }

    #[test]
    fn a_request_names_one_host() {
        let named = |hosts: &[&'static str]| -> HeaderMap {
            let pairs: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            headers(&pairs)
        };
        for host in [
            "video.example",
            "video.example:8080",
            "[::1]:80",
            "127.0.0.1",
            "",
        ] {
            assert!(name_one_host(Version::HTTP_11, &named(&[host])), "{host}");
        }
        for host in [
            "a b",
            "user@video.example",
            "video.example/x",
            "a:b:c",
            "a, b",
        ] {
            assert!(!name_one_host(Version::HTTP_11, &named(&[host])), "{host}");
        }
        assert!(!name_one_host(Version::HTTP_11, &named(&["a", "a"])));
        assert!(!name_one_host(Version::HTTP_10, &named(&["a", "b"])));
        assert!(!name_one_host(Version::HTTP_11, &named(&[])));
        assert!(name_one_host(Version::HTTP_10, &named(&[])));
    }
}
