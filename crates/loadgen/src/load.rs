//! Requests by timetable, or one after the other.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    http::{Connection, HttpError, Target},
    report::Report,
};

/// What is sent, and how much of it.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to.
    pub url: String,
    /// Connections, each with one request at a time.
    pub connections: u32,
    /// Requests a second of all connections; `None`: as many as are answered.
    pub rate: Option<u32>,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub duration: Duration,
    /// Bodies, in turn; none: GET.
    pub bodies: Vec<String>,
}

/// What one connection saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Of each counted request, from when it was due.
    pub latencies_us: Vec<u32>,
    /// How often each status was answered.
    pub statuses: BTreeMap<u16, u64>,
}

impl Load {
    /// Sends all of it.
    pub fn run(&self) -> Result<Report, HttpError> {
        let target = Target::parse(&self.url)?;
        let requests: Vec<Vec<u8>> = match &self.bodies[..] {
            [] => vec![target.request(None)],
            bodies => bodies
                .iter()
                .map(|body| target.request(Some(body)))
                .collect(),
        };
        let connections = (0..self.connections)
            .map(|_| Connection::open(&target))
            .collect::<Result<Vec<_>, _>>()?;
        // All are connected and about to run.
        let began = Instant::now() + Duration::from_millis(50);
        let seen = thread::scope(|scope| {
            let threads: Vec<_> = (0_u32..)
                .zip(connections)
                .map(|(number, connection)| {
                    let requests = &requests;
                    scope.spawn(move || self.drive(number, connection, requests, began))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<Result<Vec<_>, _>>()
        })?;
        Ok(Report::new(seen, self.duration))
    }

    fn drive(
        &self,
        number: u32,
        mut connection: Connection,
        requests: &[Vec<u8>],
        began: Instant,
    ) -> Result<Seen, HttpError> {
        let counts_from = began + self.warm_up;
        let ends = counts_from + self.duration;
        let mut seen = Seen::default();
        // Connections begin at different ones, so that not all send the same at the same time.
        let turns = requests
            .iter()
            .cycle()
            .skip(number as usize % requests.len());
        sleep_until(began);
        for (turn, request) in (0_u64..).zip(turns) {
            let due = match self.rate {
                Some(rate) => began + due_after(turn, number, self.connections, rate),
                None => Instant::now(),
            };
            if due >= ends {
                break;
            }
            sleep_until(due);
            let status = connection.exchange(request)?;
            if due >= counts_from {
                let latency_us = due.elapsed().as_micros();
                seen.latencies_us
                    .push(u32::try_from(latency_us).unwrap_or(u32::MAX));
                *seen.statuses.entry(status).or_default() += 1;
            }
        }
        Ok(seen)
    }
}

/// When a connection's turn is due: all connections' together come evenly.
fn due_after(turn: u64, number: u32, connections: u32, rate: u32) -> Duration {
    let before = turn * u64::from(connections) + u64::from(number);
    Duration::from_nanos(before.saturating_mul(1_000_000_000) / u64::from(rate))
}

fn sleep_until(then: Instant) {
    let wait = then.saturating_duration_since(Instant::now());
    if !wait.is_zero() {
        thread::sleep(wait);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
        time::Duration,
    };

    use proptest::prelude::*;

    use super::{Load, due_after};

    /// A server that takes this long for each answer.
    fn server(takes: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                        thread::sleep(takes);
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                        stream.write_all(answer).unwrap();
                    }
                });
            }
        });
        url
    }

    fn load(url: String, rate: Option<u32>) -> Load {
        Load {
            url,
            connections: 2,
            rate,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(1),
            bodies: Vec::new(),
        }
    }

    #[test]
    fn a_rate_is_kept_when_the_server_keeps_up() {
        let report = load(server(Duration::ZERO), Some(100)).run().unwrap();
        assert_eq!(report.requests, 100);
        assert_eq!(report.statuses[&200], 100);
    }

    #[test]
    fn what_a_slow_server_holds_up_counts_from_when_it_was_due() {
        // Two connections can do 20 a second; 100 are due.
        let report = load(server(Duration::from_millis(100)), Some(100))
            .run()
            .unwrap();
        assert_eq!(report.requests, 100);
        assert!(report.p99_us > 2_000_000, "{report:?}");
    }

    #[test]
    fn without_a_rate_the_server_sets_the_pace() {
        let report = load(server(Duration::from_millis(100)), None)
            .run()
            .unwrap();
        assert!((2..=22).contains(&report.requests), "{report:?}");
        assert!(report.p50_us < 1_000_000, "{report:?}");
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert!(load(url, None).run().is_err());
    }

    proptest! {
        #[test]
        fn connections_take_turns_evenly(connections in 1_u32..64, rate in 1_u32..100_000) {
            let mut due: Vec<_> = (0..4)
                .flat_map(|turn| (0..connections).map(move |number| (turn, number)))
                .map(|(turn, number)| due_after(turn, number, connections, rate))
                .collect();
            due.sort();
            let each = Duration::from_secs(1) / rate;
            for pair in due.windows(2) {
                let gap = pair[1].saturating_sub(pair[0]);
                prop_assert!(gap.abs_diff(each) <= Duration::from_nanos(1), "{gap:?}");
            }
        }
    }
}
