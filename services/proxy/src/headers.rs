//! What of a request's and an answer's headers ends here, and what is added.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONNECTION, COOKIE, EXPECT, HOST, SET_COOKIE, UPGRADE},
};
use marquee_common::{
    forwarding::{Peer, TrustedProxies, strip_hop_by_hop},
    server::{RequestContext, X_REQUEST_ID},
};

use crate::upstream::Upstream;

/// By which a request that comes back is known (RFC 8586). Not `Via`: servers compress less for
/// requests that have one.
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// Proxies that a request may have passed, ours and others, before it is taken for a loop.
const MAX_HOPS: usize = 16;

/// What only the platform itself may say. Its services believe these, so no client gets to send
/// them.
static IDENTITY: [HeaderName; 2] = [
    HeaderName::from_static("x-user-id"),
    HeaderName::from_static("x-internal-api-key"),
];

/// The platform's own cookies (a viewer's session), which are nobody else's business.
const OWN_COOKIES: [&str; 2] = ["access_token", "refresh_token"];

/// This process among all proxies.
#[derive(Clone, Debug)]
pub struct LoopGuard {
    name: HeaderValue,
}

impl Default for LoopGuard {
    fn default() -> Self {
        let name = format!("marquee-proxy-{:016x}", rand::random::<u64>());
        Self {
            // Letters, digits and hyphens are a legal value.
            name: HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("marquee-proxy")),
        }
    }
}

impl LoopGuard {
    /// Whether the request has passed this process, or too many others.
    pub fn is_loop(&self, headers: &HeaderMap) -> bool {
        let mut hops = 0;
        for value in headers.get_all(CDN_LOOP) {
            for hop in value.as_bytes().split(|byte| *byte == b',') {
                let name = hop.split(|byte| *byte == b';').next().unwrap_or_default();
                hops += 1;
                if hops > MAX_HOPS || name.trim_ascii() == self.name.as_bytes() {
                    return true;
                }
            }
        }
        false
    }

    fn mark(&self, headers: &mut HeaderMap) {
        headers.append(CDN_LOOP, self.name.clone());
    }
}

/// The protocol that a request asks its connection to be upgraded to, if it is one that is passed
/// on: WebSocket alone. (`h2c` would let a client speak past the rules here.)
pub fn upgrade_of(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let is_websocket = *method == Method::GET
        && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
        && headers.get_all(CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        });
    is_websocket.then(|| protocol.clone())
}

/// Keeps `Connection: upgrade` on its way.
pub fn ask_for_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Makes a client's headers those that the upstream sees; returns the client's address.
pub fn prepare_request(
    headers: &mut HeaderMap,
    peer: &Peer,
    trusted: &TrustedProxies,
    guard: &LoopGuard,
    upstream: &Upstream,
) -> std::net::IpAddr {
    // First, so that a client cannot have `Connection` name and remove what is added here.
    strip_hop_by_hop(headers);
    for name in &IDENTITY {
        headers.remove(name);
    }
    // Answered by our own server already, which asks for the body as soon as it is read.
    headers.remove(EXPECT);
    remove_own_cookies(headers);
    let client = trusted.rewrite_of(headers, peer);
    headers.insert(HOST, upstream.host_header().clone());
    guard.mark(headers);
    client
}

/// Makes an upstream's headers those that the client sees.
pub fn prepare_answer(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    remove_own_set_cookies(headers);
}

