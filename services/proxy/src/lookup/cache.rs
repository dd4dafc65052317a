//! What Redis said, for as long as it may be believed.
//!
//! An answer may be kept only if nothing could have changed since it was given. Hence an entry
//! begins as a placeholder before Redis is asked: an invalidation that arrives while the answer is
//! on its way finds the placeholder and voids it, and the answer, which may be older, is given to
//! those who waited for it and kept for nobody. A placeholder holds nothing that keeps its question
//! open: if who asks dies, those who wait are told, and the next one asks. Knows no clock and no
//! Redis, so that the rule can be tested in every order of events.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use lru::LruCache;
use tokio::sync::watch;

/// So that workers rarely wait for each other.
const SHARDS: usize = 16;

/// Answers by stream id; the least recently used make room.
#[derive(Debug)]
pub struct Cache<T> {
    shards: Vec<Mutex<LruCache<Box<str>, Entry<T>>>>,
    hasher: RandomState,
}

#[derive(Debug)]
enum Entry<T> {
    Asking(watch::Receiver<Option<T>>),
    Known(T, Instant),
}

/// One question to Redis, for all who wait for its answer. Dropped without one, it has vanished.
#[derive(Debug)]
pub struct Question<T> {
    answer: watch::Sender<Option<T>>,
}

/// What a look-up finds.
#[derive(Debug)]
pub enum Found<T> {
    /// An answer that still holds.
    Known(T),
    /// Somebody asks already: wait for the same answer.
    Asked(Waiter<T>),
    /// Nobody does: ask, and call [`Cache::answer`].
    Ask(Question<T>, Waiter<T>),
}

/// Waits for an answer.
#[derive(Debug)]
pub struct Waiter<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Waiter<T> {
    /// The answer; `None` if who asked has vanished.
    pub async fn answer(mut self) -> Option<T> {
        let answered = self.0.wait_for(Option::is_some).await.ok()?;
        answered.clone()
    }
}

impl<T: Clone> Cache<T> {
    /// Room for about `capacity` answers.
    pub fn new(capacity: usize) -> Self {
        let each = NonZeroUsize::new(capacity.div_ceil(SHARDS)).unwrap_or(NonZeroUsize::MIN);
        // Unbounded ones are given no room beforehand; the bound is kept at each insertion.
        let shards = (0..SHARDS).map(|_| {
            let mut shard = LruCache::unbounded();
            shard.resize(each);
            Mutex::new(shard)
        });
        Self {
            shards: shards.collect(),
            hasher: RandomState::new(),
        }
    }

    /// What is known of `id`, or who finds out.
    pub fn find(&self, id: &str, now: Instant) -> Found<T> {
        let mut shard = self.shard(id);
        match shard.get(id) {
            Some(Entry::Known(answer, until)) if now < *until => {
                return Found::Known(answer.clone());
            }
            // Whoever asks is still there to answer.
            Some(Entry::Asking(answer)) if answer.has_changed().is_ok() => {
                return Found::Asked(Waiter(answer.clone()));
            }
            _ => {}
        }
        let (sender, answer) = watch::channel(None);
        shard.put(id.into(), Entry::Asking(answer.clone()));
        Found::Ask(Question { answer: sender }, Waiter(answer))
    }

    /// Gives an answer to those who wait for it, and keeps it until `until` if no invalidation came
    /// in between; `None` keeps nothing.
    pub fn answer(&self, id: &str, question: &Question<T>, answer: T, until: Option<Instant>) {
        let mut shard = self.shard(id);
        let is_valid = matches!(
            shard.peek(id),
            Some(Entry::Asking(asked)) if asked.same_channel(&question.answer.subscribe())
        );
        match until {
            Some(until) if is_valid => {
                shard.put(id.into(), Entry::Known(answer.clone(), until));
            }
            None if is_valid => {
                shard.pop(id);
            }
            _ => {}
        }
        // With the lock held: who does not find the question any more finds the answer.
        question.answer.send_replace(Some(answer));
    }

    /// The route of `id` has changed: forgets it, and voids the question that is under way.
    pub fn invalidate(&self, id: &str) {
        self.shard(id).pop(id);
    }

    /// Forgets everything, and voids every question.
    pub fn clear(&self) {
        for shard in &self.shards {
            lock(shard).clear();
        }
    }

