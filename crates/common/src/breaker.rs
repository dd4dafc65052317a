//! A server that is away is asked by one caller at a time, not by all of them.
//!
//! After a failure nobody asks for a pause. When it is over, the first caller who comes tries it
//! (half-open) and the pause begins anew for everybody else until that one knows: however many
//! call, a server that hangs is waited for once a pause. [`crate::retry`] is for work that must be
//! done; this is for what can be gone without.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Knows whether a server is away, by how calls to it ended.
#[derive(Debug)]
pub struct Breaker {
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the next one may ask; `None` while the server is there.
    away_until: Option<Instant>,
    /// Rises with each change, so that nothing is concluded from a call of an earlier time.
    generation: u64,
}

/// A call that is allowed. Dropped without a verdict, because the caller left or learnt nothing of
/// the server, it changes nothing.
#[derive(Debug)]
#[must_use = "the breaker learns from how the call ended"]
pub struct Attempt<'a> {
    breaker: &'a Breaker,
    generation: u64,
}

impl Breaker {
    /// For a server that is believed to be there, and is left alone for `pause` after a failure.
    /// Not shorter than the calls' deadline, lest a second one asks while the first still waits.
    pub const fn new(pause: Duration) -> Self {
        Self {
            pause,
            state: Mutex::new(State {
                away_until: None,
                generation: 0,
            }),
        }
    }

    /// Leave to call; `None`: the server is away, go without it.
    pub fn attempt(&self) -> Option<Attempt<'_>> {
        let mut state = self.state();
        if let Some(until) = state.away_until {
            let now = Instant::now();
            if now < until {
                return None;
            }
            state.change(Some(now + self.pause));
        }
        Some(Attempt {
            breaker: self,
            generation: state.generation,
        })
    }

    /// Whether [`Self::attempt`] would refuse now: for those who would have to queue before it.
    pub fn is_open(&self) -> bool {
        self.state()
            .away_until
            .is_some_and(|until| Instant::now() < until)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, away_until: Option<Instant>) {
        self.away_until = away_until;
        self.generation += 1;
    }
}

impl Attempt<'_> {
    /// The server answered. `true` if it was away until now, which is worth a line in the log.
    pub fn succeeded(self) -> bool {
        let mut state = self.breaker.state();
        let back = state.away_until.is_some() && state.generation == self.generation;
        if back {
            state.change(None);
        }
        back
    }

    /// The server did not answer. `true` if it was there until now, which is worth a line in the
    /// log.
    pub fn failed(self) -> bool {
        let mut state = self.breaker.state();
        if state.generation != self.generation {
            return false;
        }
        let gone = state.away_until.is_none();
        state.change(Some(Instant::now() + self.breaker.pause));
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);
    const DEADLINE: Duration = Duration::from_secs(2);

    /// A server that hangs, and how often it is asked.
    #[derive(Default)]
    struct Hanging {
        asked: AtomicU32,
        gone: AtomicU32,
    }

    impl Hanging {
        async fn call(&self, breaker: &Breaker) {
            let Some(attempt) = breaker.attempt() else {
                return;
            };
            self.asked.fetch_add(1, Ordering::SeqCst);
            sleep(DEADLINE).await;
            self.gone
                .fetch_add(u32::from(attempt.failed()), Ordering::SeqCst);
        }

        /// Calls `callers` times at once; how often the server was asked, and how long all took.
        async fn called_by(&self, callers: usize, breaker: &Breaker) -> (u32, Duration) {
            let (before, began) = (self.asked.load(Ordering::SeqCst), Instant::now());
            join_all((0..callers).map(|_| self.call(breaker))).await;
            (self.asked.load(Ordering::SeqCst) - before, began.elapsed())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_fifty_who_find_the_pause_over_one_asks() {
        let (breaker, server) = (Breaker::new(PAUSE), Hanging::default());
        assert_eq!(server.called_by(50, &breaker).await, (50, DEADLINE));
        for _ in 0..3 {
            assert_eq!(server.called_by(50, &breaker).await, (0, Duration::ZERO));
            advance(PAUSE).await;
            assert_eq!(server.called_by(50, &breaker).await, (1, DEADLINE));
        }
        // They failed all at once and one after another: it went away once.
        assert_eq!(server.gone.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_come_late_do_not_prolong_the_pause() {
        let breaker = Breaker::new(PAUSE);
        let (first, second) = (breaker.attempt().unwrap(), breaker.attempt().unwrap());
        assert!(first.failed());
        advance(PAUSE / 2).await;
        assert!(!second.failed());
        advance(PAUSE / 2).await;
        assert!(breaker.attempt().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_opens_the_way_for_all_and_an_old_failure_does_not_close_it() {
        let breaker = Breaker::new(PAUSE);
        let (first, late) = (breaker.attempt().unwrap(), breaker.attempt().unwrap());
        assert!(first.failed());
        assert!(breaker.is_open());
        advance(PAUSE).await;
        assert!(!breaker.is_open());
        let probe = breaker.attempt().unwrap();
        assert!(breaker.is_open() && breaker.attempt().is_none());
        assert!(probe.succeeded());
        assert!(!late.failed());
        let attempts: Vec<_> = (0..50).map(|_| breaker.attempt()).collect();
        assert!(attempts.iter().all(Option::is_some));
        assert!(!breaker.attempt().unwrap().succeeded(), "it was there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_hands_the_trial_to_one_after_the_pause() {
        let breaker = Breaker::new(PAUSE);
        let _ = breaker.attempt().unwrap().failed();
        advance(PAUSE).await;
        drop(breaker.attempt().unwrap());
        assert!(breaker.attempt().is_none());
        advance(PAUSE).await;
        assert!(breaker.attempt().unwrap().succeeded());
    }
}
