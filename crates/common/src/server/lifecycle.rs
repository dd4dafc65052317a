//! The life of a process: its long-running tasks, and the two steps of its end.
//!
//! Every task is tracked, so that the process waits for it when it drains, and so that a task
//! that dies is noticed: a service whose outbox relay is gone looks healthy and is not.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handle on the life of the process; a cheap clone.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
    dead: Arc<OnceLock<&'static str>>,
}

impl Lifecycle {
    /// A life of its own, for tests; a service takes [`super::Service::lifecycle`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process begins to drain: take nothing new, finish what runs.
    pub fn token(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled when the grace is over: drop everything.
    pub fn hard_token(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Begin to drain, as SIGTERM does.
    pub fn shutdown(&self) {
        self.soft.cancel();
    }

    /// Run a task that lasts as long as the process and ends by itself soon after
    /// [`Self::token`]. If it ends earlier or panics, that is logged as an error and the process
    /// drains and exits with a failure, for its supervisor to start it afresh.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let life = self.clone();
        self.tracker.spawn(async move {
            let ended = tokio::select! {
                ended = AssertUnwindSafe(task).catch_unwind() => ended,
                () = life.hard.cancelled() => {
                    tracing::warn!(task = name, "task did not end within the grace");
                    return;
                }
            };
            if let Err(panic) = &ended {
                tracing::error!(
                    task = name,
                    panic = panic_text(panic.as_ref()),
                    "task panicked"
                );
            } else if !life.soft.is_cancelled() {
                tracing::error!(task = name, "task ended before the process");
            } else {
                return;
            }
            let _ = life.dead.set(name);
            life.shutdown();
        });
    }

    /// Run a task that may end at any time (a session, a job) but that the drain waits for. A
    /// panic is logged and ends nothing else.
    pub fn spawn_job<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let hard = self.hard.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                ended = AssertUnwindSafe(task).catch_unwind() => {
                    if let Err(panic) = ended {
                        let panic = panic_text(panic.as_ref());
                        tracing::error!(task = name, panic, "task panicked");
                    }
                }
                () = hard.cancelled() => {
                    tracing::warn!(task = name, "task did not end within the grace");
                }
            }
        });
    }

    /// Drain: cancel the soft token, wait for all tasks, at most `grace`; then drop them.
    pub async fn drain(&self, grace: Duration) {
        self.soft.cancel();
        self.tracker.close();
        if timeout(grace, self.tracker.wait()).await.is_err() {
            self.hard.cancel();
            // What holds a thread without awaiting cannot be dropped; the process ends anyway.
            let _ = timeout(Duration::from_secs(1), self.tracker.wait()).await;
        }
    }

    /// The task whose death ended the process, if one did.
    pub fn dead_task(&self) -> Option<&'static str> {
        self.dead.get().copied()
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_ends_the_process() {
        let life = Lifecycle::new();
        life.spawn("relay", async { panic!("out of luck") });
        life.token().cancelled().await;
        assert_eq!(life.dead_task(), Some("relay"));
    }

    #[tokio::test]
    async fn a_task_that_ends_early_ends_the_process() {
        let life = Lifecycle::new();
        life.spawn("relay", async {});
        life.token().cancelled().await;
        assert_eq!(life.dead_task(), Some("relay"));
    }

    #[tokio::test]
    async fn a_job_may_end_or_panic_without_ending_the_process() {
        let life = Lifecycle::new();
        life.spawn_job("session", async {});
        life.spawn_job("session", async { panic!("bad input") });
        life.tracker.close();
        life.tracker.wait().await;
        assert!(!life.token().is_cancelled());
        assert_eq!(life.dead_task(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_drain_waits_for_tasks_that_finish() {
        let life = Lifecycle::new();
        let finished = Arc::new(AtomicBool::new(false));
        let (token, flag) = (life.token(), finished.clone());
        life.spawn("uploader", async move {
            token.cancelled().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            flag.store(true, Ordering::SeqCst);
        });
        life.drain(Duration::from_secs(20)).await;
        assert!(finished.load(Ordering::SeqCst));
        assert_eq!(life.dead_task(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_drain_ends_with_the_grace_though_a_task_does_not() {
        let life = Lifecycle::new();
        life.spawn("stuck", pending());
        life.spawn_job("stuck too", pending());
        life.drain(Duration::from_secs(20)).await;
        assert!(life.hard_token().is_cancelled());
        assert!(life.tracker.is_empty());
    }
}
