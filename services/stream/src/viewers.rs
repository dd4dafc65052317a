//! How many watch: a heartbeat a session, in Redis, so that all instances count the same.
//!
//! A stream's sessions are a sorted set by the time of their last heartbeat. Each question is one
//! script on the server's clock: no two instances' clocks are compared, and a count never includes
//! who left.

use std::sync::LazyLock;

use marquee_common::{contract::StreamId, error_chain, redis::RedisClient};
use redis::Script;
use uuid::Uuid;

use crate::error::Error;

/// A session that was not heard for this long has left.
const EXPIRY_MS: u32 = 30_000;

static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = redis.call('TIME')
         local ms = now[1] * 1000 + math.floor(now[2] / 1000)
         redis.call('ZADD', KEYS[1], ms, ARGV[1])
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms - ARGV[2])
         redis.call('PEXPIRE', KEYS[1], ARGV[2])
         return redis.call('ZCARD', KEYS[1])",
    )
});

static COUNTS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = redis.call('TIME')
         local since = now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[1]
         local counts = {}
         for i, key in ipairs(KEYS) do
             counts[i] = redis.call('ZCOUNT', key, '(' .. since, '+inf')
         end
         return counts",
    )
});

/// Counts viewers; a cheap clone.
#[derive(Clone)]
pub struct Viewers {
    redis: RedisClient,
}

impl Viewers {
    /// Counts in `redis`.
    pub const fn new(redis: RedisClient) -> Self {
        Self { redis }
    }

    /// A session is watching; answers with how many are.
    pub async fn beat(&self, stream: StreamId, session: Uuid) -> Result<u64, Error> {
        HEARTBEAT
            .key(key(stream))
            .arg(session.to_string())
            .arg(EXPIRY_MS)
            .invoke_async(&mut self.redis.clone())
            .await
            .map_err(|error| Error::RedisAway(error.into()))
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
        let counts: Result<Vec<u64>, _> = call.invoke_async(&mut self.redis.clone()).await;
        match counts {
            Ok(counts) => counts.into_iter().map(Some).collect(),
            Err(error) => {
                tracing::debug!(error = error_chain(&error), "viewers are not counted");
                vec![None; streams.len()]
            }
        }
    }
}

fn key(stream: StreamId) -> String {
    format!("stream:viewers:{stream}")
}
