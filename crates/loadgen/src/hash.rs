//! bcrypt alone: what the cores allow, for comparison with logins.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{http::HttpError, report::precise};

/// How much is hashed.
#[derive(Clone, Copy, Debug)]
pub struct Hashing {
    /// 2^cost rounds.
    pub cost: u32,
    /// Comparisons at a time.
    pub threads: u32,
    /// For how long.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, PartialEq, Serialize)]
pub struct HashReport {
    /// Comparisons a second, all threads together.
    pub comparisons_per_s: f64,
}

impl Hashing {
    /// Compares a password with its hash again and again.
    pub fn run(self) -> Result<HashReport, HttpError> {
        let password = "correct horse battery staple";
        let hash = bcrypt::hash(password, self.cost).map_err(std::io::Error::other)?;
        let rates = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|_| scope.spawn(|| self.compare(password, &hash)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<Result<Vec<f64>, _>>()
        })
        .map_err(std::io::Error::other)?;
        Ok(HashReport {
            comparisons_per_s: rates.iter().sum(),
        })
    }

    /// One thread's comparisons a second: whole ones, in the time that they took.
    fn compare(self, password: &str, hash: &str) -> Result<f64, bcrypt::BcryptError> {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < self.duration {
            std::hint::black_box(bcrypt::verify(password, hash)?);
            count += 1;
        }
        Ok(precise(count) / began.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use super::Hashing;

    #[test]
    fn each_step_of_the_cost_halves_what_is_done() {
        let at = |cost| {
            let hashing = Hashing {
                cost,
                threads: 1,
                duration: Duration::from_millis(300),
            };
            hashing.run().unwrap().comparisons_per_s
        };
        // A factor of 16 apart; a busy machine blurs it.
        assert!(at(4) > 2.0 * at(8));
    }
}
