//! Copies of what many ask for, at most a second old and read by one caller at a time.
//!
//! The public list is the most asked-for route and the same for everybody, and thousands of
//! heartbeats ask whether one stream exists: however many ask, the database is asked once a second
//! a key. Who comes while a copy is being read gets what that reading brings, however long it
//! takes and also when it fails: a database that is away is waited for once, not by each in turn.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

/// Age at which a copy is read anew, counted from before it was read; a failure's from its end.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Keys that are kept; what is asked for beyond them is read by each who asks.
const MAX_KEYS: usize = 512;
/// Bytes that all copies may have together. A page of the public list has 2 MB at the most.
const MAX_BYTES: usize = 32 << 20;

/// What can be kept.
pub trait Kept: Clone {
    /// Bytes it holds beyond its own size.
    fn held_bytes(&self) -> usize;
}

impl Kept for Bytes {
    fn held_bytes(&self) -> usize {
        self.len()
    }
}

impl Kept for bool {
    fn held_bytes(&self) -> usize {
        0
    }
}

/// Reading failed a moment ago; those who waited for it are told so without trying in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failed;

/// Why there is no value.
#[derive(Debug, PartialEq, Eq)]
pub enum NoCopy<E> {
    /// This call read, and failed.
    Error(E),
    /// Another call did, while this one waited or at most [`MAX_AGE`] ago.
    FailedLately,
}

/// How a reading ended.
#[derive(Debug)]
struct Reading<V> {
    ended: Instant,
    /// Until then it answers also those who come later.
    fresh_until: Instant,
    outcome: Result<V, Failed>,
}

impl<V> Reading<V> {
    fn of(began: Instant, outcome: Result<V, Failed>) -> Self {
        let ended = Instant::now();
        let since = if outcome.is_ok() { began } else { ended };
        Self {
            ended,
            fresh_until: since + MAX_AGE,
            outcome,
        }
    }

    /// Whether it answers a call that came at `arrived`, asked now.
    fn answers(&self, arrived: Instant) -> bool {
        arrived <= self.ended || Instant::now() < self.fresh_until
    }
}

/// The last reading of a key. Locked while the next one goes on.
type Last<V> = Arc<tokio::sync::Mutex<Option<Reading<V>>>>;

#[derive(Debug)]
struct Slot<V> {
    last: Last<V>,
    /// What it keeps; `None` before and while it is read.
    kept: Option<Booking>,
}

/// What a kept reading costs.
#[derive(Clone, Copy, Debug)]
struct Booking {
    fresh_until: Instant,
    bytes: usize,
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

impl<K: Clone + Eq + Hash, V: Kept> RecentCopies<K, V> {
    /// The copy under `key`, from `read` if there is none that is recent. Those who come while it
    /// is read wait for it.
    pub async fn get<E>(
        &self,
        key: &K,
        read: impl Future<Output = Result<V, E>>,
    ) -> Result<V, NoCopy<E>> {
        let arrived = Instant::now();
        let Some(slot) = self.slot(key) else {
            return read.await.map_err(NoCopy::Error);
        };
        let mut last = slot.lock().await;
        if let Some(reading) = last.as_ref().filter(|reading| reading.answers(arrived)) {
            return reading
                .outcome
                .clone()
                .map_err(|Failed| NoCopy::FailedLately);
        }
        // Should this call be dropped while it reads, the next one finds nothing and reads.
        *last = None;
        self.book(key, &slot, None);
        let began = Instant::now();
        let value = read.await;
        let reading = Reading::of(began, value.as_ref().map(V::clone).map_err(|_| Failed));
        let booking = Booking {
            fresh_until: reading.fresh_until,
            bytes: reading.outcome.as_ref().map_or(0, V::held_bytes),
        };
        *last = Some(reading);
        self.book(key, &slot, Some(booking));
        value.map_err(NoCopy::Error)
    }

    /// The slot of `key`; `None` when there are too many and all are in use.
    fn slot(&self, key: &K) -> Option<Last<V>> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(key) {
            return Some(Arc::clone(&slot.last));
        }
        if slots.len() >= MAX_KEYS {
            drop_old(&mut slots);
        }
        (slots.len() < MAX_KEYS).then(|| {
            let slot = slots.entry(key.clone()).or_insert_with(|| Slot {
                last: Last::default(),
                kept: None,
            });
            Arc::clone(&slot.last)
        })
    }

    /// Books what a slot keeps, and makes room for it: first what is old goes, then what is
    /// oldest. Who waits for a copy that goes has it all the same.
    fn book(&self, key: &K, last: &Last<V>, booking: Option<Booking>) {
        let mut slots = self.slots();
        let slot = slots.get_mut(key);
        let Some(slot) = slot.filter(|slot| Arc::ptr_eq(&slot.last, last)) else {
            return;
        };
        slot.kept = booking;
        if booking.is_some() {
            drop_old(&mut slots);
            drop_oldest(&mut slots);
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<K, Slot<V>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what nobody would be given any more, and slots whose reader has left.
fn drop_old<K: Eq + Hash, V>(slots: &mut HashMap<K, Slot<V>>) {
    let now = Instant::now();
    slots.retain(|_, slot| {
        let in_use = Arc::strong_count(&slot.last) > 1;
        in_use || slot.kept.is_some_and(|kept| now < kept.fresh_until)
    });
}

/// Drops the oldest copies until the others have no more than [`MAX_BYTES`].
fn drop_oldest<K: Clone + Eq + Hash, V>(slots: &mut HashMap<K, Slot<V>>) {
    let mut bytes: usize = slots
        .values()
        .filter_map(|slot| Some(slot.kept?.bytes))
        .sum();
    if bytes <= MAX_BYTES {
        return;
    }
    let mut kept: Vec<(Booking, K)> = slots
        .iter()
        .filter_map(|(key, slot)| Some((slot.kept?, key.clone())))
        .collect();
    kept.sort_unstable_by_key(|(kept, _)| kept.fresh_until);
    for (kept, key) in kept {
        if bytes <= MAX_BYTES {
            break;
        }
        bytes -= kept.bytes;
        slots.remove(&key);
    }
}

#[cfg(test)]
mod tests;
