//! Which pages of other origins may call the API (the Fetch standard, section 3.2).
//!
//! It is decided here for all services; what they themselves say about CORS is dropped. A listed
//! origin may send cookies. `*` in the list opens the API to every page, without cookies; the public
//! list of streams is open to every page always.

use axum::body::Body;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

use crate::headers::strip_cors;

/// The list of streams, which any page may show.
const PUBLIC_LIST: &str = "/api/streams/public";
const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Range, If-Range, If-Match, If-None-Match, Last-Event-ID, \
     X-Request-ID, traceparent",
);
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Location, \
     Retry-After, X-Request-ID",
);
/// Browsers may remember a preflight for ten minutes.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const PREFLIGHT_VARY: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// The origins that may call the API.
#[derive(Clone, Debug)]
pub struct Cors {
    listed: Vec<String>,
    everybody: bool,
}

/// What the page behind a request may do with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nothing: no page is behind it, or one that is not allowed.
    Nothing,
    /// Read it, as any page may.
    Anybody,
    /// Read it, and send cookies.
    Listed(HeaderValue),
}

impl Cors {
    /// Allows these origins (`https://video.example`); `*` stands for any.
    pub fn new(origins: &[String]) -> Self {
        let origins = origins
            .iter()
            .map(|origin| origin.trim().trim_end_matches('/').to_ascii_lowercase());
        let (everybody, listed): (Vec<_>, Vec<_>) = origins
            .filter(|origin| !origin.is_empty())
            .partition(|origin| origin == "*");
        Self {
            listed,
            everybody: !everybody.is_empty(),
        }
    }

    /// What the page behind this request may do.
    pub fn judge(&self, path: &str, headers: &HeaderMap) -> Grant {
        let open = self.everybody || path == PUBLIC_LIST;
        let origin = headers.get(ORIGIN);
        match origin {
            Some(origin) if self.lists(origin) => Grant::Listed(origin.clone()),
            Some(_) if open => Grant::Anybody,
            // Said to everybody, so that a cache may keep one copy for all.
            None if path == PUBLIC_LIST => Grant::Anybody,
            _ => Grant::Nothing,
        }
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        origin
            .to_str()
            .is_ok_and(|origin| self.listed.iter().any(|listed| listed == origin))
    }
}

/// Whether a request asks for permission only, and is not to be passed on.
pub fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Grant {
    /// The answer to a preflight. A page that may do nothing gets no permission, and its browser
    /// says so.
    pub fn answer_preflight(&self) -> Response<Body> {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        self.allow_origin(headers);
        if *self != Self::Nothing {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        headers.insert(VARY, PREFLIGHT_VARY);
        answer
    }

    /// Marks an answer, in place of what a service may have said.
    pub fn mark(&self, answer: &mut Response<Body>) {
        let headers = answer.headers_mut();
        strip_cors(headers);
        self.allow_origin(headers);
        if *self != Self::Nothing {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
        }
        vary_by_origin(headers);
    }

    fn allow_origin(&self, headers: &mut HeaderMap) {
        match self {
            Self::Nothing => {}
            Self::Anybody => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::Listed(origin) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(
                    ACCESS_CONTROL_ALLOW_CREDENTIALS,
                    HeaderValue::from_static("true"),
                );
            }
        }
    }
}

fn vary_by_origin(headers: &mut HeaderMap) {
    let varies = headers
        .get_all(VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("origin") || name.trim() == "*");
    if !varies {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::ORIGIN};

    use super::{Cors, Grant};

    fn judge(listed: &[&str], path: &str, origin: Option<&'static str>) -> Grant {
        let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        Cors::new(&listed).judge(path, &headers)
    }

    const US: &str = "https://video.example";
    const THEM: &str = "https://evil.example";

    #[test]
    fn a_listed_page_may_send_cookies() {
        let listed = Grant::Listed(HeaderValue::from_static(US));
        assert_eq!(
            judge(&["https://Video.example/ "], "/api/auth/me", Some(US)),
            listed
        );
        assert_eq!(judge(&["*", US], "/api/auth/me", Some(US)), listed);
        assert_eq!(judge(&[US], "/api/streams/public", Some(US)), listed);
    }

    #[test]
    fn a_page_that_is_not_listed_may_nothing() {
        for them in [
            THEM,
            "null",
            "https://video.example.evil.example",
            "http://video.example",
        ] {
            assert_eq!(
                judge(&[US], "/api/auth/me", Some(them)),
                Grant::Nothing,
                "{them}"
            );
        }
        assert_eq!(judge(&[], "/api/auth/me", Some(THEM)), Grant::Nothing);
    }

    #[test]
    fn a_star_admits_every_page_but_never_with_cookies() {
        assert_eq!(judge(&["*"], "/api/auth/me", Some(THEM)), Grant::Anybody);
        assert_eq!(judge(&["*"], "/api/auth/me", Some("null")), Grant::Anybody);
    }

    #[test]
    fn the_public_list_is_open_to_every_page() {
        assert_eq!(
            judge(&[US], "/api/streams/public", Some(THEM)),
            Grant::Anybody
        );
        assert_eq!(judge(&[US], "/api/streams/public", None), Grant::Anybody);
        assert_eq!(
            judge(&[US], "/api/streams/public/x", Some(THEM)),
            Grant::Nothing
        );
    }

    #[test]
    fn a_request_without_a_page_needs_no_permission() {
        assert_eq!(judge(&[US], "/api/auth/me", None), Grant::Nothing);
        assert_eq!(judge(&["*"], "/api/auth/me", None), Grant::Nothing);
    }
}
