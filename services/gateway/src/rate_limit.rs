//! How often a client may ask.
//!
//! [`rules`] says which buckets a request falls under; a token is taken from all of them at once, in
//! Redis for all gateways together ([`shared`]) or, while Redis is away, in this one's memory with
//! the same figures ([`local`]). Redis is never waited for: a request that finds it silent goes on
//! by the local buckets after a moment, and those after it at once, until a task sees it again.
//! Requests that Redis lets pass are counted locally too, so that a Redis that falters fills nobody's
//! buckets.
//!
//! An event stream lasts: those that are open are counted beside that ([`event_streams`]).

pub mod bucket;
pub mod event_streams;
pub mod local;
pub mod rules;
pub mod shared;
mod who;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use marquee_common::{BoxError, error_chain};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use bucket::Rate;
pub use rules::{Charge, Figures, Kind, LimitName};

use event_streams::{EventStreams, Place};
use local::LocalBuckets;
use shared::SharedBuckets;

/// How often Redis is looked for while it is away.
const LOOK: Duration = Duration::from_millis(500);

/// A client has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// By which limit.
    pub limit: LimitName,
    /// Until there is a token again.
    pub wait: Duration,
}

impl Refused {
    fn count(&self) {
        let limit = self.limit.as_str();
        metrics::counter!("gateway_rate_limited_total", "limit" => limit).increment(1);
    }
}

/// Takes tokens. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter(Arc<Inner>);

struct Inner {
    figures: Figures,
    shared: SharedBuckets,
    local: LocalBuckets,
    event_streams: EventStreams,
    /// Longest wait for Redis.
    patience: Duration,
    redis_is_away: AtomicBool,
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("figures", &self.0.figures)
            .finish_non_exhaustive()
    }
}

impl RateLimiter {
    /// With these figures; each request waits for Redis at most `patience`.
    pub fn new(figures: Figures, shared: SharedBuckets, patience: Duration) -> Self {
        metrics::describe_counter!(
            "gateway_rate_limited_total",
            "Requests answered 429, by limit."
        );
        metrics::describe_gauge!(
            "gateway_rate_limits_local",
            "1 while Redis is away and this gateway counts alone."
        );
        metrics::gauge!("gateway_rate_limits_local").set(0.0);
        Self(Arc::new(Inner {
            event_streams: EventStreams::new(figures.event_streams),
            figures,
            shared,
            local: LocalBuckets::default(),
            patience,
            redis_is_away: AtomicBool::new(false),
        }))
    }

    /// The figures.
    pub fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// Takes a token for each charge or, when a bucket has none, none at all.
    pub async fn take(&self, charges: &[Charge]) -> Result<(), Refused> {
        let taken = match self.take_shared(charges).await {
            Some(Ok(())) => {
                // Whether these have tokens is Redis' to say while it answers.
                let _ = self.0.local.take(charges);
                Ok(())
            }
            Some(refused) => refused,
            None => self.0.local.take(charges),
        };
        taken.inspect_err(Refused::count)
    }

    /// A place for one more event stream to `client`.
    pub fn open_event_stream(&self, client: IpAddr) -> Result<Place, Refused> {
        let place = self.0.event_streams.open(client);
        place.inspect_err(Refused::count)
    }

    /// What Redis says; `None` if it says nothing.
    async fn take_shared(&self, charges: &[Charge]) -> Option<Result<(), Refused>> {
        if self.0.redis_is_away.load(Ordering::Relaxed) {
            return None;
        }
        let error: BoxError = match timeout(self.0.patience, self.0.shared.take(charges)).await {
            Ok(Ok(taken)) => return Some(taken),
            Ok(Err(error)) => error.into(),
            Err(late) => late.into(),
        };
        // Once an outage, not once a request.
        if !self.0.redis_is_away.swap(true, Ordering::Relaxed) {
            metrics::gauge!("gateway_rate_limits_local").set(1.0);
            let error = error_chain(error.as_ref());
            tracing::warn!(%error, "Redis is away; this gateway counts requests alone");
        }
        None
    }

    /// Looks for Redis while it is away, until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
            if !self.0.redis_is_away.load(Ordering::Relaxed) {
                continue;
            }
            let answer = timeout(self.0.patience, self.0.shared.probe()).await;
            if matches!(answer, Ok(Ok(()))) {
                self.0.redis_is_away.store(false, Ordering::Relaxed);
                metrics::gauge!("gateway_rate_limits_local").set(0.0);
                tracing::info!("Redis is back; all gateways count requests together");
            }
        }
    }
}