/// The request's one id, made here if it has none that can be taken over.
pub fn take_request_id(headers: &mut HeaderMap, make: impl FnOnce() -> HeaderValue) -> HeaderValue {
    let own = RequestContext::request_id_of(headers).cloned();
    let id = own.unwrap_or_else(make);
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

/// A viewer's session is for nobody else to set, or to end.
fn remove_own_set_cookies(headers: &mut HeaderMap) {
    let is_own = |line: &HeaderValue| is_own_cookie(&String::from_utf8_lossy(line.as_bytes()));
    if !headers.get_all(SET_COOKIE).iter().any(is_own) {
        return;
    }
    let lines = headers.get_all(SET_COOKIE).iter();
    let kept: Vec<HeaderValue> = lines.filter(|line| !is_own(line)).cloned().collect();
    headers.remove(SET_COOKIE);
    for line in kept {
        headers.append(SET_COOKIE, line);
    }
}

fn is_own_cookie(pair: &str) -> bool {
    // `=name=value` is a cookie without a name, which browsers send back as `name=value`.
    let pair = pair.trim_start_matches(|c: char| c == '=' || c.is_whitespace());
    let name = pair.split(['=', ';']).next().unwrap_or_default().trim();
    OWN_COOKIES.contains(&name)
}

fn remove_own_cookies(headers: &mut HeaderMap) {
    let has_own = headers.get_all(COOKIE).iter().any(|value| {
        String::from_utf8_lossy(value.as_bytes())
            .split(';')
            .any(is_own_cookie)
    });
    if !has_own {
        return;
    }
    let kept: Vec<String> = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let pairs: Vec<String> = text.split(';').map(|pair| pair.trim().to_owned()).collect();
            pairs
        })
        .filter(|pair| !pair.is_empty() && !is_own_cookie(pair))
        .collect();
    headers.remove(COOKIE);
    if let Ok(value) = HeaderValue::try_from(kept.join("; "))
        && !value.is_empty()
    {
        headers.insert(COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use marquee_common::forwarding::TrustedProxies;

    use super::{LoopGuard, prepare_request, upgrade_of};
    use crate::upstream::Upstream;

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

    fn prepared(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = headers(pairs);
        let trusted = TrustedProxies::default();
        let peer = trusted.peer("192.0.2.7".parse().unwrap());
        let upstream: Upstream = "backend.local:9000".parse().unwrap();
        prepare_request(
            &mut headers,
            &peer,
            &trusted,
            &LoopGuard::default(),
            &upstream,
        );
        headers
    }

    #[test]
    fn the_upstream_sees_its_own_host_and_is_told_the_clients() {
        let seen = prepared(&[("host", "video.example"), ("range", "bytes=0-1")]);
        assert_eq!(seen["host"], "backend.local:9000");
        assert_eq!(seen["x-forwarded-host"], "video.example");
        assert_eq!(seen["x-forwarded-for"], "192.0.2.7");
        assert_eq!(seen["x-forwarded-proto"], "http");
        assert_eq!(seen["range"], "bytes=0-1");
    }

    #[test]
    fn what_is_about_this_connection_or_only_ours_to_say_ends_here() {
        let seen = prepared(&[
            ("connection", "x-own, keep-alive"),
            ("x-own", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("x-internal-api-key", "guess"),
            ("x-user-id", "1"),
        ]);
        for name in [
            "connection",
            "x-own",
            "transfer-encoding",
            "upgrade",
            "expect",
            "x-internal-api-key",
            "x-user-id",
        ] {
            assert!(!seen.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_viewers_session_is_not_told_to_upstreams() {
        let seen = prepared(&[
            ("cookie", "theme=dark; access_token=abc;refresh_token=def"),
            ("cookie", "x=1"),
        ]);
        assert_eq!(seen["cookie"], "theme=dark; x=1");
        let seen = prepared(&[("cookie", "access_token=abc")]);
        assert!(!seen.contains_key("cookie"));
        let seen = prepared(&[("cookie", "a=access_token; b=2")]);
        assert_eq!(seen["cookie"], "a=access_token; b=2");
    }

    #[test]
    fn a_request_that_has_been_here_is_known_again() {
        let guard = LoopGuard::default();
        let mut seen = headers(&[("cdn-loop", "other; trace=\"x\"")]);
        assert!(!guard.is_loop(&seen));
        guard.mark(&mut seen);
        assert!(guard.is_loop(&seen));
        assert!(!LoopGuard::default().is_loop(&seen), "another proxy");
        let many = HeaderValue::try_from(vec!["x"; 17].join(", ")).unwrap();
        seen.insert("cdn-loop", many);
        assert!(LoopGuard::default().is_loop(&seen), "too many hops");
    }

    #[test]
    fn only_websockets_are_upgraded() {
        let asked = |pairs: &[(&'static str, &'static str)]| {
            upgrade_of(&Method::GET, &headers(pairs)).is_some()
        };
        assert!(asked(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket")
        ]));
        assert!(!asked(&[("upgrade", "websocket")]));
        assert!(!asked(&[
            ("connection", "upgrade, http2-settings"),
            ("upgrade", "h2c")
        ]));
    }
}
