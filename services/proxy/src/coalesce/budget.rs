//! How much of joined answers may wait in memory for slow clients: of one stream's, and of all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Largest answer that is shared: a segment of 2 s at 30 Mbit/s.
pub(super) const MAX_ANSWER_BYTES: u64 = 8 * 1024 * 1024;
/// What one stream's answers may hold, so that no stream's clients use up what is there for all.
const MAX_STREAM_BYTES: u64 = 64 * 1024 * 1024;
/// What all answers that are being shared may hold together.
const MAX_ALL_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes that are held. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    all: u64,
    by_stream: HashMap<Box<str>, u64>,
}

impl Held {
    fn has_room(&self, stream_id: &str, bytes: u64) -> bool {
        let stream = self.by_stream.get(stream_id).copied().unwrap_or_default();
        stream + bytes <= MAX_STREAM_BYTES && self.all + bytes <= MAX_ALL_BYTES
    }
}

impl Budget {
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

    const PER_STREAM: usize = (MAX_STREAM_BYTES / MAX_ANSWER_BYTES) as usize;
    const IN_ALL: usize = (MAX_ALL_BYTES / MAX_ANSWER_BYTES) as usize;

    #[test]
    fn one_stream_cannot_use_up_what_is_there_for_all() {
        let budget = Budget::default();
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
        let budget = Budget::default();
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
