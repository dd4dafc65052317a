//! Brings one broadcast's segments to storage, oldest first, through outages.
//!
//! A segment is tried again with backoff: for [`MEMORY_TIME`] from memory, then from disk, until
//! [`GIVE_UP`]; past that, or past the bounds of both, it is lost and its number becomes a gap, so
//! that later ones never wait behind it for ever. [`Uploader::push`] never waits: it is called by
//! the tasks that empty ffmpeg's pipes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use marquee_common::{contract::StreamId, retry::Backoff};
use marquee_hls::SegmentName;
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    objects::{LiveObjects, SegmentBody, StorageError},
    spill::{Spill, SpilledSegment},
};

/// A segment that waited so long in memory goes to disk.
pub const MEMORY_TIME: Duration = Duration::from_mins(1);
/// A segment that waited so long is lost.
pub const GIVE_UP: Duration = Duration::from_mins(11);
/// PUTs under way at once: about one a rung.
const WORKERS: usize = 4;
/// How often waiting segments are looked at for [`MEMORY_TIME`] and [`GIVE_UP`].
const SWEEP: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Storage confirmed it.
    Stored,
    /// Storage is away, and it waits on disk.
    OnDisk,
    /// It is not stored and never will be.
    Lost,
}

/// Called once for each pushed segment that is stored or lost, and before that if it goes to disk.
pub type OnOutcome = dyn Fn(&SegmentName, Outcome) + Send + Sync;

/// One broadcast's upload queue; cheap to clone.
#[derive(Clone)]
pub struct Uploader {
    shared: Arc<Shared>,
}

struct Shared {
    stream_id: StreamId,
    objects: LiveObjects,
    spill: Spill,
    memory_limit: u64,
    queue: Mutex<Queue>,
    wake: Notify,
    on_outcome: Box<OnOutcome>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Queue {
    next_ticket: u64,
    jobs: BTreeMap<u64, Job>,
    memory_bytes: u64,
}

struct Job {
    name: SegmentName,
    body: Body,
    since: Instant,
    due: Instant,
    backoff: Backoff,
    under_way: bool,
}

enum Body {
    Memory(Bytes),
    Disk(SpilledSegment),
}

impl Uploader {
    /// Starts the workers; they end with `stop`.
    pub fn start(
        stream_id: StreamId,
        objects: LiveObjects,
        spill: Spill,
        memory_limit: u64,
        tasks: &TaskTracker,
        stop: CancellationToken,
        on_outcome: Box<OnOutcome>,
    ) -> Self {
        let uploader = Self {
            shared: Arc::new(Shared {
                stream_id,
                objects,
                spill,
                memory_limit,
                queue: Mutex::default(),
                wake: Notify::new(),
                on_outcome,
                stop,
            }),
        };
        for _ in 0..WORKERS {
            tasks.spawn(uploader.clone().work());
        }
        tasks.spawn(uploader.clone().sweep());
        uploader
    }

    /// Takes a segment on. Never waits; beyond twice the memory bound (the disk did not follow) the
    /// oldest waiting segment is lost.
    pub fn push(&self, name: SegmentName, bytes: Bytes) {
        let lost = {
            let mut queue = self.queue();
            queue.add(name, bytes);
            queue.shed(self.shared.memory_limit.saturating_mul(2))
        };
        for name in lost {
            self.report(&name, Outcome::Lost);
        }
        self.shared.wake.notify_waiters();
    }

    /// Age of the oldest segment that is not stored.
    pub fn behind(&self) -> Duration {
        self.queue()
            .jobs
            .values()
            .next()
            .map_or(Duration::ZERO, |job| job.since.elapsed())
    }

    /// Waits until nothing is left to store, at most for `limit`; tells whether that is so.
    pub async fn flush(&self, limit: Duration) -> bool {
        let empty = async {
            loop {
                let woken = self.shared.wake.notified();
                if self.queue().jobs.is_empty() {
                    return;
                }
                // Bounded, so that a wake-up between the look and the wait costs little.
                let _ = tokio::time::timeout(Duration::from_millis(200), woken).await;
            }
        };
        tokio::time::timeout(limit, empty).await.is_ok()
    }

