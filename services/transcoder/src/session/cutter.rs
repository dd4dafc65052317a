//! The sink of an encoder's pipes: cuts what comes out of each into segments and hands them to the
//! output. Called by the tasks that empty the pipes, so nothing here waits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use marquee_hls::{
    CutPart, CutSegment, LadderSegmenter, PartTarget, Rung, SegmentEvent, SegmenterConfig,
};
use tokio::{sync::watch, time::Instant};

use crate::output::RunOutput;

/// A rung whose last segment is so many behind the newest of any rung has stopped.
const MOST_BEHIND: u64 = 5;

/// Cuts one run.
#[derive(Clone)]
pub struct Cutter {
    state: Arc<Mutex<State>>,
    misaligned: watch::Sender<bool>,
}

struct State {
    segmenter: LadderSegmenter,
    output: RunOutput,
    events: Vec<SegmentEvent>,
    keep_below: u64,
    /// Number of the newest segment, or gap, of each rung.
    newest: BTreeMap<Rung, u64>,
    last_output: Instant,
}

impl Cutter {
    /// A cutter for a run that fills `rungs`; `leader` decides where all are cut.
    pub fn new(rungs: Vec<Rung>, leader: Rung, part_target: PartTarget, output: RunOutput) -> Self {
        let newest = rungs.iter().map(|rung| (*rung, 0)).collect();
        Self {
            state: Arc::new(Mutex::new(State {
                segmenter: LadderSegmenter::new(SegmenterConfig::new(rungs, leader, part_target)),
                output,
                events: Vec::new(),
                keep_below: u64::MAX,
                newest,
                last_output: Instant::now(),
            })),
            misaligned: watch::Sender::new(false),
        }
    }

    /// Takes what a rung's pipe gave.
    pub fn push(&self, rung: Rung, bytes: &[u8]) {
        let mut state = self.state();
        let state = &mut *state;
        state.last_output = Instant::now();
        state.segmenter.push(rung, bytes, &mut state.events);
        self.hand_over(state);
    }

    /// All pipes are at their end: cuts the last segments.
    pub fn finish(&self) {
        let mut state = self.state();
        let state = &mut *state;
        state.segmenter.finish(&mut state.events);
        self.hand_over(state);
        state.output.finish();
    }

    /// When any pipe last gave something.
    pub fn last_output(&self) -> Instant {
        self.state().last_output
    }

    /// Segments from this number on are dropped: the next run makes them again. None of them can
    /// have been cut yet.
    pub fn keep_below(&self, index: u64) {
        self.state().keep_below = index;
    }

    /// Turns true when the rungs no longer have their keyframes at the same places.
    pub fn misaligned(&self) -> watch::Receiver<bool> {
        self.misaligned.subscribe()
    }

    fn hand_over(&self, state: &mut State) {
        let keep_below = state.keep_below;
        for event in state.events.drain(..) {
            if let SegmentEvent::Segment(CutSegment { rung, index, .. })
            | SegmentEvent::Missing { rung, index, .. } = &event
            {
                state.newest.insert(*rung, *index);
                let slowest = state.newest.values().min().copied().unwrap_or(*index);
                if index.saturating_sub(slowest) > MOST_BEHIND {
                    tracing::error!(index, slowest, "a rung has stopped");
                    self.misaligned.send_replace(true);
                }
            }
            match &event {
                SegmentEvent::Part(CutPart { index, .. })
                | SegmentEvent::Segment(CutSegment { index, .. })
                | SegmentEvent::Missing { index, .. }
                    if *index >= keep_below =>
                {
                    continue;
                }
                SegmentEvent::Part(_) => {}
                SegmentEvent::Segment(cut) => {
                    // Known before the segment is listed: the master names only measured rungs.
                    if let Some(params) = state.segmenter.params(cut.rung) {
                        state.output.measured(cut.rung, params);
                    }
                }
                SegmentEvent::Missing { rung, index, .. } => {
                    tracing::warn!(%rung, index, "a rung has no keyframe where the ladder is cut");
                }
                SegmentEvent::LostAlignment { rung } | SegmentEvent::TooFarAhead { rung } => {
                    tracing::error!(%rung, "a rung is out of step with the ladder");
                    self.misaligned.send_replace(true);
                }
            }
            state.output.take(event);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
