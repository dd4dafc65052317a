//! Telling every service that a session is over before its access tokens are.

use std::time::Duration;

use marquee_common::{auth::revoked_key, contract::SessionId, redis::RedisClient};
use redis::{AsyncCommands, RedisError};

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

    /// Has the session's access tokens refused everywhere. While Redis is away they stay good until
    /// they expire: the session cannot be refreshed, but a sign-out must not fail for that.
    pub async fn announce(&self, session: SessionId) {
        let set: Result<(), RedisError> = self
            .redis
            .clone()
            .set_ex(revoked_key(session), 1, self.access_token_ttl.as_secs())
            .await;
        if let Err(error) = set {
            tracing::warn!(%session, %error, "an ended session could not be announced");
        }
    }
}
