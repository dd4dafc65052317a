//! One run's numbers and dates: the leader's cuts decide them for all rungs.

use std::collections::BTreeMap;

use marquee_hls::{CutPart, Rung, SegmentName};

use super::super::{BroadcastNumbers, bandwidth::Bandwidth};

/// Duration of a number whose parts were shown and that never became whole.
const SHOWN_GAP_MS: u32 = 100;

/// How a run begins.
pub struct RunStart {
    /// Goes into the names.
    pub epoch: u64,
    /// Unix ms at which the run's first keyframe came: its dates count from here by PTS.
    pub first_frame_ms: i64,
    /// Whether its first keyframe follows the last run's end in the source, whenever it came.
    pub continues: bool,
    /// The rung that decides the cuts.
    pub leader: Rung,
    /// What each rung announces.
    pub bandwidths: BTreeMap<Rung, Bandwidth>,
    /// Whether the run may yet be made again from its start, as long as its first segment grows: the
    /// parts of that one are not shown before it is whole.
    pub is_on_trial: bool,
}

pub(super) struct Run {
    pub epoch: u64,
    pub base_msn: u64,
    pub discontinuous: bool,
    /// Whether its discontinuity was counted: a run that cut nothing has none.
    pub counted: bool,
    pub leader: Rung,
    /// Unix ms of the first frame, and its PTS once known.
    pub anchor_ms: i64,
    pub anchor_pts: Option<i64>,
    /// `(start_ms, duration_ms)` of each number, by the leader's clock.
    pub cuts: BTreeMap<u64, (i64, u32)>,
    /// Parts that are not shown yet.
    pub on_trial: Option<Vec<CutPart>>,
    /// The newest number of which parts were shown.
    pub shown: Option<u64>,
}

impl Run {
    /// Unix ms of a presentation time; the first one asked for is the run's first frame's.
    fn ms_of(&mut self, pts: i64) -> i64 {
        let anchor_pts = *self.anchor_pts.get_or_insert(pts);
        self.anchor_ms + (pts - anchor_pts).div_euclid(90)
    }

    /// What is known of the name of a segment that is not whole: all but its duration.
    pub fn opening_name(&mut self, numbers: BroadcastNumbers, part: &CutPart) -> SegmentName {
        let start_ms = self.ms_of(part.segment_start_pts);
        self.assemble(numbers, part.rung, part.index, start_ms, 0)
    }

    /// The run has a number: the first one counts its discontinuity.
    pub fn count(&mut self, begun: &mut bool, discontinuity_seq: &mut u64) {
        if !std::mem::replace(&mut self.counted, true) {
            *begun = true;
            *discontinuity_seq += u64::from(self.discontinuous);
        }
    }

    /// A number whose parts were shown, and that the next run makes again, is not used twice: it
    /// becomes a gap, as short as can be, because its time is that of the next one. Tells whether
    /// there is one.
    pub fn close_shown(&mut self) -> bool {
        let Some(shown) = self.shown else {
            return false;
        };
        let last = self
            .cuts
            .last_key_value()
            .map(|(index, cut)| (*index, *cut));
        let end_ms = match last {
            Some((index, _)) if index >= shown => return false,
            Some((_, (start_ms, duration_ms))) => start_ms + i64::from(duration_ms),
            None => self.anchor_ms,
        };
        self.cuts.insert(shown, (end_ms, SHOWN_GAP_MS));
        true
    }

    /// The name of the segment `index`. The leader's cut dates it for all rungs.
    pub fn name(
        &mut self,
        numbers: BroadcastNumbers,
        rung: Rung,
        index: u64,
        start_pts: i64,
        duration: i64,
    ) -> SegmentName {
        let start_ms = self.ms_of(start_pts);
        let end_ms = self.ms_of(start_pts + duration);
        let by_own_clock = (start_ms, u32::try_from(end_ms - start_ms).unwrap_or(0));
        let (start_ms, duration_ms) = if rung == self.leader {
            self.cuts.insert(index, by_own_clock);
            by_own_clock
        } else {
            *self.cuts.entry(index).or_insert(by_own_clock)
        };
        self.assemble(numbers, rung, index, start_ms, duration_ms)
    }

    pub fn known_name(
        &self,
        numbers: BroadcastNumbers,
        rung: Rung,
        index: u64,
    ) -> Option<SegmentName> {
        let (start_ms, duration_ms) = *self.cuts.get(&index)?;
        Some(self.assemble(numbers, rung, index, start_ms, duration_ms))
    }

    fn assemble(
        &self,
        numbers: BroadcastNumbers,
        rung: Rung,
        index: u64,
        start_ms: i64,
        duration_ms: u32,
    ) -> SegmentName {
        SegmentName {
            rung,
            broadcast: numbers.broadcast,
            epoch: self.epoch,
            msn: self.base_msn + index,
            start_ms,
            duration_ms,
            discontinuity: self.discontinuous && index == 0,
        }
    }
}
