//! Which headers end at this hop.

use http::{
    HeaderMap, HeaderName, Version,
    header::{
        self, CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
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

/// What only the platform itself may say. Services believe these, so no client gets to send them.
static IDENTITY: [HeaderName; 2] = [
    HeaderName::from_static("x-user-id"),
    HeaderName::from_static("x-internal-api-key"),
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

/// Removes the headers about one connection, and those that `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
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

/// Removes from a request what ends here, or is not the client's to say.
pub fn clean_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in &IDENTITY {
        headers.remove(name);
    }
    // Answered by our own server already, which asks for the body as soon as it is read.
    headers.remove(header::EXPECT);
}

/// Removes what a service says about CORS: for the API the gateway alone does.
pub fn strip_cors(headers: &mut HeaderMap) {
    let cors: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in cors {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Version, header::HeaderName};

    use super::{clean_request, name_one_host, strip_cors, strip_hop_by_hop};

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
        clean_request(&mut request);
        assert_eq!(request, headers(&[("authorization", "Bearer x")]));
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

    #[test]
    fn a_client_cannot_say_who_it_is() {
        let mut request = headers(&[
            ("x-user-id", "0"),
            ("x-user-id", "1"),
            ("x-internal-api-key", "guess"),
            ("expect", "100-continue"),
            ("range", "bytes=0-1"),
        ]);
        clean_request(&mut request);
        assert_eq!(request, headers(&[("range", "bytes=0-1")]));
    }

    #[test]
    fn a_service_does_not_speak_of_cors() {
        let mut response = headers(&[
            ("access-control-allow-origin", "*"),
            ("access-control-expose-headers", "x"),
            ("transfer-encoding", "chunked"),
            ("content-range", "bytes 0-1/2"),
        ]);
        strip_hop_by_hop(&mut response);
        strip_cors(&mut response);
        assert_eq!(response, headers(&[("content-range", "bytes 0-1/2")]));
    }
}