    /// How many ids something is known of, or asked.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, id: &str) -> MutexGuard<'_, LruCache<Box<str>, Entry<T>>> {
        let hash = self.hasher.hash_one(id);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lowest bits are enough"
        )]
        lock(&self.shards[hash as usize % SHARDS])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::{
        collections::HashMap,
        time::{Duration, Instant},
    };

    use futures::FutureExt;
    use proptest::{collection::vec, prelude::*};

    use super::{Cache, Found, Question};

    fn ask(cache: &Cache<u32>, id: &str, now: Instant) -> Question<u32> {
        match cache.find(id, now) {
            Found::Ask(question, _) => question,
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn an_answer_is_kept_until_its_end() {
        let cache = Cache::new(100);
        let now = Instant::now();
        let question = ask(&cache, "a", now);
        cache.answer("a", &question, 1, Some(now + Duration::from_secs(5)));
        let at = |seconds| cache.find("a", now + Duration::from_secs(seconds));
        assert!(matches!(at(4), Found::Known(1)));
        assert!(matches!(at(5), Found::Ask(..)));
    }

    #[test]
    fn one_asks_for_all() {
        let cache = Cache::new(100);
        let now = Instant::now();
        let question = ask(&cache, "a", now);
        let Found::Asked(waiter) = cache.find("a", now) else {
            panic!("asked twice");
        };
        cache.answer("a", &question, 7, None);
        assert_eq!(waiter.answer().now_or_never(), Some(Some(7)));
        assert!(matches!(cache.find("a", now), Found::Ask(..)), "not kept");
    }

    #[test]
    fn an_answer_that_an_invalidation_overtook_is_kept_for_nobody() {
        let cache = Cache::new(100);
        let now = Instant::now();
        let until = Some(now + Duration::from_secs(5));
        let old = ask(&cache, "a", now);
        cache.invalidate("a");
        // Whoever comes now does not wait for the old answer.
        let new = ask(&cache, "a", now);
        cache.answer("a", &old, 1, until);
        assert!(matches!(cache.find("a", now), Found::Asked(_)));
        cache.answer("a", &new, 2, until);
        assert!(matches!(cache.find("a", now), Found::Known(2)));
    }

    #[test]
    fn clearing_voids_what_is_being_asked() {
        let cache = Cache::new(100);
        let now = Instant::now();
        let question = ask(&cache, "a", now);
        cache.clear();
        cache.answer("a", &question, 1, Some(now + Duration::from_secs(5)));
        assert_eq!(cache.count(), 0);
    }

    #[test]
    fn a_question_whose_asker_vanished_does_not_hold_others() {
        let cache = Cache::<u32>::new(100);
        let now = Instant::now();
        let question = ask(&cache, "a", now);
        let Found::Asked(waiter) = cache.find("a", now) else {
            panic!("no placeholder");
        };
        drop(question);
        assert_eq!(waiter.answer().now_or_never(), Some(None));
        let question = ask(&cache, "a", now);
        cache.answer("a", &question, 1, Some(now + Duration::from_secs(5)));
        assert!(matches!(cache.find("a", now), Found::Known(1)));
    }

    #[test]
    fn the_least_recently_used_make_room() {
        let cache = Cache::new(64);
        let now = Instant::now();
        let until = Some(now + Duration::from_secs(5));
        let _hot = ask(&cache, "hot", now);
        for id in 0..10_000 {
            let id = id.to_string();
            if let Found::Ask(question, _) = cache.find(&id, now) {
                cache.answer(&id, &question, 0, until);
            }
            cache.find("hot", now);
        }
        assert!(cache.count() <= 64);
        assert!(!matches!(cache.find("hot", now), Found::Ask(..)));
    }

    /// What happens in one order or another: Redis' value changes and, in its order, the connection
    /// brings answers and invalidations.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Set(u8),
        Request(u8),
        /// The connection's next message arrives.
        Deliver,
        Disconnect,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let id = 0_u8..3;
        vec(
            prop_oneof![
                id.clone().prop_map(Event::Set),
                id.prop_map(Event::Request),
                Just(Event::Deliver),
                Just(Event::Deliver),
                Just(Event::Disconnect),
            ],
            0..200,
        )
    }

    enum Message {
        Answer(u8, Question<u32>, u32),
        Invalidate(u8),
    }

    proptest! {
        /// Once an invalidation was delivered, nobody is told what was before it.
        #[test]
        fn nobody_is_told_what_an_invalidation_has_ended(events in events()) {
            let cache = Cache::new(100);
            let now = Instant::now();
            let until = Some(now + Duration::from_secs(5));
            let mut redis: HashMap<u8, u32> = HashMap::new();
            // The newest value of which an invalidation was delivered, or the connection lost.
            let mut told: HashMap<u8, u32> = HashMap::new();
            let mut wire = std::collections::VecDeque::new();
            for event in events {
                match event {
                    Event::Set(id) => {
                        *redis.entry(id).or_default() += 1;
                        wire.push_back(Message::Invalidate(id));
                    }
                    Event::Request(id) => match cache.find(&id.to_string(), now) {
                        Found::Known(value) => {
                            prop_assert!(value >= told.get(&id).copied().unwrap_or(0));
                        }
                        Found::Asked(_) => {}
                        Found::Ask(question, _) => {
                            let value = redis.get(&id).copied().unwrap_or(0);
                            wire.push_back(Message::Answer(id, question, value));
                        }
                    },
                    Event::Deliver => match wire.pop_front() {
                        None => {}
                        Some(Message::Answer(id, question, value)) => {
                            cache.answer(&id.to_string(), &question, value, until);
                        }
                        Some(Message::Invalidate(id)) => {
                            cache.invalidate(&id.to_string());
                            let pending = wire.iter().filter(
                                |message| matches!(message, Message::Invalidate(other) if *other == id),
                            );
                            let behind = u32::try_from(pending.count()).unwrap();
                            told.insert(id, redis[&id] - behind);
                        }
                    },
                    // Invalidations are lost with it, answers fail.
                    Event::Disconnect => {
                        wire.clear();
                        cache.clear();
                        told = redis.clone();
                    }
                }
            }
        }
    }
}
