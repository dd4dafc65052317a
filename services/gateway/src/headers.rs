//! Which headers end at the gateway, beside those that end at every hop.

use http::{HeaderMap, HeaderName, header};
use marquee_common::forwarding::strip_hop_by_hop;

/// What only the platform itself may say. Services believe these, so no client gets to send them.
static IDENTITY: [HeaderName; 2] = [
    HeaderName::from_static("x-user-id"),
    HeaderName::from_static("x-internal-api-key"),
];

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
    use http::{HeaderMap, HeaderValue, header::HeaderName};
    use marquee_common::forwarding::strip_hop_by_hop;

    use super::{clean_request, strip_cors};

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
