//! Which requests are equal, what is asked in the place of all of them, and which answers all may
//! have.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response,
    header::{
        ACCEPT_ENCODING, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
        AUTHORIZATION, CACHE_CONTROL, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, ORIGIN, RANGE, SET_COOKIE, USER_AGENT, VARY,
    },
    uri::PathAndQuery,
};
use hyper::body::Body;
use marquee_common::server::X_REQUEST_ID;

use super::{budget::MAX_ANSWER_BYTES, marks};
use crate::{headers::CDN_LOOP, lookup::Route};

/// Headers that make an answer depend on who asks, or on what they have already. A request that has
/// one goes by itself.
static PERSONAL: [HeaderName; 9] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    AUTHORIZATION,
    ACCESS_CONTROL_REQUEST_METHOD,
    ACCESS_CONTROL_REQUEST_HEADERS,
];

/// Headers whose values an answer may depend on; equal requests have the same.
static SAME: [HeaderName; 4] = [
    ACCEPT_ENCODING,
    // An upstream may answer it with CORS headers.
    ORIGIN,
    // It may write them into links.
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// Of whoever happened to come first: on its way for the upstream's log, and against loops.
static FIRST_ONES: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-for"),
    CDN_LOOP,
    X_REQUEST_ID,
];

/// What a request's [`FIRST_ONES`] may measure. More might be refused, for what is nothing to the
/// others.
const MAX_FIRST_ONES_BYTES: usize = 1_024;

/// Who asks when several do.
const WHO: HeaderValue = HeaderValue::from_static("marquee-proxy");

/// Whether a request's answer does not depend on who asks, should its upstream say so. Its `Cookie`
/// does not count: pages of the platform send one with every request, and no shared request has it.
pub fn is_joinable<B: Body>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let first_ones = FIRST_ONES.iter().flat_map(|name| headers.get_all(name));
    *request.method() == Method::GET
        && request.body().is_end_stream()
        && !PERSONAL.iter().any(|name| headers.contains_key(name))
        && first_ones.map(HeaderValue::len).sum::<usize>() <= MAX_FIRST_ONES_BYTES
}

/// What makes two requests equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The upstream, as text: two streams at one address are told apart by their paths.
    upstream: String,
    target: PathAndQuery,
    /// Every line of the headers that are the [`SAME`], for servers look at every one.
    same: [Vec<HeaderValue>; SAME.len()],
}

impl Key {
    pub(super) fn of(route: &Route, request: &Request<()>) -> Self {
        let lines = |name| request.headers().get_all(name).iter().cloned().collect();
        Self {
            upstream: route.upstream.to_string(),
            target: request
                .uri()
                .path_and_query()
                .cloned()
                .unwrap_or(PathAndQuery::from_static("/")),
            same: SAME.each_ref().map(lines),
        }
    }
}

/// What is asked in the place of this request and all that equal it: nothing that the others have
/// not said as well.
pub(super) fn for_all(request: &Request<()>) -> Request<()> {
    let mut shared = Request::new(());
    *shared.version_mut() = request.version();
    shared.uri_mut().clone_from(request.uri());
    for name in std::iter::once(&HOST).chain(&SAME).chain(&FIRST_ONES) {
        for value in request.headers().get_all(name) {
            shared.headers_mut().append(name, value.clone());
        }
    }
    shared.headers_mut().insert(USER_AGENT, WHO);
    shared
}

/// Whether all may have an answer: one that says so, about nobody in particular, and of a length
/// that is known and can wait in memory.
pub fn is_shareable<B: Body>(response: &Response<B>) -> bool {
    shareable_bytes(response).is_some()
}

/// The length of an answer that all may have.
pub(super) fn shareable_bytes<B: Body>(response: &Response<B>) -> Option<u64> {
    let headers = response.headers();
    let is_for_all =
        marks::is_marked(headers) && !is_personal(headers) && varies_by_what_is_equal(headers);
    let bytes = response.body().size_hint().exact()?;
    (is_for_all && bytes <= MAX_ANSWER_BYTES).then_some(bytes)
}

fn is_personal(headers: &HeaderMap) -> bool {
    let is_private = |word: &str| word.to_ascii_lowercase().starts_with("private");
    headers.contains_key(SET_COOKIE) || words(headers, &CACHE_CONTROL).any(|word| is_private(&word))
}

/// Whether all who are joined have what it depends on in common.
fn varies_by_what_is_equal(headers: &HeaderMap) -> bool {
    words(headers, &VARY).all(|word| {
        let is = |name: &HeaderName| word.eq_ignore_ascii_case(name.as_str());
        SAME.iter().chain(&PERSONAL).any(is)
    })
}

