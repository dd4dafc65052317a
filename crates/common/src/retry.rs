//! How long to wait before trying again.
//!
//! Full jitter (a random wait between zero and a doubling cap), so that instances that lost the
//! same server do not return to it in step.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// A bounded sequence of waits. Without [`Self::attempts`] and [`Self::within`] it never ends.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    attempts: Option<u32>,
    deadline: Option<Instant>,
    taken: u32,
}

impl Backoff {
    /// Waits of up to `base`, `2 × base`, `4 × base` …, none above `max`.
    pub fn new(base: Duration, max: Duration) -> Self {
        Self {
            base,
            max,
            attempts: None,
            deadline: None,
            taken: 0,
        }
    }

    /// At most `attempts` waits.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// No wait begins later than `limit` from now.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.deadline = Some(Instant::now() + limit);
        self
    }

    /// Start again with short waits, because something worked. A deadline stays.
    pub fn reset(&mut self) {
        self.taken = 0;
    }

    fn cap(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.taken.min(20));
        self.base.saturating_mul(factor).min(self.max)
    }
}

/// Each item is the wait before the next attempt; `None`: give up.
impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.attempts.is_some_and(|limit| self.taken >= limit) {
            return None;
        }
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            return None;
        }
        let wait = self.cap().mul_f64(rand::random::<f64>());
        self.taken = self.taken.saturating_add(1);
        Some(wait)
    }
}

/// Do `work` until it succeeds, its error is not worth another try, or `backoff` gives up.
pub async fn retry<T, E, W, F>(
    mut backoff: Backoff,
    mut worth_retrying: impl FnMut(&E) -> bool,
    mut work: W,
) -> Result<T, E>
where
    W: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(error) if !worth_retrying(&error) => return Err(error),
            Err(error) => match backoff.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_end_with_the_attempts() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        let waits: Vec<_> = backoff.attempts(50).collect();
        assert_eq!(waits.len(), 50);
        assert!(waits[0] <= Duration::from_millis(100));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(300)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(100)));
    }

    #[test]
    fn no_wait_begins_after_the_deadline() {
        let mut backoff =
            Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).within(Duration::ZERO);
        assert_eq!(backoff.next(), None);
    }

    #[test]
    fn a_huge_number_of_attempts_does_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        backoff.taken = u32::MAX;
        assert!(
            backoff
                .next()
                .is_some_and(|wait| wait <= Duration::from_secs(30))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_repeated_until_it_succeeds() {
        let mut calls = 0;
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(10));
        let result: Result<u32, &str> = retry(
            backoff,
            |_| true,
            || {
                calls += 1;
                let answer = if calls < 3 { Err("not yet") } else { Ok(calls) };
                async move { answer }
            },
        )
        .await;
        assert_eq!(result, Ok(3));
    }

    #[tokio::test]
    async fn an_error_not_worth_it_is_returned_at_once() {
        let mut calls = 0;
        let result: Result<(), &str> = retry(
            Backoff::new(Duration::from_secs(9), Duration::from_secs(9)),
            |_| false,
            || {
                calls += 1;
                async { Err("wrong password") }
            },
        )
        .await;
        assert_eq!((result, calls), (Err("wrong password"), 1));
    }
}
