//! Telling every service that a session is over before its access tokens are.
//!
//! What ends a session writes down, in the same transaction, that Redis is to be told. The request
//! tells it at once; what was not told, because the request was dropped or Redis was away,
//! [`Revocations::relay`] tells until no access token of the session can be good.

use std::time::Duration;

use marquee_common::{
    auth::revoked_key, contract::SessionId, error_chain, redis::RedisClient, retry::Backoff,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{error::RevocationError, store::Store};

/// Sessions announced by one round trip.
const BATCH: usize = 1_000;
/// How often it is looked for what is yet to be told.
const LOOK: Duration = Duration::from_secs(1);
/// The longest wait while Redis or the database is away.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Clocks are so far apart at most: a token must not outlive its session's entry.
const CLOCK_MARGIN: Duration = Duration::from_mins(1);

/// Announces ended sessions. Cheap to clone.
#[derive(Clone)]
pub struct Revocations {
    redis: RedisClient,
    store: Store,
    /// After this the session's last access token has expired by itself.
    lifetime: Duration,
}

impl Revocations {
    /// Announces in `redis`, for as long as an access token lives, what `store` has.
    pub fn new(redis: RedisClient, store: Store, access_token_ttl: Duration) -> Self {
        metrics::describe_gauge!(
            "auth_revocations_waiting",
            "Ended sessions that Redis has not been told of, as far as one look shows."
        );
        Self {
            redis,
            store,
            lifetime: access_token_ttl + CLOCK_MARGIN,
        }
    }

    /// Has the sessions' access tokens refused everywhere. Those that cannot be announced now are
    /// later: a sign-out must not fail for a Redis that is away.
    pub async fn announce(&self, sessions: &[SessionId]) {
        if let Err(error) = self.try_announce(sessions).await {
            let (sessions, error) = (sessions.len(), error_chain(&error));
            tracing::warn!(sessions, %error, "ended sessions could not be announced yet");
        }
    }

    /// The same, for who wants to know; one round trip for many.
    pub async fn try_announce(&self, sessions: &[SessionId]) -> Result<(), RevocationError> {
        for some in sessions.chunks(BATCH) {
            let mut pipe = redis::pipe();
            for session in some {
                let seconds = self.lifetime.as_secs();
                pipe.set_ex(revoked_key(*session), 1, seconds).ignore();
            }
            pipe.exec_async(&mut self.redis.clone()).await?;
            self.store.delete_revocations(some).await?;
        }
        Ok(())
    }

    /// Announces what no request has, until `stop`. Any number of instances may do this at a time.
    pub async fn relay(self, stop: CancellationToken) {
        let mut waits = Backoff::new(LOOK, LONGEST_WAIT);
        let mut failing = false;
        loop {
            let wait = match self.announce_waiting().await {
                Ok(()) => {
                    waits.reset();
                    failing = false;
                    LOOK
                }
                Err(error) => {
                    // Once an outage.
                    if !std::mem::replace(&mut failing, true) {
                        let error = error_chain(&error);
                        tracing::warn!(%error, "ended sessions wait to be announced");
                    }
                    waits.next().unwrap_or(LONGEST_WAIT)
                }
            };
            if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    async fn announce_waiting(&self) -> Result<(), RevocationError> {
        loop {
            let waiting = self.store.list_revocations(self.lifetime, BATCH).await?;
            #[expect(clippy::cast_precision_loss, reason = "at most a batch")]
            metrics::gauge!("auth_revocations_waiting").set(waiting.len() as f64);
            if waiting.is_empty() {
                return Ok(());
            }
            self.try_announce(&waiting).await?;
        }
    }

    /// How long a session that was ended is to be announced.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}