/// A header's elements, over all its lines.
fn words(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    headers.get_all(name).into_iter().flat_map(|line| {
        let line = String::from_utf8_lossy(line.as_bytes());
        let words = line.split(',').map(|word| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use bytes::Bytes;
    use futures::stream;
    use http_body_util::{Empty, Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    fn asked(lines: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut request = Request::builder().uri("/stream/a/live.m3u8");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    fn key(lines: &[(&str, &str)]) -> Key {
        let route = Route {
            stream_id: "a".into(),
            upstream: "edge:80".parse().unwrap(),
            mark: marks::Mark::default(),
        };
        Key::of(&route, &asked(lines).map(drop))
    }

    #[test]
    fn every_line_of_what_an_answer_depends_on_counts() {
        let one = [("accept-encoding", "identity")];
        let two = [("accept-encoding", "identity"), ("accept-encoding", "gzip")];
        assert_eq!(key(&one), key(&one));
        assert_ne!(key(&one), key(&two));
        assert_ne!(key(&[]), key(&[("origin", "http://a")]));
        assert_ne!(key(&[]), key(&[("x-forwarded-host", "a")]));
        assert_eq!(key(&[]), key(&[("user-agent", "a"), ("cookie", "a=b")]));
    }

    #[test]
    fn nothing_of_one_client_is_asked_for_all() {
        let request = asked(&[
            ("host", "edge"),
            ("accept-encoding", "identity"),
            ("accept-encoding", "gzip"),
            ("x-request-id", "1"),
            ("user-agent", "theirs"),
            ("cookie", "a=b"),
            ("x-token", "secret"),
        ]);
        let shared = for_all(&request.map(drop));
        assert_eq!(shared.uri(), "/stream/a/live.m3u8");
        assert_eq!(shared.headers()["host"], "edge");
        assert_eq!(shared.headers()["user-agent"], "marquee-proxy");
        assert_eq!(shared.headers()["x-request-id"], "1");
        assert_eq!(
            shared.headers().get_all("accept-encoding").iter().count(),
            2
        );
        assert!(!shared.headers().contains_key("cookie"));
        assert!(!shared.headers().contains_key("x-token"));
    }

    #[test]
    fn a_request_with_much_to_say_of_its_way_goes_by_itself() {
        assert!(is_joinable(&asked(&[("cdn-loop", "a")])));
        assert!(!is_joinable(&asked(&[("cdn-loop", &"a".repeat(2_000))])));
        assert!(is_joinable(&asked(&[("user-agent", &"a".repeat(2_000))])));
        assert!(!is_joinable(&asked(&[("range", "bytes=0-1")])));
    }

    #[test]
    fn an_answer_is_for_all_if_it_is_marked_and_depends_on_nothing_else() {
        let bytes = |lines: &[(&str, &str)]| {
            let mut answer = Response::builder().header("marquee-coalesce", "1");
            for (name, value) in lines {
                answer = answer.header(*name, *value);
            }
            shareable_bytes(&answer.body(Full::new(Bytes::from_static(b"four"))).unwrap())
        };
        assert_eq!(bytes(&[]), Some(4));
        assert_eq!(bytes(&[("vary", "Accept-Encoding, origin")]), Some(4));
        assert_eq!(bytes(&[("cache-control", "public, max-age=1")]), Some(4));
        for (name, value) in [
            ("vary", "*"),
            ("vary", "Cookie"),
            ("vary", "accept-encoding, user-agent"),
            ("cache-control", "no-store, Private"),
            ("set-cookie", "a=b"),
        ] {
            assert_eq!(bytes(&[(name, value)]), None, "{name}: {value}");
        }
        let unmarked = Response::new(Full::new(Bytes::new()));
        assert!(!is_shareable(&unmarked));
    }

    #[test]
    fn an_answer_that_may_be_too_long_to_wait_in_memory_is_not_for_all() {
        let marked = |body| {
            let answer = Response::builder().header("marquee-coalesce", "1");
            answer.body(Full::<Bytes>::from(vec![0; body])).unwrap()
        };
        let longest = usize::try_from(MAX_ANSWER_BYTES).unwrap();
        assert!(is_shareable(&marked(longest)));
        assert!(!is_shareable(&marked(longest + 1)));
        let endless = stream::empty::<Result<Frame<Bytes>, std::io::Error>>();
        assert!(!is_shareable(&marked(1).map(|_| StreamBody::new(endless))));
    }
}
