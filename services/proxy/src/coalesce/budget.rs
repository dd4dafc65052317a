//! How much of joined answers may wait in memory for slow clients: of one stream's, and of all.
//!
//! Playlists have room of their own: all viewers of a stream wait for the next one all the time, and
//! slow readers of segments must not make each of them wait by itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::marks::Kind;

/// Largest answer that is shared: a segment of 2 s at 30 Mbit/s.
pub(super) const MAX_ANSWER_BYTES: u64 = 8 * 1024 * 1024;
const PLAYLISTS: Limits = Limits {
    stream: 32 * 1024 * 1024,
    all: 64 * 1024 * 1024,
};
const OTHERS: Limits = Limits {
    stream: 64 * 1024 * 1024,
    all: 192 * 1024 * 1024,
};

/// Bytes that answers of one kind may hold.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// One stream's, so that no stream's clients use up what is there for all.
    stream: u64,
    /// All that are being shared.
    all: u64,
}

/// The room for each kind of answer.
#[derive(Debug)]
pub(super) struct Budgets {
    playlists: Budget,
    others: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            playlists: Budget::within(PLAYLISTS),
            others: Budget::within(OTHERS),
        }
    }
}

impl Budgets {
    /// The room for answers of this kind.
    pub(super) fn of(&self, kind: Kind) -> &Budget {
        match kind {
            Kind::Playlist => &self.playlists,
            Kind::Other => &self.others,
        }
    }
}

/// Bytes that are held. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Mutex<Held>>);

#[derive(Debug)]
struct Held {
    limits: Limits,
    all: u64,
    by_stream: HashMap<Box<str>, u64>,
}

impl Held {
    fn has_room(&self, stream_id: &str, bytes: u64) -> bool {
        let stream = self.by_stream.get(stream_id).copied().unwrap_or_default();
        stream + bytes <= self.limits.stream && self.all + bytes <= self.limits.all
    }
}

impl Budget {
    fn within(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Held {
            limits,
            all: 0,
            by_stream: HashMap::new(),
        })))
    }

    /// Whether any answer that may be shared would fit.
    pub(super) fn has_room(&self, stream_id: &str) -> bool {
        self.held().has_room(stream_id, MAX_ANSWER_BYTES)
    }

    /// Room for an answer.
    pub(super) fn reserve(&self, stream_id: &str, bytes: u64) -> Option<Reserved> {
        let mut held = self.held();
        if !held.has_room(stream_id, bytes) {
            return None;
        }
        held.all += bytes;
        *held.by_stream.entry(stream_id.into()).or_default() += bytes;
        Some(Reserved {
            budget: self.clone(),
            stream_id: stream_id.into(),
            bytes,
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that an answer may hold; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Budget,
    stream_id: Box<str>,
    bytes: u64,
}

impl Reserved {
    /// How many.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut held = self.budget.held();
        held.all -= self.bytes;
        if let Some(stream) = held.by_stream.get_mut(&self.stream_id) {
            *stream -= self.bytes;
            if *stream == 0 {
                held.by_stream.remove(&self.stream_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    const PER_STREAM: usize = (OTHERS.stream / MAX_ANSWER_BYTES) as usize;
    const IN_ALL: usize = (OTHERS.all / MAX_ANSWER_BYTES) as usize;

    #[test]
    fn one_stream_cannot_use_up_what_is_there_for_all() {
        let budget = Budget::within(OTHERS);
        let held: Vec<_> = (0..PER_STREAM)
            .map(|_| budget.reserve("a", MAX_ANSWER_BYTES).unwrap())
            .collect();
        assert!(!budget.has_room("a"));
        assert!(budget.reserve("a", 1).is_none());
        assert!(budget.has_room("b"));
        drop(held);
        assert!(budget.has_room("a"));
        assert!(budget.held().by_stream.is_empty(), "nothing is left behind");
        assert_eq!(budget.held().all, 0);
    }

    #[test]
    fn all_streams_together_hold_no_more_than_there_is() {
        let budget = Budget::within(OTHERS);
        let mut held: Vec<_> = (0..IN_ALL)
            .map(|n| {
                budget
                    .reserve(&format!("{}", n % 8), MAX_ANSWER_BYTES)
                    .unwrap()
            })
            .collect();
        assert!(!budget.has_room("new"));
        held.pop();
        assert!(budget.has_room("new"));
    }
}
