//! A copy of each page of the public list, at most a second old and read by one at a time.
//!
//! The list is the most asked-for route and the same for everybody: however many viewers ask, the
//! database is asked once a second a page.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

/// Age at which a copy is read anew.
pub const MAX_AGE: Duration = Duration::from_secs(1);
/// Pages that are kept; more are read without being kept.
const CAPACITY: usize = 512;

/// A copy with the moment its reading began, or when reading it failed.
type Copy<V> = Option<(Instant, Result<V, Failed>)>;
type Slot<V> = Arc<tokio::sync::Mutex<Copy<V>>>;

/// Reading failed a moment ago; those who waited for it are told so without trying in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// Why there is no value.
#[derive(Debug, PartialEq, Eq)]
pub enum NoCopy<E> {
    /// This call read, and failed.
    Error(E),
    /// Another call did, at most [`MAX_AGE`] ago.
    FailedLately,
}

/// Copies by key.
#[derive(Debug)]
pub struct RecentCopies<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
}

impl<K, V> Default for RecentCopies<K, V> {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> RecentCopies<K, V> {
    /// The copy under `key`, from `read` if there is none that is recent. Those who come while it
    /// is read wait for it.
    pub async fn get<E>(
        &self,
        key: &K,
        read: impl Future<Output = Result<V, E>>,
    ) -> Result<V, NoCopy<E>> {
        let Some(slot) = self.slot(key) else {
            return read.await.map_err(NoCopy::Error);
        };
        let mut copy = slot.lock().await;
        if let Some((_, value)) = copy.as_ref().filter(|(at, _)| at.elapsed() < MAX_AGE) {
            return value.clone().map_err(|Failed| NoCopy::FailedLately);
        }
        // The copy is as old as the moment before the reading began.
        let began = Instant::now();
        // Should this call be dropped while it reads, the next one finds no copy and reads.
        *copy = None;
        let value = read.await;
        *copy = Some((began, value.as_ref().map(V::clone).map_err(|_| Failed)));
        value.map_err(NoCopy::Error)
    }

    /// The slot of `key`; `None` when there are too many and all are in use.
    fn slot(&self, key: &K) -> Option<Slot<V>> {
        let mut slots = self
            .slots
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            return Some(Arc::clone(slot));
        }
        if slots.len() >= CAPACITY {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || !is_old(slot));
        }
        (slots.len() < CAPACITY).then(|| Arc::clone(slots.entry(key.clone()).or_default()))
    }
}

fn is_old<V>(slot: &Slot<V>) -> bool {
    slot.try_lock()
        .is_ok_and(|copy| copy.as_ref().is_none_or(|(at, _)| at.elapsed() >= MAX_AGE))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_callers_at_once_read_once() {
        let copies = Arc::new(RecentCopies::default());
        let reads = Arc::new(AtomicU32::new(0));
        let calls = (0..1_000).map(|_| {
            let (copies, reads) = (Arc::clone(&copies), Arc::clone(&reads));
            tokio::spawn(async move {
                copies
                    .get(&"page", async {
                        reads.fetch_add(1, Ordering::SeqCst);
                        sleep(Duration::from_millis(300)).await;
                        Ok::<_, ()>("list")
                    })
                    .await
            })
        });
        for call in futures::future::join_all(calls).await {
            assert_eq!(call.unwrap(), Ok("list"));
        }
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_is_never_older_than_a_second_counted_from_before_it_was_read() {
        let copies = RecentCopies::default();
        let slow = async {
            sleep(Duration::from_millis(600)).await;
            Ok::<_, ()>(1)
        };
        assert_eq!(copies.get(&(), slow).await, Ok(1));
        advance(Duration::from_millis(399)).await;
        assert_eq!(copies.get(&(), async { Ok::<_, ()>(2) }).await, Ok(1));
        advance(Duration::from_millis(1)).await;
        assert_eq!(copies.get(&(), async { Ok::<_, ()>(2) }).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_for_a_second_and_then_tried_again() {
        let copies: RecentCopies<(), u32> = RecentCopies::default();
        assert_eq!(
            copies.get(&(), async { Err("away") }).await,
            Err(NoCopy::Error("away"))
        );
        assert_eq!(
            copies.get(&(), async { Ok::<_, &str>(1) }).await,
            Err(NoCopy::FailedLately)
        );
        advance(MAX_AGE).await;
        assert_eq!(copies.get(&(), async { Ok::<_, &str>(1) }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_while_reading_blocks_nobody() {
        let copies: RecentCopies<(), u32> = RecentCopies::default();
        let left = tokio::time::timeout(
            Duration::from_millis(10),
            copies.get(&(), std::future::pending::<Result<u32, ()>>()),
        );
        assert!(left.await.is_err());
        assert_eq!(copies.get(&(), async { Ok::<_, ()>(7) }).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_keys_do_not_fill_the_memory() {
        let copies = RecentCopies::default();
        for key in 0..3 * CAPACITY {
            assert_eq!(copies.get(&key, async { Ok::<_, ()>(key) }).await, Ok(key));
        }
        assert_eq!(copies.slots.lock().unwrap().len(), CAPACITY);
        advance(MAX_AGE).await;
        copies
            .get(&usize::MAX, async { Ok::<_, ()>(0) })
            .await
            .unwrap();
        assert_eq!(copies.slots.lock().unwrap().len(), 1);
    }
}
