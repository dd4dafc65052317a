//! What came of a load.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::load::Seen;

/// Counts and latencies. A latency counts from when its request was due to its answer's last byte.
#[derive(Debug, PartialEq, Serialize)]
pub struct Report {
    /// Answered requests.
    pub requests: u64,
    /// Of them a second.
    pub requests_per_s: f64,
    /// How often each status was answered.
    pub statuses: BTreeMap<u16, u64>,
    /// Median, in microseconds.
    pub p50_us: u32,
    /// 90 % are at most this.
    pub p90_us: u32,
    /// 99 % are at most this.
    pub p99_us: u32,
    /// 99.9 % are at most this.
    pub p999_us: u32,
    /// The longest.
    pub max_us: u32,
}

impl Report {
    /// Puts together what the connections saw in this time.
    pub fn new(seen: Vec<Seen>, duration: Duration) -> Self {
        let mut latencies_us = Vec::new();
        let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
        for one in seen {
            latencies_us.extend(one.latencies_us);
            for (status, count) in one.statuses {
                *statuses.entry(status).or_default() += count;
            }
        }
        latencies_us.sort_unstable();
        let requests = statuses.values().sum();
        Self {
            requests,
            requests_per_s: precise(requests) / duration.as_secs_f64(),
            statuses,
            p50_us: percentile(&latencies_us, 500),
            p90_us: percentile(&latencies_us, 900),
            p99_us: percentile(&latencies_us, 990),
            p999_us: percentile(&latencies_us, 999),
            max_us: percentile(&latencies_us, 1000),
        }
    }
}

/// Counts here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "exact for counts of requests")]
pub const fn precise(count: u64) -> f64 {
    count as f64
}

/// The smallest value that so many thousandths of all are not above; 0 of nothing.
pub fn percentile(sorted: &[u32], thousandths: usize) -> u32 {
    let rank = (sorted.len() * thousandths).div_ceil(1000);
    let at = rank.saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{Report, percentile};
    use crate::load::Seen;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u32> = (1..=1000).collect();
        assert_eq!(percentile(&values, 500), 500);
        assert_eq!(percentile(&values, 990), 990);
        assert_eq!(percentile(&values, 1000), 1000);
        assert_eq!(percentile(&[7], 1), 7);
        assert_eq!(percentile(&[], 990), 0);
    }

    #[test]
    fn connections_are_counted_together() {
        let seen = |status, latency_us| Seen {
            latencies_us: vec![latency_us],
            statuses: BTreeMap::from([(status, 1)]),
        };
        let all = vec![seen(200, 10), seen(200, 30), seen(503, 20)];
        let report = Report::new(all, Duration::from_secs(2));
        assert_eq!(report.requests, 3);
        assert!((report.requests_per_s - 1.5).abs() < 1e-9);
        assert_eq!(report.statuses, BTreeMap::from([(200, 2), (503, 1)]));
        assert_eq!((report.p50_us, report.max_us), (20, 30));
    }
}
