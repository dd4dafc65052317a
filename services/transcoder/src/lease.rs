//! May this process still write a broadcast's playlists?
//!
//! The stream service's row is the authority; between two words of it the transcoder trusts itself
//! only while its publisher is connected or its last renewal is younger than [`RENEWAL_TRUST`].
//! A process that was stopped (SIGSTOP, a frozen VM) cannot know what happened meanwhile, so after
//! a pause above [`PAUSE_LIMIT`] nothing is written before a renewal that began after the pause.
//! Monotonic clocks may stand still in a frozen machine, so the wall clock is looked at as well:
//! when somebody sets it forward, the price is one early renewal (and no playlist until the stream
//! service answers that one).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::Instant};

/// A renewal younger than this proves ownership.
pub const RENEWAL_TRUST: Duration = Duration::from_secs(8);
/// A process that did not run for longer than this asks before it writes.
pub const PAUSE_LIMIT: Duration = Duration::from_secs(2);
/// How often the process notes that it runs.
const TICK: Duration = Duration::from_millis(250);

/// Notices that the whole process did not run for a while.
#[derive(Clone, Debug)]
pub struct PauseWatch {
    state: Arc<Mutex<PauseState>>,
}

#[derive(Debug)]
struct PauseState {
    last_tick: Instant,
    last_wall: SystemTime,
    resumed_at: Option<Instant>,
}

impl Default for PauseWatch {
    fn default() -> Self {
        Self {
            state: Arc::new(Mutex::new(PauseState {
                last_tick: Instant::now(),
                last_wall: SystemTime::now(),
                resumed_at: None,
            })),
        }
    }
}

impl PauseWatch {
    /// Notes that the process runs now; tells whether a pause ended with this call.
    pub fn tick(&self) -> bool {
        self.tick_at(Instant::now(), SystemTime::now())
    }

    fn tick_at(&self, now: Instant, wall: SystemTime) -> bool {
        let mut state = lock(&self.state);
        let elapsed = now.duration_since(state.last_tick);
        // An error means that the wall clock was set back, which says nothing.
        let elapsed_wall = wall.duration_since(state.last_wall).unwrap_or_default();
        let paused = elapsed.max(elapsed_wall) > PAUSE_LIMIT;
        if paused {
            state.resumed_at = Some(now);
        }
        state.last_tick = now;
        state.last_wall = wall;
        paused
    }

    /// Ticks for ever, and calls `on_resume` after each pause.
    pub async fn run(self, on_resume: impl Fn() + Send) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut known = lock(&self.state).resumed_at;
        loop {
            interval.tick().await;
            // Whoever asked whether it may write may have noticed the pause first.
            let resumed_at = self.resumed_at();
            if resumed_at != known {
                known = resumed_at;
                tracing::warn!("this process stood still; asking before any playlist is written");
                on_resume();
            }
        }
    }

    /// When the last pause ended. Ticks itself, so that a task that runs before the ticker after a
    /// pause sees it too.
    fn resumed_at(&self) -> Option<Instant> {
        self.tick();
        lock(&self.state).resumed_at
    }
}

/// The right to write one broadcast's playlists under one epoch after another.
#[derive(Clone, Debug)]
pub struct Lease {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pause: PauseWatch,
    state: Mutex<LeaseState>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct LeaseState {
    epoch: u64,
    publisher_connected: bool,
    renewed_at: Option<Instant>,
    superseded: bool,
}

/// The lease is gone for good: another transcoder owns the broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another transcoder owns this broadcast under a higher epoch")]
pub struct Superseded;

impl Lease {
    /// A lease granted under `epoch` in answer to a call begun at `asked_at`.
    pub fn granted(epoch: u64, asked_at: Instant, pause: PauseWatch) -> Self {
        Self {
            shared: Arc::new(Shared {
                pause,
                state: Mutex::new(LeaseState {
                    epoch,
                    publisher_connected: false,
                    renewed_at: Some(asked_at),
                    superseded: false,
                }),
                changed: watch::Sender::new(0),
            }),
        }
    }

    /// The present epoch.
    pub fn epoch(&self) -> u64 {
        lock(&self.shared.state).epoch
    }

    /// The authority granted a higher epoch to this same process, in answer to a call begun at
    /// `asked_at`.
    pub fn regranted(&self, epoch: u64, asked_at: Instant) {
        self.change(|state| state.epoch = state.epoch.max(epoch));
        self.renewed(asked_at);
    }

    /// The publisher came or went.
    pub fn publisher_connected(&self, connected: bool) {
        self.change(|state| state.publisher_connected = connected);
    }

    /// The authority confirmed `epoch` in answer to a call begun at `asked_at`.
    pub fn renewed(&self, asked_at: Instant) {
        self.change(|state| {
            state.renewed_at = Some(state.renewed_at.map_or(asked_at, |at| at.max(asked_at)));
        });
    }

    /// The authority told of a higher epoch: over for good.
    pub fn supersede(&self) {
        self.change(|state| state.superseded = true);
    }

