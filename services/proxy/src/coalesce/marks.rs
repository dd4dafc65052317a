//! Which streams' upstreams let equal requests be joined.
//!
//! An upstream says so in its answers (`Marquee-Coalesce: 1`); until the first of them was seen,
//! every request goes there by itself. What was learned holds for playlists or for the rest of this
//! stream at this address: a route that leads elsewhere begins anew.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
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

/// So many answers in a row that cannot be shared, to requests that were held for each other, and a
/// stream's requests of this kind are held no more.
const MISSES: u8 = 8;

/// Whether an answer may be shared.
pub fn is_marked(headers: &HeaderMap) -> bool {
    headers.get(COALESCE).is_some_and(|value| value == "1")
}

/// What is asked for. An upstream may mark its playlists and not its segments, or the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path that ends in `.m3u8`.
    Playlist,
    /// Any other.
    Other,
}

impl Kind {
    /// What a path names.
    pub fn of(path: &str) -> Self {
        match path.rsplit_once('.') {
            Some((_, "m3u8")) => Self::Playlist,
            _ => Self::Other,
        }
    }
}

/// What is known of one stream at one address.
#[derive(Clone, Debug, Default)]
pub struct Mark(Arc<ByKind>);

#[derive(Debug, Default)]
struct ByKind {
    playlists: State,
    others: State,
}

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    misses: AtomicU8,
}

impl Mark {
    /// Whether its upstream marks answers of this kind.
    pub fn is_set(&self, kind: Kind) -> bool {
        self.state(kind).is_set.load(Ordering::Relaxed)
    }

    fn state(&self, kind: Kind) -> &State {
        match kind {
            Kind::Playlist => &self.0.playlists,
            Kind::Other => &self.0.others,
        }
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
        let mut marked = self.marked();
        match marked.get(stream_id) {
            Some((at, mark)) if at == upstream => return mark.clone(),
            Some(_) => {}
            None => return Mark::default(),
        }
        marked.pop(stream_id);
        Mark::default()
    }

    /// An answer may be shared.
    pub fn seen(&self, stream_id: &str, upstream: &Upstream, mark: &Mark, kind: Kind) {
        let state = mark.state(kind);
        state.misses.store(0, Ordering::Relaxed);
        if state.is_set.swap(true, Ordering::Relaxed) {
            return;
        }
        let known = (upstream.clone(), mark.clone());
        self.marked().put(stream_id.into(), known);
    }

    /// An answer that others waited for may not.
    pub fn missed(&self, stream_id: &str, mark: &Mark, kind: Kind) {
        let state = mark.state(kind);
        let misses = state.misses.fetch_add(1, Ordering::Relaxed) + 1;
        let is_over = misses >= MISSES && state.is_set.swap(false, Ordering::Relaxed);
        if is_over && !mark.is_set(Kind::Playlist) && !mark.is_set(Kind::Other) {
            self.marked().pop(stream_id);
        }
    }

    fn marked(&self) -> MutexGuard<'_, Marked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{
        Kind::{Other, Playlist},
        MISSES, Marks,
    };
    use crate::upstream::Upstream;

    #[test]
    fn a_mark_is_learned_remembered_and_forgotten_when_the_route_changes() {
        let marks = Marks::default();
        let here: Upstream = "edge:1".parse().unwrap();
        let there: Upstream = "edge:2".parse().unwrap();
        let mark = marks.of("a", &here);
        assert!(!mark.is_set(Other));
        marks.seen("a", &here, &mark, Other);
        let again = marks.of("a", &here);
        assert!(again.is_set(Other), "the route was read anew");
        assert!(!again.is_set(Playlist), "another kind");
        assert!(!marks.of("b", &here).is_set(Other), "another stream");
        assert!(
            !marks.of("a", &there).is_set(Other),
            "the route has changed"
        );
        assert!(!marks.of("a", &here).is_set(Other), "and back");
    }

    #[test]
    fn several_answers_in_a_row_without_the_mark_end_it_for_their_kind() {
        let marks = Marks::default();
        let here: Upstream = "edge:1".parse().unwrap();
        let mark = marks.of("a", &here);
        marks.seen("a", &here, &mark, Playlist);
        marks.seen("a", &here, &mark, Other);
        for _ in 0..MISSES - 1 {
            marks.missed("a", &mark, Other);
        }
        marks.seen("a", &here, &mark, Other);
        for _ in 0..MISSES - 1 {
            marks.missed("a", &mark, Other);
            // Playlists are none of its business.
            marks.seen("a", &here, &mark, Playlist);
            assert!(mark.is_set(Other));
        }
        marks.missed("a", &mark, Other);
        assert!(!marks.of("a", &here).is_set(Other));
        assert!(marks.of("a", &here).is_set(Playlist));
        for _ in 0..MISSES {
            marks.missed("a", &mark, Playlist);
        }
        assert!(!marks.of("a", &here).is_set(Playlist));
    }
}
