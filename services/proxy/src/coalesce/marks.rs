//! Which streams' upstreams let equal requests be joined.
//!
//! An upstream says so in its answers (`Marquee-Coalesce: 1`); until the first of them was seen,
//! every request goes there by itself. What was learned holds for this stream at this address: a
//! route that leads elsewhere begins anew.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderMap, HeaderName};
use lru::LruCache;

use crate::upstream::Upstream;

/// The header by which an upstream lets its answers be shared. It is passed on, for a proxy in front
/// of this one.
pub const COALESCE: HeaderName = HeaderName::from_static("marquee-coalesce");

/// Marked streams that are remembered while their routes are read anew.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Whether an answer may be shared.
pub fn is_marked(headers: &HeaderMap) -> bool {
    headers.get(COALESCE).is_some_and(|value| value == "1")
}

/// What is known of one stream at one address.
#[derive(Clone, Debug, Default)]
pub struct Mark(Arc<AtomicBool>);

impl Mark {
    /// Whether its last answer was marked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The marked streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Marks(Arc<Mutex<Marked>>);

/// By stream: where it was when it was marked, and the mark.
type Marked = LruCache<Box<str>, (Upstream, Mark)>;

impl Default for Marks {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(CAPACITY))))
    }
}

impl Marks {
    /// What is known of a stream whose route has been read anew.
    pub fn of(&self, stream_id: &str, upstream: &Upstream) -> Mark {
        let mut marked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match marked.get(stream_id) {
            Some((at, mark)) if at == upstream => return mark.clone(),
            Some(_) => {}
            None => return Mark::default(),
        }
        marked.pop(stream_id);
        Mark::default()
    }

    /// Learns from an answer.
    pub fn learn(&self, stream_id: &str, upstream: &Upstream, mark: &Mark, is_marked: bool) {
        if mark.0.swap(is_marked, Ordering::Relaxed) == is_marked {
            return;
        }
        let mut marked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_marked {
            marked.put(stream_id.into(), (upstream.clone(), mark.clone()));
        } else {
            marked.pop(stream_id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::Marks;
    use crate::upstream::Upstream;

    #[test]
    fn a_mark_is_learned_remembered_and_forgotten_when_the_route_changes() {
        let marks = Marks::default();
        let here: Upstream = "edge:1".parse().unwrap();
        let there: Upstream = "edge:2".parse().unwrap();
        let mark = marks.of("a", &here);
        assert!(!mark.is_set());
        marks.learn("a", &here, &mark, true);
        assert!(marks.of("a", &here).is_set(), "the route was read anew");
        assert!(!marks.of("b", &here).is_set(), "another stream");
        assert!(!marks.of("a", &there).is_set(), "the route has changed");
        assert!(!marks.of("a", &here).is_set(), "and back");
        // A late answer of before.
        marks.learn("a", &here, &mark, false);
        assert!(!marks.of("a", &here).is_set());
    }

    #[test]
    fn an_answer_without_the_mark_ends_it() {
        let marks = Marks::default();
        let here: Upstream = "edge:1".parse().unwrap();
        let mark = marks.of("a", &here);
        marks.learn("a", &here, &mark, true);
        marks.learn("a", &here, &mark, false);
        assert!(!mark.is_set());
        assert!(!marks.of("a", &here).is_set());
    }
}