    /// Whether [`Lease::supersede`] was called.
    pub fn is_superseded(&self) -> bool {
        lock(&self.shared.state).superseded
    }

    /// Resolves when [`Lease::supersede`] was called.
    pub async fn superseded(&self) {
        let mut changed = self.shared.changed.subscribe();
        while !self.is_superseded() {
            // The sender lives in `self`, so an error cannot happen.
            let _ = changed.changed().await;
        }
    }

    /// Whether a playlist may be written this moment.
    pub fn may_publish(&self) -> bool {
        let resumed_at = self.shared.pause.resumed_at();
        let state = lock(&self.shared.state);
        if state.superseded {
            return false;
        }
        let renewed_since_pause = match (resumed_at, state.renewed_at) {
            (None, _) => true,
            (Some(resumed), Some(renewed)) => renewed >= resumed,
            (Some(_), None) => false,
        };
        let trusted = state.publisher_connected
            || state
                .renewed_at
                .is_some_and(|at| at.elapsed() < RENEWAL_TRUST);
        renewed_since_pause && trusted
    }

    /// Waits until a playlist may be written.
    pub async fn permit(&self) -> Result<(), Superseded> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            if self.is_superseded() {
                return Err(Superseded);
            }
            if self.may_publish() {
                return Ok(());
            }
            // The sender lives in `self`, so an error cannot happen; the bound lets a lease that
            // became stale by time alone be looked at again.
            let _ = tokio::time::timeout(Duration::from_millis(500), changed.changed()).await;
        }
    }

    /// Does `work` only while a playlist may be written; `None` when that ended first. It is looked
    /// at before each step, so that a PUT which a pause interrupted is dropped and not finished.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            if self.may_publish() {
                work.as_mut().poll(context).map(Some)
            } else {
                Poll::Ready(None)
            }
        })
        .await
    }

    fn change(&self, change: impl FnOnce(&mut LeaseState)) {
        change(&mut lock(&self.shared.state));
        self.shared.changed.send_modify(|version| *version += 1);
    }
}

/// No code that panics runs under these locks, so a poisoned one is still consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> (Lease, PauseWatch) {
        let pause = PauseWatch::default();
        (Lease::granted(1, Instant::now(), pause.clone()), pause)
    }

    async fn pass(pause: &PauseWatch, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::advance(TICK).await;
            pause.tick();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_without_publisher_ends_8_s_after_its_last_renewal() {
        let (lease, pause) = lease();
        assert!(lease.may_publish());
        pass(&pause, Duration::from_millis(7500)).await;
        assert!(lease.may_publish());
        pass(&pause, Duration::from_secs(1)).await;
        assert!(!lease.may_publish());
        lease.renewed(Instant::now());
        assert!(lease.may_publish());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connected_publisher_keeps_the_lease_while_the_authority_is_away() {
        let (lease, pause) = lease();
        lease.publisher_connected(true);
        pass(&pause, Duration::from_mins(1)).await;
        assert!(lease.may_publish());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_nothing_is_written_before_a_renewal_that_began_after_it() {
        let (lease, pause) = lease();
        lease.publisher_connected(true);
        let before_pause = Instant::now();
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(!lease.may_publish(), "also before the ticker ran");
        pause.tick();
        lease.renewed(before_pause);
        assert!(
            !lease.may_publish(),
            "that answer may be older than the pause"
        );
        lease.renewed(Instant::now());
        assert!(lease.may_publish());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_only_the_wall_clock_saw_is_a_pause() {
        let (lease, pause) = lease();
        lease.publisher_connected(true);
        tokio::time::advance(TICK).await;
        let frozen_machine = SystemTime::now() + Duration::from_mins(1);
        assert!(pause.tick_at(Instant::now(), frozen_machine));
        assert!(!lease.may_publish());
        lease.renewed(Instant::now());
        assert!(lease.may_publish());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_back_is_no_pause() {
        let pause = PauseWatch::default();
        let set_back = SystemTime::now() - Duration::from_hours(1);
        assert!(!pause.tick_at(Instant::now(), set_back));
        assert!(!pause.tick_at(Instant::now(), set_back + TICK));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_a_pause_interrupted_is_not_finished() {
        let (lease, _pause) = lease();
        lease.publisher_connected(true);
        let done = lease
            .guard(async {
                tokio::task::yield_now().await;
                // SIGSTOP … SIGCONT.
                tokio::time::advance(Duration::from_secs(15)).await;
                tokio::task::yield_now().await;
                "written"
            })
            .await;
        assert_eq!(done, None);
        lease.renewed(Instant::now());
        assert_eq!(lease.guard(async { "written" }).await, Some("written"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_superseded_lease_never_comes_back() {
        let (lease, _pause) = lease();
        lease.publisher_connected(true);
        lease.supersede();
        lease.renewed(Instant::now());
        assert!(!lease.may_publish());
        assert_eq!(lease.permit().await, Err(Superseded));
    }
}
