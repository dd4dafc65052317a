//! Which service answers which path: one line a service.

use std::fmt;

use crate::path;

/// A service behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceName {
    /// Accounts, sign-in, subscriptions.
    Auth,
    /// Streams and their lives.
    Stream,
    /// Recordings of broadcasts.
    Recording,
    /// Videos.
    Vod,
    /// Signed playback and watch progress.
    Playback,
    /// `/stream/{id}` to where Redis says.
    Proxy,
}

impl ServiceName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Auth,
        Self::Stream,
        Self::Recording,
        Self::Vod,
        Self::Playback,
        Self::Proxy,
    ];

    /// Its binary's name, as logs, metrics and `/ready` show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Stream => "stream",
            Self::Recording => "recording",
            Self::Vod => "vod",
            Self::Playback => "playback",
            Self::Proxy => "proxy",
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the requests of a route are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// A JSON API: its bodies are small, and it answers soon.
    Api {
        /// Largest body, in bytes.
        body_limit_bytes: u64,
    },
    /// Somebody's media server: bodies of any size pass for as long as they flow, and an answer may
    /// be held back on purpose. Not rate-limited.
    Media,
}

/// What an account, a stream or a progress report has to say fits in many times over.
const SMALL: Treatment = Treatment::Api {
    body_limit_bytes: 64 * 1024,
};
/// The list of ten thousand parts that completes an upload.
const LISTS: Treatment = Treatment::Api {
    body_limit_bytes: 1024 * 1024,
};

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path itself and everything below it.
    pub prefix: &'static str,
    /// Who answers.
    pub service: ServiceName,
    /// How.
    pub treatment: Treatment,
}

const fn route(prefix: &'static str, service: ServiceName, treatment: Treatment) -> Route {
    Route {
        prefix,
        service,
        treatment,
    }
}

/// The table. No prefix is below another; `/internal` is not here, and nothing leads there.
pub const ROUTES: [Route; 7] = [
    route("/api/auth", ServiceName::Auth, SMALL),
    route("/api/streams", ServiceName::Stream, SMALL),
    route("/api/recordings", ServiceName::Recording, SMALL),
    route("/api/videos", ServiceName::Vod, LISTS),
    route("/api/v1", ServiceName::Playback, SMALL),
    route("/api/proxy", ServiceName::Proxy, SMALL),
    route("/stream", ServiceName::Proxy, Treatment::Media),
];

impl Treatment {
    /// Largest body, in bytes; of an API never above `most`.
    pub fn body_limit_bytes(self, most: u64) -> Option<u64> {
        match self {
            Self::Api { body_limit_bytes } => Some(body_limit_bytes.min(most)),
            Self::Media => None,
        }
    }
}

impl Route {
    /// The route of a request path as it stands on the wire; `None` if it leads nowhere, or could be
    /// read in more than one way.
    pub fn find(path: &str) -> Option<&'static Self> {
        ROUTES
            .iter()
            .find(|route| route.covers(path))
            .filter(|_| path::is_unambiguous(path))
    }

    /// Whether a path is the prefix or below it.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::{ROUTES, Route, ServiceName};

    fn service(path: &str) -> Option<ServiceName> {
        Route::find(path).map(|route| route.service)
    }

    #[test]
    fn a_service_answers_its_prefix_and_all_below() {
        assert_eq!(service("/api/auth/login"), Some(ServiceName::Auth));
        assert_eq!(service("/api/streams"), Some(ServiceName::Stream));
        assert_eq!(service("/api/streams/"), Some(ServiceName::Stream));
        assert_eq!(
            service("/api/v1/stream/1/progress"),
            Some(ServiceName::Playback)
        );
        assert_eq!(service("/stream/1/master.m3u8"), Some(ServiceName::Proxy));
    }

    #[test]
    fn nothing_else_has_a_way_through() {
        for path in [
            "/",
            "/api",
            "/api/",
            "/api/unknown",
            "/api/authentic",
            "/api/streams-of-others",
            "/API/auth/login",
            "/api/%61uth/login",
            "/internal/users/1/subscription",
            "/api/internal/users",
            "/streams",
            "/metrics",
        ] {
            assert_eq!(service(path), None, "{path}");
        }
    }

    #[test]
    fn internal_routes_cannot_be_reached_by_another_spelling() {
        for path in [
            "//internal/users",
            "/api/auth/../../internal/users",
            "/api/auth/%2e%2e/%2e%2e/internal/users",
            "/api/auth/..%2f..%2finternal/users",
            "/api/auth/%2finternal/users",
            "/api/auth//internal/users",
            "/api/auth/%252e%252e/%252e%252e/internal",
            "/api/auth\\..\\..\\internal",
            "/stream/../internal",
        ] {
            assert_eq!(service(path), None, "{path}");
        }
    }

    #[test]
    fn no_prefix_hides_another() {
        for (at, route) in ROUTES.iter().enumerate() {
            let hidden = ROUTES
                .iter()
                .skip(at + 1)
                .any(|other| route.covers(other.prefix));
            assert!(!hidden, "{}", route.prefix);
        }
    }
}
