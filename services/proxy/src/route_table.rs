//! The table of streams in Redis, as operators read and change it.

use std::{collections::BTreeSet, time::Duration};

use marquee_common::redis::RedisClient;
use redis::{AsyncCommands, RedisResult};

use crate::{
    lookup::{KEY_PREFIX, key},
    stream_id,
    upstream::{Upstream, UpstreamError},
};

/// Keys that one step of SCAN looks at.
const SCAN_COUNT: usize = 1_000;
/// Steps of SCAN for one list: a Redis with a million keys of others beside ours.
const MAX_SCANS: usize = 1_000;
/// What PTTL says of a key that does not exist.
const NO_KEY: i64 = -2;

/// One stream's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stream.
    pub stream_id: String,
    /// What Redis holds; not always an address. `None`: something else than a string.
    pub value: Option<String>,
    /// Time to live, if it has one.
    pub ttl: Option<Duration>,
}

/// Why an entry leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// A list, say, under the key.
    #[error("the key holds something that is not a string; set the route anew")]
    NotAString,
    /// Text that is no address.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl Entry {
    /// The address, if the value is one.
    pub fn upstream(&self) -> Result<Upstream, EntryError> {
        let value = self.value.as_deref().ok_or(EntryError::NotAString)?;
        Ok(value.parse()?)
    }
}

/// A page of entries in the order of their ids.
#[derive(Debug)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The last id of the page, if there are more.
    pub next: Option<String>,
}

/// The table. Cheap to clone.
#[derive(Clone)]
pub struct RouteTable {
    redis: RedisClient,
}

impl RouteTable {
    /// The table in this Redis.
    pub fn new(redis: RedisClient) -> Self {
        Self { redis }
    }

    /// At most `limit` entries whose ids come after `after`. Redis has no order of keys, so all of
    /// them are gone through, a thousand at a time, and never more than a page is kept.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> RedisResult<Page> {
        let mut ids = self.ids_after(after, limit + 1).await?;
        let has_more = ids.len() > limit;
        if has_more {
            ids.pop_last();
        }
        let next = has_more.then(|| ids.last().cloned()).flatten();
        let ids: Vec<String> = ids.into_iter().collect();
        let entries = self.entries(&ids).await?;
        Ok(Page { entries, next })
    }

    async fn ids_after(&self, after: Option<&str>, limit: usize) -> RedisResult<BTreeSet<String>> {
        let mut redis = self.redis.clone();
        let mut first = BTreeSet::new();
        let mut cursor = 0_u64;
        for _ in 0..MAX_SCANS {
            let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{KEY_PREFIX}*"))
                .arg("COUNT")
                .arg(SCAN_COUNT)
                .query_async(&mut redis)
                .await?;
            for id in keys.iter().filter_map(|key| id_of(key)) {
                if after.is_none_or(|after| id > after) {
                    first.insert(id.to_owned());
                    if first.len() > limit {
                        first.pop_last();
                    }
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        Ok(first)
    }

    /// The entries of these ids that there are.
    async fn entries(&self, ids: &[String]) -> RedisResult<Vec<Entry>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut question = redis::pipe();
        // At one moment, or a key that comes between the two would look like something else.
        question.atomic();
        for id in ids {
            // Not GET, which fails for keys that hold something else.
            question.cmd("MGET").arg(key(id)).cmd("PTTL").arg(key(id));
        }
        let answers: Vec<redis::Value> = question.query_async(&mut self.redis.clone()).await?;
        let mut entries = Vec::new();
        for (id, answer) in ids.iter().zip(answers.chunks_exact(2)) {
            let (value,): (Option<Vec<u8>>,) = redis::from_redis_value_ref(&answer[0])?;
            let ttl_ms: i64 = redis::from_redis_value_ref(&answer[1])?;
            if ttl_ms != NO_KEY {
                entries.push(Entry {
                    stream_id: id.clone(),
                    value: value.map(|value| String::from_utf8_lossy(&value).into_owned()),
                    ttl: u64::try_from(ttl_ms).ok().map(Duration::from_millis),
                });
            }
        }
        Ok(entries)
    }

    /// One stream's entry.
    pub async fn find(&self, id: &str) -> RedisResult<Option<Entry>> {
        Ok(self.entries(&[id.to_owned()]).await?.pop())
    }

    /// Sets a stream's address, whatever the key held; whether there was nothing before.
    pub async fn set(
        &self,
        id: &str,
        upstream: &Upstream,
        ttl: Option<Duration>,
    ) -> RedisResult<bool> {
        let mut set = redis::cmd("SET");
        set.arg(key(id)).arg(upstream.to_string());
        if let Some(ttl) = ttl {
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            set.arg("PX").arg(ttl_ms);
        }
        // Not SET … GET, which fails if the key holds something else than a string.
        let mut question = redis::pipe();
        question
            .atomic()
            .cmd("EXISTS")
            .arg(key(id))
            .add_command(set)
            .ignore();
        let (existed,): (bool,) = question.query_async(&mut self.redis.clone()).await?;
        Ok(!existed)
    }

    /// Deletes a stream's entry; whether there was one.
    pub async fn delete(&self, id: &str) -> RedisResult<bool> {
        let deleted: u64 = self.redis.clone().del(key(id)).await?;
        Ok(deleted > 0)
    }
}

/// The id of a key, if it is one that could be asked for.
fn id_of(key: &[u8]) -> Option<&str> {
    let id = std::str::from_utf8(key).ok()?.strip_prefix(KEY_PREFIX)?;
    stream_id::check(id).is_ok().then_some(id)
}
