//! The buckets in Redis, which all gateways share.

use std::{sync::LazyLock, time::Duration};

use marquee_common::redis::RedisClient;
use redis::{RedisResult, Script};

use super::{Charge, Refused};

static TAKE_TOKENS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("take_tokens.lua")));

/// Takes tokens in Redis.
#[derive(Clone)]
pub struct SharedBuckets {
    redis: RedisClient,
}

impl SharedBuckets {
    /// Buckets in `redis`.
    pub const fn new(redis: RedisClient) -> Self {
        Self { redis }
    }

    /// One token for each charge or, when a bucket has none, none at all; one round trip.
    pub async fn take(&self, charges: &[Charge]) -> RedisResult<Result<(), Refused>> {
        let mut call = TAKE_TOKENS.prepare_invoke();
        for charge in charges {
            call.key(&charge.key);
            call.arg(charge.bucket.interval_us);
            call.arg(charge.bucket.depth_us);
        }
        let (emptiest, wait_us): (usize, u64) = call.invoke_async(&mut self.redis.clone()).await?;
        let refused = emptiest.checked_sub(1).and_then(|at| charges.get(at));
        Ok(match refused {
            None => Ok(()),
            Some(charge) => Err(Refused {
                limit: charge.limit,
                wait: Duration::from_micros(wait_us),
            }),
        })
    }

    /// Whether tokens can be taken: by taking one, since a Redis that is full or only a replica
    /// still answers PING.
    pub async fn probe(&self) -> RedisResult<()> {
        let probe = Charge::probe();
        self.take(&[probe]).await.map(|_| ())
    }
}
