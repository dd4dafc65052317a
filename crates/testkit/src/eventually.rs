//! Waiting for a condition instead of for a time: tests are then as fast as the machine allows and
//! do not fail on a slow one.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Calls `check` until it answers `Some`, at first every 10 ms and then less often, and returns what
/// it found.
///
/// # Panics
/// When `within` has passed; the message names `what` was waited for.
pub async fn eventually<T, F, Fut>(what: &str, within: Duration, mut check: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        if let Ok(Some(found)) = tokio::time::timeout(within, check()).await {
            return found;
        }
        assert!(
            start.elapsed() < within,
            "{what}: not within {:.1} s",
            within.as_secs_f64()
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    }
}
