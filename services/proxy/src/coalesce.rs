//! Equal requests joined into one, for upstreams that let them be.
//!
//! What is joined is asked for once and read to its end at the upstream's own pace; every client
//! reads what has come at its own. So neither a slow client nor one that leaves holds up the others,
//! and all are woken at once. What may wait in memory for slow clients is bounded for each answer and
//! for all; what does not fit is not shared.

pub mod marks;
mod shared;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, ORIGIN, RANGE, SET_COOKIE,
    },
    uri::PathAndQuery,
};
use hyper::body::Body as _;
pub use shared::{Joined, JoinedBody};

use self::shared::{Follower, Shared};
use crate::{connections::Download, error::ProxyError, lookup::Route};

/// Largest answer that is shared: a segment of 2 s at 30 Mbit/s.
const MAX_ANSWER_BYTES: u64 = 8 * 1024 * 1024;
/// What all answers that are being shared may hold together.
const MAX_ALL_BYTES: u64 = 256 * 1024 * 1024;
/// How long after its head an answer that is still coming may be joined. What is older may have
/// changed since.
const JOINABLE: Duration = Duration::from_secs(1);

/// Headers that make an answer depend on who asks, or on what they have already.
static PERSONAL: [http::HeaderName; 7] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    AUTHORIZATION,
];

/// What makes two requests equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The upstream, as text: two streams at one address are told apart by their paths.
    upstream: String,
    target: PathAndQuery,
    accept_encoding: Option<HeaderValue>,
    /// An upstream may answer it with CORS headers.
    origin: Option<HeaderValue>,
}

/// The requests that are under way for several. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Coalescer(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    under_way: Mutex<HashMap<Key, Arc<Shared>>>,
    held_bytes: AtomicU64,
}

/// Whether a request's answer does not depend on who asks. Its `Cookie` does not count: an upstream
/// that marks its answers says that they depend on none, and is sent none.
pub fn is_joinable<B: hyper::body::Body>(request: &Request<B>) -> bool {
    *request.method() == Method::GET
        && request.body().is_end_stream()
        && !PERSONAL
            .iter()
            .any(|name| request.headers().contains_key(name))
}

impl Coalescer {
    /// Joins the request to an equal one that is under way, or sends it by `ask` for all that come
    /// meanwhile.
    pub async fn join<F>(
        &self,
        route: &Route,
        mut request: Request<()>,
        ask: impl FnOnce(Request<()>) -> F,
    ) -> Result<Joined, ProxyError>
    where
        F: Future<Output = Result<Response<Download>, ProxyError>> + Send + 'static,
    {
        let key = Key::of(route, &request);
        let (follower, carrier) = self.follow(key);
        match carrier {
            None => metrics::counter!("proxy_joined_requests_total").increment(1),
            Some(carrier) => {
                metrics::counter!("proxy_shared_requests_total").increment(1);
                request.headers_mut().remove(COOKIE);
                // A task of its own: who came first may leave before the others have their answer.
                tokio::spawn(carrier.carry(ask(request)));
            }
        }
        follower.answer().await.map_err(ProxyError::Joined)
    }

    /// Clients whose answers are coming for several.
    pub fn followers(&self) -> usize {
        let under_way = self.under_way();
        under_way.values().map(|shared| shared.followers()).sum()
    }

    /// A place in an equal request's answer; with what carries it, if there was none.
    fn follow(&self, key: Key) -> (Follower, Option<Carrier>) {
        let mut under_way = self.under_way();
        if let Some(shared) = under_way.get(&key)
            && shared.is_joinable(JOINABLE)
        {
            return (shared.follow(), None);
        }
        let shared = Arc::new(Shared::default());
        let follower = shared.follow();
        under_way.insert(key.clone(), shared.clone());
        let carrier = Carrier {
            coalescer: self.clone(),
            key,
            shared,
        };
        (follower, Some(carrier))
    }

    /// Room for an answer that may be shared: one with a length, not too large, about nobody in
    /// particular.
    fn reserve(&self, response: &Response<Download>) -> Option<Reserved> {
        let bytes = response.body().size_hint().exact()?;
        let is_shareable = bytes <= MAX_ANSWER_BYTES
            && marks::is_marked(response.headers())
            && !is_personal(response.headers());
        if !is_shareable {
            return None;
        }
        let held = self.0.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        let reserved = Reserved {
            coalescer: self.clone(),
            bytes,
        };
        (held + bytes <= MAX_ALL_BYTES).then_some(reserved)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, Arc<Shared>>> {
        self.0
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries one answer to all who follow it; when it ends, it can be joined no more.
struct Carrier {
    coalescer: Coalescer,
    key: Key,
    shared: Arc<Shared>,
}

impl Carrier {
    async fn carry(self, answer: impl Future<Output = Result<Response<Download>, ProxyError>>) {
        let mut answered = pin!(async {
            match answer.await {
                Err(error) => self.shared.fail(Arc::new(error)),
                Ok(response) => match self.coalescer.reserve(&response) {
                    None => self.shared.decline(response),
                    Some(held) => self.shared.pass(response, held).await,
                },
            }
        });
        loop {
            tokio::select! {
                () = &mut answered => return,
                () = self.shared.deserted() => {}
            }
            if self.end_if_deserted() {
                return;
            }
        }
    }

    /// With the table locked, so that nobody comes to follow what is being dropped.
    fn end_if_deserted(&self) -> bool {
        let mut under_way = self.coalescer.under_way();
        let is_deserted = self.shared.followers() == 0;
        if is_deserted {
            self.leave(&mut under_way);
        }
        is_deserted
    }

    fn leave(&self, under_way: &mut HashMap<Key, Arc<Shared>>) {
        let is_ours = under_way
            .get(&self.key)
            .is_some_and(|shared| Arc::ptr_eq(shared, &self.shared));
        if is_ours {
            under_way.remove(&self.key);
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.leave(&mut self.coalescer.under_way());
    }
}

fn is_personal(headers: &HeaderMap) -> bool {
    headers.contains_key(SET_COOKIE)
        || headers
            .get_all(CACHE_CONTROL)
            .iter()
            .any(|value| String::from_utf8_lossy(value.as_bytes()).contains("private"))
}

impl Key {
    fn of(route: &Route, request: &Request<()>) -> Self {
        let header = |name| request.headers().get(name).cloned();
        Self {
            upstream: route.upstream.to_string(),
            target: request
                .uri()
                .path_and_query()
                .cloned()
                .unwrap_or(PathAndQuery::from_static("/")),
            accept_encoding: header(ACCEPT_ENCODING),
            origin: header(ORIGIN),
        }
    }
}

/// Bytes that an answer may hold; given back with the last of its readers.
#[derive(Debug)]
struct Reserved {
    coalescer: Coalescer,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.coalescer
            .0
            .held_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
