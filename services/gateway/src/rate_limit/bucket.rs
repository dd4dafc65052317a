//! The arithmetic of a token bucket.
//!
//! A bucket is one number: the time at which it will be full again (the "generic cell rate
//! algorithm", a token bucket told by the clock). Taking a token puts that time off by what a token
//! takes to come back, and is refused when it would lie further off than filling an empty bucket
//! takes. Nothing has to run in between, and a full bucket needs no memory.

use std::{str::FromStr, time::Duration};

/// How many in which time: `100/s`, `10/min`, `60/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Duration,
}

/// What is wrong with a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from 1 to 1000000 and s, min or h, like 100/s, 10/min or 60/h")]
pub struct RateError;

/// More a second would take less than the microseconds that buckets are told in.
const MAX_COUNT: u32 = 1_000_000;

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (count, unit) = text.trim().split_once('/').ok_or(RateError)?;
        let count = count.trim().parse().map_err(|_| RateError)?;
        let seconds = match unit.trim() {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(RateError),
        };
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(RateError);
        }
        Ok(Self {
            count,
            period: Duration::from_secs(seconds),
        })
    }
}

impl Rate {
    /// A bucket that holds as much as comes back in the rate's period.
    pub fn bucket(self) -> Bucket {
        self.bucket_of(self.count)
    }

    /// A bucket that holds `burst` tokens, one at least.
    pub fn bucket_of(self, burst: u32) -> Bucket {
        let period_us = u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX);
        let interval_us = (period_us / u64::from(self.count)).max(1);
        Bucket {
            interval_us,
            depth_us: interval_us.saturating_mul(u64::from(burst.max(1))),
        }
    }
}

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// A token comes back in this time, in microseconds.
    pub interval_us: u64,
    /// An empty bucket is full after this time, in microseconds.
    pub depth_us: u64,
}

impl Bucket {
    /// Takes a token at `now_us` from a bucket that will be full at `full_at_us`: when it will be
    /// full then, or how long it is until there is a token.
    pub fn take(self, full_at_us: u64, now_us: u64) -> Result<u64, Duration> {
        let empty_now = now_us.saturating_add(self.depth_us);
        // Never emptier than empty: the figures, or the clock, may have been changed.
        let full_at_us = full_at_us.clamp(now_us, empty_now);
        let full_at_us = full_at_us.saturating_add(self.interval_us);
        match full_at_us.checked_sub(empty_now) {
            None | Some(0) => Ok(full_at_us),
            Some(wait_us) => Err(Duration::from_micros(wait_us)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Bucket, Rate, RateError};

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    /// What a bucket lets through when asked at these times, in microseconds.
    fn passed(bucket: Bucket, times: impl IntoIterator<Item = u64>) -> Vec<bool> {
        let mut full_at = 0;
        times
            .into_iter()
            .map(|now| match bucket.take(full_at, now) {
                Ok(then) => {
                    full_at = then;
                    true
                }
                Err(_) => false,
            })
            .collect()
    }

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        assert_eq!(rate("100/s").bucket().interval_us, 10_000);
        assert_eq!(rate(" 10 / min ").bucket().interval_us, 6_000_000);
        assert_eq!(rate("60/h").bucket().interval_us, 60_000_000);
        for wrong in [
            "",
            "100",
            "100/",
            "/s",
            "0/s",
            "-1/s",
            "1.5/s",
            "1/d",
            "1000001/s",
        ] {
            assert_eq!(wrong.parse::<Rate>(), Err(RateError), "{wrong}");
        }
    }

    #[test]
    fn a_full_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let bucket = rate("10/s").bucket_of(3);
        let at_once = passed(bucket, [0; 5]);
        assert_eq!(at_once, [true, true, true, false, false]);
        let each_tenth = (0..10).map(|tenth| tenth * 100_000);
        let then = passed(bucket, [0; 3].into_iter().chain(each_tenth));
        assert_eq!(then.iter().filter(|passed| **passed).count(), 3 + 9);
    }

    #[test]
    fn who_is_refused_is_told_when_the_next_token_comes() {
        let bucket = rate("10/min").bucket_of(1);
        let full_at = bucket.take(0, 1_000_000).unwrap();
        let wait = bucket.take(full_at, 3_000_000).unwrap_err();
        assert_eq!(wait, Duration::from_secs(4));
        let then = 3_000_000 + u64::try_from(wait.as_micros()).unwrap();
        assert!(bucket.take(full_at, then).is_ok());
    }

    #[test]
    fn a_bucket_from_another_time_is_empty_at_worst() {
        let bucket = rate("1/s").bucket_of(2);
        let wait = bucket.take(u64::MAX, 5_000_000).unwrap_err();
        assert_eq!(wait, Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn in_no_span_of_time_more_pass_than_burst_and_rate_allow(
            count in 1_u32..1000,
            burst in 1_u32..50,
            steps in prop::collection::vec(0_u64..200_000, 1..200),
        ) {
            let bucket = Rate { count, period: Duration::from_secs(1) }.bucket_of(burst);
            let times: Vec<u64> = steps
                .iter()
                .scan(0, |now, step| { *now += step; Some(*now) })
                .collect();
            let passed = passed(bucket, times.iter().copied());
            for from in 0..times.len() {
                let span_us = times.last().unwrap() - times[from];
                let granted = passed[from..].iter().filter(|passed| **passed).count() as u64;
                prop_assert!(granted <= u64::from(burst) + span_us / bucket.interval_us + 1);
            }
        }

        #[test]
        fn a_refused_client_that_waits_as_told_passes(
            full_at in 0_u64..10_000_000, now in 0_u64..10_000_000, count in 1_u32..1000, burst in 1_u32..50,
        ) {
            let bucket = Rate { count, period: Duration::from_secs(1) }.bucket_of(burst);
            if let Err(wait) = bucket.take(full_at, now) {
                let then = now + u64::try_from(wait.as_micros()).unwrap();
                prop_assert!(bucket.take(full_at.min(now + bucket.depth_us), then).is_ok());
            }
        }
    }
}
