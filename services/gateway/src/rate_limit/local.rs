//! The buckets of this gateway alone, for while Redis is away.
//!
//! Anybody can come from many addresses, so their number is bounded: the buckets are kept in two
//! generations, and when the younger one is full the older one is forgotten. A forgotten bucket is a
//! full one; to be forgotten before its time it takes half as many others as there is room for.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Charge, Refused};

/// Buckets in one generation; two of them take about 4 MiB.
const GENERATION: usize = 50_000;

/// Takes tokens in this process's memory.
#[derive(Debug)]
pub struct LocalBuckets {
    began: Instant,
    /// Secret, so that nobody can choose keys that share a bucket with somebody else's.
    hasher: RandomState,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl Default for LocalBuckets {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            generations: Mutex::default(),
        }
    }
}

impl LocalBuckets {
    /// One token for each charge or, when a bucket has none, none at all.
    pub fn take(&self, charges: &[Charge]) -> Result<(), Refused> {
        self.take_at(charges, self.began.elapsed())
    }

    fn take_at(&self, charges: &[Charge], since_began: Duration) -> Result<(), Refused> {
        let now_us = u64::try_from(since_began.as_micros()).unwrap_or(u64::MAX);
        // Nothing in it can panic half-way: what a thread left is whole.
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::with_capacity(charges.len());
        let mut refused: Option<Refused> = None;
        for charge in charges {
            let key = self.hasher.hash_one(&charge.key);
            match charge.bucket.take(generations.find(key), now_us) {
                Ok(full_at_us) => taken.push((key, full_at_us)),
                Err(wait) if refused.is_some_and(|longest| longest.wait >= wait) => {}
                Err(wait) => {
                    refused = Some(Refused {
                        limit: charge.limit,
                        wait,
                    });
                }
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        for (key, full_at_us) in taken {
            generations.put(key, full_at_us);
        }
        Ok(())
    }
}

impl Generations {
    /// When a bucket will be full, in microseconds; 0, which is the past, if it is. One that is
    /// asked for stays young.
    fn find(&mut self, key: u64) -> u64 {
        if let Some(full_at_us) = self.young.get(&key) {
            return *full_at_us;
        }
        match self.old.remove(&key) {
            Some(full_at_us) => {
                self.put(key, full_at_us);
                full_at_us
            }
            None => 0,
        }
    }

    fn put(&mut self, key: u64, full_at_us: u64) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, full_at_us);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use super::{super::LimitName, Charge, GENERATION, LocalBuckets};

    const NOW: Duration = Duration::from_secs(100);

    fn charge(limit: LimitName, key: &str, rate: &str, burst: u32) -> Charge {
        Charge {
            limit,
            key: key.to_owned(),
            bucket: rate.parse::<super::super::Rate>().unwrap().bucket_of(burst),
        }
    }

    fn address(key: &str) -> Charge {
        charge(LimitName::Address, key, "1/s", 2)
    }

    #[test]
    fn each_key_has_a_bucket_of_its_own() {
        let buckets = LocalBuckets::default();
        for key in ["a", "b"] {
            assert!(buckets.take_at(&[address(key)], NOW).is_ok());
            assert!(buckets.take_at(&[address(key)], NOW).is_ok());
            let refused = buckets.take_at(&[address(key)], NOW).unwrap_err();
            assert_eq!(refused.wait, Duration::from_secs(1));
        }
        let later = NOW + Duration::from_secs(1);
        assert!(buckets.take_at(&[address("a")], later).is_ok());
        assert!(buckets.take_at(&[address("a")], later).is_err());
    }

    #[test]
    fn a_request_that_one_bucket_refuses_takes_from_no_other() {
        let buckets = LocalBuckets::default();
        let login = charge(LimitName::Login, "login", "1/min", 1);
        let both = [address("a"), login];
        assert!(buckets.take_at(&both, NOW).is_ok());
        for _ in 0..10 {
            let refused = buckets.take_at(&both, NOW).unwrap_err();
            assert_eq!(refused.limit, LimitName::Login);
            assert_eq!(refused.wait, Duration::from_mins(1));
        }
        assert!(buckets.take_at(&[address("a")], NOW).is_ok());
    }

    #[test]
    fn however_many_addresses_come_memory_is_bounded_and_the_busy_ones_are_remembered() {
        let buckets = LocalBuckets::default();
        let mut refused = 0;
        for stranger in 0..3 * GENERATION {
            let key = format!("stranger-{stranger}");
            assert!(buckets.take_at(&[address(&key)], NOW).is_ok());
            if stranger % 1000 == 0 && buckets.take_at(&[address("busy")], NOW).is_err() {
                refused += 1;
            }
        }
        let generations = buckets.generations.lock().unwrap();
        assert!(generations.young.len() <= GENERATION && generations.old.len() <= GENERATION);
        assert_eq!(refused, 3 * GENERATION / 1000 - 2);
    }
}
