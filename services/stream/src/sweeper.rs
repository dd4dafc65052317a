//! What must happen although nobody calls: silent broadcasts end, keys expire, ended broadcasts
//! get their ENDLIST.
//!
//! Every instance sweeps; row locks keep them apart.

use std::time::Duration;

use futures::future::join_all;
use marquee_common::error_chain;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    store::{Store, Unfinalized},
    transcoders::Transcoders,
};

/// Time between two sweeps.
const INTERVAL: Duration = Duration::from_secs(1);
/// Sweeps further apart than this mean that this process was stopped meanwhile: it may have
/// renewals to read that came in time.
const LONGEST_GAP: Duration = Duration::from_secs(10);
/// Broadcasts finalized in one round.
const FINALIZE_MOST: i64 = 16;
/// Rounds of finalizing at once: the next begin while slow transcoders still work on the last.
const FINALIZE_ROUNDS: usize = 4;
/// Sweeps between two rounds of forgetting.
const PRUNE_EVERY: u32 = 60;

/// The periodic work.
#[derive(Clone)]
pub struct Sweeper {
    store: Store,
    transcoders: Transcoders,
}

impl Sweeper {
    /// Sweeps `store`, asks `transcoders`.
    pub fn new(store: Store, transcoders: Transcoders) -> Self {
        Self { store, transcoders }
    }

    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut attention = Attention::new(Instant::now());
        let mut failing = false;
        // Dropped, and so ended, with this task.
        let mut finalizing = JoinSet::new();
        for round in 0_u32.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let listening = attention.listening(Instant::now());
            let swept = self
                .sweep(listening, round.is_multiple_of(PRUNE_EVERY))
                .await;
            if let Err(error) = &swept {
                attention.lost(Instant::now());
                if !failing {
                    tracing::warn!(error = error_chain(error), "sweeping fails");
                }
            }
            failing = swept.is_err();
            while finalizing.try_join_next().is_some() {}
            if !failing && finalizing.len() < FINALIZE_ROUNDS {
                let sweeper = self.clone();
                finalizing.spawn(async move {
                    if let Err(error) = sweeper.finalize().await {
                        tracing::warn!(error = error_chain(&error), "finalizing fails");
                    }
                });
            }
        }
    }

    /// One sweep of an instance that has been listening for `listening`. It only waits for the
    /// database; [`Self::finalize`], which waits for transcoders, goes on beside it.
    pub async fn sweep(&self, listening: Duration, prune: bool) -> Result<(), Error> {
        let silent = self.store.end_silent(listening).await?;
        metrics::counter!("stream_broadcasts_silent_total").increment(silent);
        self.store.expire_keys().await?;
        if prune {
            self.store.prune().await?;
        }
        let running = self.store.count_running().await?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge of a few thousand at most"
        )]
        metrics::gauge!("stream_broadcasts_running").set(running as f64);
        Ok(())
    }

    /// Hands ended broadcasts whose holder is gone to transcoders that live.
    pub async fn finalize(&self) -> Result<(), Error> {
        let alive = self.store.list_live_transcoders().await?;
        if alive.is_empty() {
            // Nobody could do it; nothing is claimed, so it happens as soon as somebody can.
            return Ok(());
        }
        let due = self.store.claim_unfinalized(FINALIZE_MOST).await?;
        let calls = due
            .iter()
            .zip(alive.iter().cycle())
            .map(|(broadcast, transcoder)| self.finalize_at(transcoder, broadcast));
        join_all(calls).await.into_iter().collect()
    }

    async fn finalize_at(&self, transcoder: &str, broadcast: &Unfinalized) -> Result<(), Error> {
        let (stream_id, broadcast_id) = (broadcast.stream_id, broadcast.request.broadcast_id);
        let asked = self
            .transcoders
            .finalize(transcoder, stream_id, &broadcast.request)
            .await;
        let outcome = if asked.is_ok() { "accepted" } else { "failed" };
        metrics::counter!("stream_finalize_total", "outcome" => outcome).increment(1);
        match asked {
            Ok(()) => {
                tracing::info!(%stream_id, %broadcast_id, transcoder, "broadcast handed on to finalize");
                self.store.mark_finalized(broadcast_id).await
            }
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(%stream_id, %broadcast_id, transcoder, error, "finalize failed; it is asked for again");
                Ok(())
            }
        }
    }
}

/// Since when this instance could hear the transcoders: since its start, since it last lost the
/// database, since it was last stopped, whichever is latest. Silence before that proves nothing.
#[derive(Debug)]
struct Attention {
    since: Instant,
    last: Instant,
}

impl Attention {
    const fn new(now: Instant) -> Self {
        Self {
            since: now,
            last: now,
        }
    }

    fn listening(&mut self, now: Instant) -> Duration {
        if now.duration_since(self.last) > LONGEST_GAP {
            self.since = now;
        }
        self.last = now;
        now.duration_since(self.since)
    }

    const fn lost(&mut self, now: Instant) {
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn attention_counts_from_the_start() {
        let start = Instant::now();
        let mut attention = Attention::new(start);
        for seconds in 1..60 {
            assert_eq!(
                attention.listening(start + SECOND * seconds),
                SECOND * seconds
            );
        }
    }

    #[test]
    fn a_lost_database_and_a_stopped_process_begin_it_anew() {
        let start = Instant::now();
        let mut attention = Attention::new(start);
        assert_eq!(attention.listening(start + SECOND * 5), SECOND * 5);
        attention.lost(start + SECOND * 5);
        assert_eq!(attention.listening(start + SECOND * 6), SECOND);
        assert_eq!(attention.listening(start + SECOND * 30), Duration::ZERO);
        assert_eq!(attention.listening(start + SECOND * 31), SECOND);
    }
}
