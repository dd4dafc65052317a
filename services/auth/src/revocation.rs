//! Telling every service that a session is over before its access tokens are.

use std::time::Duration;

use marquee_common::{auth::revoked_key, contract::SessionId, redis::RedisClient};
use redis::RedisError;

/// Sessions announced by one round trip.
const BATCH: usize = 1_000;

/// Announces ended sessions. Cheap to clone.
#[derive(Clone)]
pub struct Revocations {
    redis: RedisClient,
    /// After this the session's last access token has expired by itself.
    access_token_ttl: Duration,
}

impl Revocations {
    /// Announces in `redis`, for as long as an access token lives.
    pub fn new(redis: RedisClient, access_token_ttl: Duration) -> Self {
        Self {
            redis,
            access_token_ttl,
        }
    }

    /// Has the sessions' access tokens refused everywhere, by one round trip for many. While Redis is
    /// away they stay good until they expire: the sessions cannot be refreshed, but a sign-out must
    /// not fail for that.
    pub async fn announce(&self, sessions: &[SessionId]) {
        for some in sessions.chunks(BATCH) {
            let mut pipe = redis::pipe();
            for session in some {
                let seconds = self.access_token_ttl.as_secs();
                pipe.set_ex(revoked_key(*session), 1, seconds).ignore();
            }
            let set: Result<(), RedisError> = pipe.query_async(&mut self.redis.clone()).await;
            if let Err(error) = set {
                let sessions = sessions.len();
                tracing::warn!(sessions, %error, "ended sessions could not be announced");
                return;
            }
        }
    }
}
