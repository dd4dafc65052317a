//! How many watch: a heartbeat a session, in Redis, so that all instances count the same.
//!
//! A stream's sessions are a sorted set by the time of their last heartbeat. Each question is one
//! script on the server's clock: no two instances' clocks are compared, and a count never includes
//! who left. Redis away costs the counts; once that is known, one question a second waits for it.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use marquee_common::{breaker::Breaker, contract::StreamId, error_chain, redis::RedisClient};
use redis::{FromRedisValue, Script, ScriptInvocation};
use uuid::Uuid;

use crate::error::Error;

/// A session that was not heard for this long has left.
const EXPIRY_MS: u32 = 30_000;

/// A session beats every 10 s. One that beats faster than this is told to wait.
const LEAST_GAP_MS: u32 = 1_000;
/// After a failure Redis is not asked for this long, so that not each request waits anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers with the count, and with the milliseconds to wait for a session that beats too fast.
/// Times in the future are from before the server's clock was set back: they hold up nobody, and
/// those farther off than a session lasts are forgotten.
static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = redis.call('TIME')
         local ms = now[1] * 1000 + math.floor(now[2] / 1000)
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms - ARGV[2])
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. ms + ARGV[2], '+inf')
         local last = redis.call('ZSCORE', KEYS[1], ARGV[1])
         if last and ms >= tonumber(last) and ms - last < tonumber(ARGV[3]) then
             return {redis.call('ZCARD', KEYS[1]), ARGV[3] - (ms - last)}
         end
         redis.call('ZADD', KEYS[1], ms, ARGV[1])
         redis.call('PEXPIRE', KEYS[1], ARGV[2])
         return {redis.call('ZCARD', KEYS[1]), 0}",
    )
});

static COUNTS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = redis.call('TIME')
         local ms = now[1] * 1000 + math.floor(now[2] / 1000)
         local counts = {}
         for i, key in ipairs(KEYS) do
             counts[i] = redis.call('ZCOUNT', key, '(' .. ms - ARGV[1], ms + ARGV[1])
         end
         return counts",
    )
});

/// Counts viewers; a cheap clone.
#[derive(Clone)]
pub struct Viewers {
    redis: RedisClient,
    breaker: Arc<Breaker>,
}

impl Viewers {
    /// Counts in `redis`.
    pub fn new(redis: RedisClient) -> Self {
        Self {
            redis,
            breaker: Arc::new(Breaker::new(PAUSE)),
        }
    }

    /// A session is watching; answers with how many are, `None` while Redis is away.
    pub async fn beat(&self, stream: StreamId, session: Uuid) -> Result<Option<u64>, Error> {
        let mut call = HEARTBEAT.key(key(stream));
        call.arg(session.to_string())
            .arg(EXPIRY_MS)
            .arg(LEAST_GAP_MS);
        match self.ask::<(u64, u64)>(&call).await {
            Some((count, 0)) => Ok(Some(count)),
            Some((_, wait_ms)) => Err(Error::BeatsTooFast {
                retry_after: Duration::from_millis(wait_ms),
            }),
            None => Ok(None),
        }
    }

    /// How many watch a stream; `None` while Redis is away.
    pub async fn count(&self, stream: StreamId) -> Option<u64> {
        self.counts(&[stream]).await.into_iter().next().flatten()
    }

    /// How many watch each of `streams`, in their order; `None` for all while Redis is away.
    pub async fn counts(&self, streams: &[StreamId]) -> Vec<Option<u64>> {
        if streams.is_empty() {
            return Vec::new();
        }
        let mut call = COUNTS.arg(EXPIRY_MS);
        for stream in streams {
            call.key(key(*stream));
        }
        match self.ask::<Vec<u64>>(&call).await {
            Some(counts) => counts.into_iter().map(Some).collect(),
            None => vec![None; streams.len()],
        }
    }

    async fn ask<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Option<T> {
        let attempt = self.breaker.attempt()?;
        match call.invoke_async(&mut self.redis.clone()).await {
            Ok(answer) => {
                if attempt.succeeded() {
                    tracing::info!("viewers are counted again");
                }
                Some(answer)
            }
            Err(error) => {
                if attempt.failed() {
                    let error = error_chain(&error);
                    tracing::warn!(error, "viewers cannot be counted");
                }
                None
            }
        }
    }
}

fn key(stream: StreamId) -> String {
    format!("stream:viewers:{stream}")
}
