//! Cuts the pipes of one encoder run into segments that are aligned over all rungs.
//!
//! One rung leads: it is cut at a keyframe when waiting for the next would make the segment too
//! long, or by time where there is only sound. The others are cut at their keyframe with the same
//! presentation time, give or take a frame. A segment is its parts one after the other, of some frames
//! each, the same in all rungs. A part begins with the program tables, numbered by us so that their
//! counters run on, followed by the packets of the pipe as they came; the encoder's own tables are
//! dropped.
//!
//! - Numbers, start times and durations are the leader's, in every rung. The leader's event for a
//!   number comes before that of any other rung.
//! - A part is told as soon as it is whole, a segment after the last of its parts.
//! - A duration is the distance to the next cut. Across a jump of the clock it is counted in frames,
//!   and the next start time shows the jump.
//! - A rung without a keyframe at a cut lacks that number: the segment before ends there, and what
//!   follows is dropped up to the next cut that has a keyframe.
//! - What one rung can hold back is bounded; past that it gives up for the rest of the run.

mod follower;
mod leader;
mod open;
mod part;
mod rate;
mod track;

use bytes::Bytes;

use crate::Rung;
use follower::Follower;
use leader::{Leader, Marks};

pub use part::PartTarget;

/// Bytes a rung may hold back, and that a segment may have: 16 s of the highest bit rate.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Cuts a rung may be behind the leader: two hours.
const MOST_CUTS_BEHIND: usize = 4096;
/// Parts a rung may be behind the leader.
const MOST_PARTS_BEHIND: usize = 16 * MOST_CUTS_BEHIND;
const MAX_SEGMENT: i64 = 216_000;

/// The rungs of a run and how they are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmenterConfig {
    /// All rungs, the leader among them.
    pub rungs: Vec<Rung>,
    /// The rung that decides.
    pub leader: Rung,
    /// What a segment may last in 90 kHz ticks, where keyframes allow it.
    pub max_segment: i64,
    /// What a part may last.
    pub part_target: PartTarget,
}

impl SegmenterConfig {
    /// Segments of at most 2.4 s, which a player's target duration of 2 s still covers.
    pub fn new(rungs: Vec<Rung>, leader: Rung, part_target: PartTarget) -> Self {
        Self {
            rungs,
            leader,
            max_segment: MAX_SEGMENT,
            part_target,
        }
    }
}

/// What was measured of a rendition, for the master playlist.
#[derive(Clone, Debug, PartialEq)]
pub struct RenditionParams {
    /// For example `avc1.64001f,mp4a.40.2`.
    pub codecs: String,
    /// Width and height to show; absent for sound alone.
    pub resolution: Option<(u32, u32)>,
    /// Frames a second, once there are two; absent for sound alone.
    pub frame_rate: Option<f64>,
    /// Whether the program has sound.
    pub has_audio: bool,
}

/// A whole segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutSegment {
    /// Its rung.
    pub rung: Rung,
    /// Its number in this run: from 0, the same in all rungs.
    pub index: u64,
    /// When it starts in 90 kHz ticks, by the leader.
    pub start_pts: i64,
    /// How long it lasts in 90 kHz ticks, by the leader.
    pub duration: i64,
    /// Transport stream that begins with the program tables and a keyframe.
    pub bytes: Bytes,
    /// Frames in it: pictures, or frames of sound in a rung of sound alone.
    pub frames: u32,
}

/// A part of a segment that may still be growing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutPart {
    /// Its rung.
    pub rung: Rung,
    /// The number of its segment in this run.
    pub index: u64,
    /// Its number in the segment: from 0, the same in all rungs.
    pub part: u32,
    /// When its segment starts in 90 kHz ticks, by the leader.
    pub segment_start_pts: i64,
    /// How long it lasts in 90 kHz ticks, by the leader; see [`PartTarget`] for its bounds.
    pub duration: i64,
    /// Whether a decoder can begin in it.
    pub independent: bool,
    /// Transport stream that begins with the program tables; empty when the rung has nothing here.
    pub bytes: Bytes,
}

/// What the segmenter found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentEvent {
    /// A part is whole.
    Part(CutPart),
    /// A segment is whole: its parts' bytes, one after the other.
    Segment(CutSegment),
    /// A rung has nothing for this number.
    Missing {
        /// The rung.
        rung: Rung,
        /// The number.
        index: u64,
        /// When it would start.
        start_pts: i64,
        /// How long it would last.
        duration: i64,
    },
    /// Two numbers in a row are missing: the encoder should be started anew. Told once a run.
    LostAlignment {
        /// The rung that lost it.
        rung: Rung,
    },
    /// A rung had to hold back, or to put into one segment, more than is allowed. It is to be
    /// treated like [`Self::LostAlignment`]; a rung that is not the leader stays missing.
    TooFarAhead {
        /// The rung.
        rung: Rung,
    },
}

/// Cuts all rungs of one encoder run.
pub struct LadderSegmenter {
    leader: Leader,
    followers: Vec<Follower>,
    is_finished: bool,
}

impl LadderSegmenter {
    /// A segmenter for a run that has not begun.
    pub fn new(config: SegmenterConfig) -> Self {
        let SegmenterConfig {
            mut rungs,
            leader,
            max_segment,
            part_target,
        } = config;
        rungs.sort_unstable();
        rungs.dedup();
        rungs.retain(|&rung| rung != leader);
        Self {
            leader: Leader::new(leader, max_segment, part_target),
            followers: rungs.into_iter().map(Follower::new).collect(),
            is_finished: false,
        }
    }

    /// Takes bytes from a rung's pipe, cut anywhere. Those of a rung that is not of this run, or
    /// after the end, are ignored.
    pub fn push(&mut self, rung: Rung, bytes: &[u8], out: &mut Vec<SegmentEvent>) {
        if self.is_finished {
            return;
        }
        if rung == self.leader.rung {
            self.lead(bytes, out);
        } else if let Some(follower) = self.followers.iter_mut().find(|one| one.rung == rung) {
            follower.push(bytes, out);
        }
    }

    /// All pipes are at their end: the last segments are cut, with the same boundaries in all rungs.
    pub fn finish(&mut self, out: &mut Vec<SegmentEvent>) {
        if self.is_finished {
            return;
        }
        self.is_finished = true;
        if let Some(end) = self.leader.finish(out) {
            for follower in &mut self.followers {
                follower.finish(end, out);
            }
        }
    }

    /// What is known of a rendition: all of it, but maybe the frame rate, once it has a segment.
    pub fn params(&self, rung: Rung) -> Option<RenditionParams> {
        if rung == self.leader.rung {
            return self.leader.track().params();
        }
        self.followers
            .iter()
            .find(|one| one.rung == rung)?
            .track()
            .params()
    }

    fn lead(&mut self, bytes: &[u8], out: &mut Vec<SegmentEvent>) {
        let mut marks = Marks::default();
        self.leader.push(bytes, &mut marks, out);
        for follower in &mut self.followers {
            follower.advance(&marks, self.leader.reach(), out);
        }
    }
}
