//! What a service needs to serve, looked at every few seconds.
//!
//! Probes read the last result and never wait for a dependency, so a hanging database makes
//! `/health` neither slow nor a way to load that database.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{BoxError, error_chain};

/// With [`DEADLINE`] below the 5 s that a result may be old.
const INTERVAL: Duration = Duration::from_millis(2500);
/// A check that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(2);

type Probe =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync>;

/// A dependency and how to see whether it answers.
pub struct Check {
    name: &'static str,
    critical: bool,
    words: (&'static str, &'static str),
    probe: Probe,
}

impl Check {
    /// `probe` runs every 2.5 s and has 2 s. Without a critical dependency the service cannot
    /// serve: `/ready` answers 503 while it fails; any other only makes `/health` "degraded".
    pub fn new<F, Fut, E>(name: &'static str, critical: bool, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self {
            name,
            critical,
            words: ("connected", "disconnected"),
            probe: Box::new(move || {
                let result = probe();
                Box::pin(async move { result.await.map_err(Into::into) })
            }),
        }
    }

    /// Other words than "connected" and "disconnected" in `/health`, where a seed has them.
    #[must_use]
    pub fn words(mut self, up: &'static str, down: &'static str) -> Self {
        self.words = (up, down);
        self
    }
}

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// All checks of a service with their last results.
#[derive(Clone, Default)]
pub(super) struct Checks(Arc<Vec<(Check, AtomicU8)>>);

impl Checks {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        let with_result = |check| (check, AtomicU8::new(UNKNOWN));
        Self(Arc::new(checks.into_iter().map(with_result).collect()))
    }

    /// Poll until `stop`.
    pub(super) async fn poll(self, stop: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let round = self.0.iter().map(|(check, state)| look(check, state));
            futures::future::join_all(round).await;
        }
    }

    /// Whether no critical dependency is away or still unseen.
    pub(super) fn ready(&self) -> bool {
        self.0
            .iter()
            .all(|(check, state)| !check.critical || state.load(Ordering::Relaxed) == UP)
    }

    /// The body of `/health`: `status` and a word for each dependency.
    pub(super) fn health(&self) -> BTreeMap<&'static str, &'static str> {
        let mut body = BTreeMap::from([("status", "healthy")]);
        for (check, state) in self.0.iter() {
            let up = state.load(Ordering::Relaxed) == UP;
            if !up {
                body.insert("status", "degraded");
            }
            let (word_up, word_down) = check.words;
            body.insert(check.name, if up { word_up } else { word_down });
        }
        body
    }

    /// Critical dependencies that are not there.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.0
            .iter()
            .filter(|(check, state)| check.critical && state.load(Ordering::Relaxed) != UP)
            .map(|(check, _)| check.name)
            .collect()
    }
}

async fn look(check: &Check, state: &AtomicU8) {
    let result = match timeout(DEADLINE, (check.probe)()).await {
        Ok(result) => result.map_err(|error| error_chain(error.as_ref())),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    };
    let now = if result.is_ok() { UP } else { DOWN };
    let before = state.swap(now, Ordering::Relaxed);
    // Once a change, not once a poll: an outage of an hour is two lines.
    match result {
        Ok(()) if before == DOWN => tracing::info!(dependency = check.name, "back"),
        Err(error) if before != DOWN => {
            tracing::warn!(dependency = check.name, %error, "away");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    async fn polled_once(checks: &Checks) {
        for (check, state) in checks.0.iter() {
            look(check, state).await;
        }
    }

    #[tokio::test]
    async fn before_the_first_look_nothing_is_ready() {
        let checks = Checks::new(vec![Check::new("postgres", true, async || {
            Ok::<_, BoxError>(())
        })]);
        assert!(!checks.ready());
        assert_eq!(checks.missing(), ["postgres"]);
        polled_once(&checks).await;
        assert!(checks.ready());
        assert_eq!(checks.health()["status"], "healthy");
    }

    #[tokio::test]
    async fn a_missing_critical_dependency_makes_it_unready_and_one_that_is_not_only_degraded() {
        let postgres_up = Arc::new(AtomicBool::new(true));
        let probe = postgres_up.clone();
        let checks = Checks::new(vec![
            Check::new("postgres", true, move || {
                let up = probe.load(Ordering::SeqCst);
                async move {
                    if up {
                        Ok(())
                    } else {
                        Err("connection refused")
                    }
                }
            }),
            Check::new("redis", false, async || Err("gone")).words("ok", "error"),
        ]);
        polled_once(&checks).await;
        assert!(checks.ready());
        let health = checks.health();
        assert_eq!(
            (health["status"], health["postgres"], health["redis"]),
            ("degraded", "connected", "error")
        );

        postgres_up.store(false, Ordering::SeqCst);
        polled_once(&checks).await;
        assert!(!checks.ready());
        assert_eq!(checks.health()["postgres"], "disconnected");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_has_failed() {
        let checks = Checks::new(vec![Check::new("kafka", false, || {
            std::future::pending::<Result<(), BoxError>>()
        })]);
        polled_once(&checks).await;
        assert_eq!(checks.health()["kafka"], "disconnected");
    }
}
