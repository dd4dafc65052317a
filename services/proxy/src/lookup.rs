//! Where a stream is, asked of Redis once and then of memory for as long as Redis would tell of a
//! change.

pub mod cache;
mod tracking;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_common::redis::RedisConfig;
use redis::RedisResult;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    cache::{Cache, Found},
    tracking::{Tracking, Unreachable},
};
use crate::{
    coalesce::marks::Marks,
    upstream::{Upstream, UpstreamError},
};

/// Streams that are remembered.
const CAPACITY: usize = 100_000;
/// An answer is believed no longer than this, even if no invalidation comes.
const LONGEST: Duration = Duration::from_secs(5);
/// The same of "there is no such stream".
const LONGEST_MISS: Duration = Duration::from_secs(1);

/// Redis' key of a stream's route (seed 000).
pub fn key(stream_id: &str) -> String {
    format!("{KEY_PREFIX}{stream_id}")
}

/// What routes' keys begin with.
pub const KEY_PREFIX: &str = "streams:";

/// Where a stream's requests go.
#[derive(Debug)]
pub struct Route {
    /// Its id.
    pub stream_id: Box<str>,
    /// Where it is.
    pub upstream: Upstream,
    /// Whether its upstream lets equal requests be joined.
    pub mark: crate::coalesce::marks::Mark,
}

/// Why there is no route.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// Redis has no such key.
    #[error("no stream {0} in Redis")]
    NotFound(Box<str>),
    /// Redis' value is no address.
    #[error("Redis' value of streams:{stream_id} {error}")]
    BadValue {
        /// The stream.
        stream_id: Box<str>,
        /// What is wrong with it.
        error: UpstreamError,
    },
    /// The key holds something else than text.
    #[error("streams:{0} in Redis is not a string")]
    NotAString(Box<str>),
    /// Redis is away, or did not answer in time.
    #[error("Redis cannot be asked")]
    Redis(#[from] Unreachable),
}

type Answer = Result<Arc<Route>, LookupError>;

/// The routes, as Redis has them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Routes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cache: Arc<Cache<Answer>>,
    tracking: Tracking,
    marks: Marks,
}

impl Routes {
    /// Neither connects nor waits; [`Self::keep_in_touch`] does.
    pub fn new(config: &RedisConfig, marks: Marks) -> RedisResult<Self> {
        let cache = Arc::new(Cache::new(CAPACITY));
        let tracking = Tracking::new(config, Arc::new(CacheInvalidation(cache.clone())))?;
        Ok(Self(Arc::new(Inner {
            cache,
            tracking,
            marks,
        })))
    }

    /// Holds the connection on which Redis tells of changes, until `stop`.
    pub async fn keep_in_touch(self, stop: CancellationToken) {
        self.0.tracking.keep(stop).await;
    }

    /// Whether Redis answers, for a readiness check.
    pub async fn ping(&self) -> Result<(), Unreachable> {
        self.0.tracking.ping().await
    }

    /// How many streams are remembered.
    pub fn remembered(&self) -> usize {
        self.0.cache.count()
    }

    /// Where a stream is; Redis is asked in one of `tasks`.
    pub async fn find(&self, tasks: &TaskTracker, stream_id: &str) -> Answer {
        let waiter = match self.0.cache.find(stream_id, Instant::now()) {
            Found::Known(answer) => return answer,
            Found::Asked(waiter) => waiter,
            Found::Ask(question, waiter) => {
                let (this, id) = (self.clone(), Box::from(stream_id));
                // Not in this request's own task: its client may leave, others wait for the answer.
                tasks.spawn(async move {
                    let (answer, until) = this.ask(&id).await;
                    this.0.cache.answer(&id, &question, answer, until);
                });
                waiter
            }
        };
        let vanished = || Err(LookupError::Redis(Unreachable::Vanished));
        waiter.answer().await.unwrap_or_else(vanished)
    }

    /// Redis' answer, and how long it may be kept.
    async fn ask(&self, id: &str) -> (Answer, Option<Instant>) {
        let asked_at = Instant::now();
        let (value, ttl) = match self.0.tracking.get(&key(id)).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                let missing = Err(LookupError::NotFound(id.into()));
                return (missing, Some(asked_at + LONGEST_MISS));
            }
            Err(Unreachable::NotAString) => {
                let wrong = Err(LookupError::NotAString(id.into()));
                return (wrong, Some(asked_at + LONGEST_MISS));
            }
            Err(error) => return (Err(error.into()), None),
        };
        let until = asked_at + ttl.unwrap_or(LONGEST).min(LONGEST);
        let answer = parse(&value).map(|upstream| {
            let mark = self.0.marks.of(id, &upstream);
            Arc::new(Route {
                stream_id: id.into(),
                upstream,
                mark,
            })
        });
        let bad_value = |error| LookupError::BadValue {
            stream_id: id.into(),
            error,
        };
        (answer.map_err(bad_value), Some(until))
    }
}

fn parse(value: &[u8]) -> Result<Upstream, UpstreamError> {
    let text = std::str::from_utf8(value).map_err(|_| UpstreamError::Host)?;
    text.parse()
}

/// What the tracking connection tells the cache.
#[derive(Debug)]
struct CacheInvalidation(Arc<Cache<Answer>>);

impl tracking::OnChange for CacheInvalidation {
    fn changed(&self, key: &[u8]) {
        let key = std::str::from_utf8(key).unwrap_or_default();
        if let Some(id) = key.strip_prefix(KEY_PREFIX) {
            self.0.invalidate(id);
        }
    }

    fn unknown(&self) {
        self.0.clear();
    }
}