    async fn work(self) {
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                (ticket, name, body) = self.next_due() => {
                    let attempt = self.attempt(ticket, name, body);
                    self.shared.stop.run_until_cancelled(attempt).await;
                }
            }
        }
    }

    async fn next_due(&self) -> (u64, SegmentName, SegmentBody) {
        loop {
            let woken = self.shared.wake.notified();
            let wait = match self.queue().take_due(Instant::now()) {
                Ok(job) => return job,
                Err(wait) => wait.min(SWEEP),
            };
            let _ = tokio::time::timeout(wait, woken).await;
        }
    }

    async fn attempt(&self, ticket: u64, name: SegmentName, body: SegmentBody) {
        let key = self.key(&name);
        let started = Instant::now();
        match self.shared.objects.put_segment(&key, body).await {
            Ok(()) => {
                metrics::histogram!("transcoder_segment_put_seconds")
                    .record(started.elapsed().as_secs_f64());
                // Listed first: whoever sees the queue empty finds the segment in its timeline.
                self.report(&name, Outcome::Stored);
                self.queue().discard(ticket);
                self.shared.wake.notify_waiters();
            }
            Err(error @ StorageError::Empty { .. }) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a segment is lost"
                );
                self.report(&name, Outcome::Lost);
                self.queue().discard(ticket);
            }
            Err(error) => {
                metrics::counter!("transcoder_segment_put_failures_total").increment(1);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a segment waits for storage"
                );
                self.queue().retry_later(ticket);
            }
        }
    }

    /// Moves what waited long, or does not fit, to disk; gives up what waited too long.
    async fn sweep(self) {
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return self.spill_all().await,
                () = tokio::time::sleep(SWEEP) => {}
            }
            let expired = self.queue().take_expired(Instant::now());
            for name in expired {
                tracing::error!(segment = %name, "storage was away too long; this segment is lost");
                self.report(&name, Outcome::Lost);
            }
            loop {
                let candidate = self
                    .queue()
                    .spill_candidate(Instant::now(), self.shared.memory_limit);
                let Some((ticket, name, bytes)) = candidate else {
                    break;
                };
                match self.shared.spill.store(&self.key(&name), &bytes).await {
                    Ok(file) => {
                        if self.queue().spilled(ticket, file) {
                            self.report(&name, Outcome::OnDisk);
                        }
                    }
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "a waiting segment stays in memory"
                        );
                        break;
                    }
                }
            }
        }
    }

    /// The process, or the session, ends before storage took everything: what is left goes to disk,
    /// and the next start stores it.
    async fn spill_all(&self) {
        let left = self.queue().in_memory();
        for (name, bytes) in left {
            if let Err(error) = self.shared.spill.store(&self.key(&name), &bytes).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    segment = %name,
                    "a segment that storage did not take is lost with this process"
                );
            }
        }
    }

    fn key(&self, name: &SegmentName) -> String {
        format!("{}/{name}", self.shared.stream_id)
    }

    fn report(&self, name: &SegmentName, outcome: Outcome) {
        if outcome == Outcome::Lost {
            metrics::counter!("transcoder_segments_lost_total").increment(1);
        }
        (self.shared.on_outcome)(name, outcome);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn add(&mut self, name: SegmentName, bytes: Bytes) {
        let now = Instant::now();
        self.memory_bytes += bytes.len() as u64;
        self.jobs.insert(
            self.next_ticket,
            Job {
                name,
                body: Body::Memory(bytes),
                since: now,
                due: now,
                backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
                under_way: false,
            },
        );
        self.next_ticket += 1;
    }

    /// The oldest job that may be tried now, or how long to wait for one.
    fn take_due(&mut self, now: Instant) -> Result<(u64, SegmentName, SegmentBody), Duration> {
        let mut wait = Duration::MAX;
        for (ticket, job) in &mut self.jobs {
            if job.under_way {
                continue;
            }
            if job.due <= now {
                job.under_way = true;
                let body = match &job.body {
                    Body::Memory(bytes) => SegmentBody::Memory(bytes.clone()),
                    Body::Disk(file) => SegmentBody::Disk(file.path().to_owned()),
                };
                return Ok((*ticket, job.name, body));
            }
            wait = wait.min(job.due - now);
        }
        Err(wait)
    }

    fn retry_later(&mut self, ticket: u64) {
        if let Some(job) = self.jobs.get_mut(&ticket) {
            job.under_way = false;
            job.due = Instant::now() + job.backoff.next().unwrap_or(LAST_RETRY);
        }
    }

    /// Forgets a job that is stored or lost; gives back its name.
    fn discard(&mut self, ticket: u64) -> Option<SegmentName> {
        let job = self.jobs.remove(&ticket)?;
        match job.body {
            Body::Memory(bytes) => self.memory_bytes -= bytes.len() as u64,
            Body::Disk(file) => file.remove(),
        }
        Some(job.name)
    }

    fn shed(&mut self, limit: u64) -> Vec<SegmentName> {
        let mut lost = Vec::new();
        while self.memory_bytes > limit {
            let oldest = self
                .jobs
                .iter()
                .find(|(_, job)| !job.under_way && matches!(job.body, Body::Memory(_)))
                .map(|(ticket, _)| *ticket);
            match oldest.and_then(|ticket| self.discard(ticket)) {
                Some(name) => lost.push(name),
                None => break,
            }
        }
        lost
    }

    fn take_expired(&mut self, now: Instant) -> Vec<SegmentName> {
        let expired: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| !job.under_way && now.duration_since(job.since) > GIVE_UP)
            .map(|(ticket, _)| *ticket)
            .collect();
        expired
            .into_iter()
            .filter_map(|ticket| self.discard(ticket))
            .collect()
    }

    fn spill_candidate(&self, now: Instant, limit: u64) -> Option<(u64, SegmentName, Bytes)> {
        let over = self.memory_bytes > limit;
        self.jobs.iter().find_map(|(ticket, job)| match &job.body {
            Body::Memory(bytes)
                if !job.under_way && (over || now.duration_since(job.since) > MEMORY_TIME) =>
            {
                Some((*ticket, job.name, bytes.clone()))
            }
            _ => None,
        })
    }

    fn in_memory(&self) -> Vec<(SegmentName, Bytes)> {
        let in_memory = self.jobs.values().filter_map(|job| match &job.body {
            Body::Memory(bytes) => Some((job.name, bytes.clone())),
            Body::Disk(_) => None,
        });
        in_memory.collect()
    }

    /// Puts a file in a segment's place; false if it was stored meanwhile.
    fn spilled(&mut self, ticket: u64, file: SpilledSegment) -> bool {
        let Some(job) = self.jobs.get_mut(&ticket) else {
            file.remove();
            return false;
        };
        if let Body::Memory(bytes) = std::mem::replace(&mut job.body, Body::Disk(file)) {
            self.memory_bytes -= bytes.len() as u64;
        }
        true
    }
}
