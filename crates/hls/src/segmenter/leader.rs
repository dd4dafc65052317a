//! The rung that decides where all rungs are cut.

use super::{
    CutSegment, MOST_BYTES, PartTarget, SegmentEvent,
    open::{OpenSegment, TableWriter},
    track::{Stamp, Track, Unit},
};
use crate::{
    RecentGops, Rung,
    ts::{Packet, PacketKind, Reader},
};

/// How long a segment of sound alone gets.
const AUDIO_SEGMENT: i64 = 2 * 90_000;
/// A distance between two cuts that is no duration but a jump within one era.
const LONGEST_DURATION: i64 = 60 * 90_000;

/// A segment begins here, in all rungs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub index: u64,
    pub at: Stamp,
    /// The duration of the segment that ends here.
    pub closes: i64,
    /// How much earlier another rung's keyframe may be: nearer to this keyframe than to the one
    /// before it.
    pub early: i64,
    /// The duration of the part that ends here.
    pub closes_part: i64,
}

/// A part that is not its segment's last ends here, in all rungs.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartCut {
    /// Of the segment.
    pub index: u64,
    /// Where the next part begins, by [`Unit::clock`].
    pub at: Stamp,
    /// The duration of the part that ends here.
    pub closes: i64,
}

/// What the leader decided, each in order.
#[derive(Default)]
pub(super) struct Marks {
    pub cuts: Vec<Cut>,
    pub parts: Vec<PartCut>,
}

/// How far the leader has decided.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    /// Whether a frame at some moment is the start of a segment is certain up to here.
    pub at: Option<Stamp>,
    /// Whether a frame is the start of a part is certain up to here, by [`Unit::clock`].
    pub clock: Option<Stamp>,
}

impl Reach {
    pub const END: Self = Self {
        at: Some(Stamp::END),
        clock: Some(Stamp::END),
    };
}

pub(super) struct Leader {
    pub rung: Rung,
    reader: Reader,
    lane: Lane,
}

impl Leader {
    pub fn new(rung: Rung, max_segment: i64, part_target: PartTarget) -> Self {
        let lane = Lane {
            rung,
            max_segment,
            part_target,
            track: Track::new(rung),
            tables: TableWriter::default(),
            open: None,
            start: Stamp { era: 0, pts: 0 },
            part_start: Stamp { era: 0, pts: 0 },
            last_key: Stamp { era: 0, pts: 0 },
            gops: RecentGops::default(),
            reach: Reach::default(),
            next_index: 0,
        };
        Self {
            rung,
            reader: Reader::new(),
            lane,
        }
    }

    pub fn push(&mut self, bytes: &[u8], marks: &mut Marks, out: &mut Vec<SegmentEvent>) {
        self.reader
            .push(bytes, &mut |packet| self.lane.packet(packet, marks, out));
    }

    /// Ends the last segment; the cut that ends it in the other rungs.
    pub fn finish(&mut self, out: &mut Vec<SegmentEvent>) -> Option<Cut> {
        self.lane.finish(out)
    }

    pub fn track(&self) -> &Track {
        &self.lane.track
    }

    pub fn reach(&self) -> Reach {
        self.lane.reach
    }
}

struct Lane {
    rung: Rung,
    max_segment: i64,
    part_target: PartTarget,
    track: Track,
    tables: TableWriter,
    open: Option<OpenSegment>,
    start: Stamp,
    part_start: Stamp,
    last_key: Stamp,
    gops: RecentGops,
    reach: Reach,
    next_index: u64,
}

impl Lane {
    fn packet(&mut self, packet: &Packet<'_>, marks: &mut Marks, out: &mut Vec<SegmentEvent>) {
        if packet.kind == PacketKind::Psi {
            return;
        }
        if let Some(unit) = self.track.unit(packet) {
            self.unit(&unit, marks, out);
        }
        let Some(open) = &mut self.open else {
            return;
        };
        open.append(packet.bytes, &mut self.tables);
        if open.bytes.len() > MOST_BYTES {
            open.give_up();
            out.push(SegmentEvent::TooFarAhead { rung: self.rung });
        }
    }

    fn unit(&mut self, unit: &Unit, marks: &mut Marks, out: &mut Vec<SegmentEvent>) {
        self.reach.at = self.reach.at.max(Some(unit.at));
        self.reach.clock = self.reach.clock.max(Some(unit.clock));
        let mut is_cut = false;
        if unit.key.is_some() {
            if let Some(gop) = unit.at.since(self.last_key).filter(|_| self.open.is_some()) {
                self.gops.ended(gop);
            }
            is_cut = self.is_cut(unit.at);
        }
        if is_cut {
            self.cut(unit, marks, out);
        } else if self.is_part_full(unit.clock) {
            self.cut_part(unit.clock, marks, out);
        }
        if unit.key.is_some() {
            self.last_key = unit.at;
        }
        if let Some(open) = &mut self.open {
            open.begin_frame(unit.key.is_some());
        }
    }

    /// Ends the open segment and begins the next with this keyframe.
    fn cut(&mut self, unit: &Unit, marks: &mut Marks, out: &mut Vec<SegmentEvent>) {
        let Some(tables) = &unit.key else { return };
        let closes = self.duration(unit.at);
        let closes_part = self.part_duration(Some(unit.clock), true);
        let former = self.close(closes, closes_part, out);
        let index = self.next_index;
        self.next_index += 1;
        self.open = Some(OpenSegment::new(index, former, tables));
        self.start = unit.at;
        self.part_start = unit.clock;
        let former_key = unit.at.since(self.last_key).filter(|_| index > 0);
        marks.cuts.push(Cut {
            index,
            at: unit.at,
            closes,
            early: former_key.map_or(i64::MAX, |gop| gop.max(0) / 2),
            closes_part,
        });
    }

    /// Ends the part before the frame at `clock`.
    fn cut_part(&mut self, clock: Stamp, marks: &mut Marks, out: &mut Vec<SegmentEvent>) {
        let closes = self.part_duration(Some(clock), false);
        let Some(open) = &mut self.open else { return };
        let part = open.end_part(self.rung, self.start.pts, closes);
        marks.parts.push(PartCut {
            index: part.index,
            at: clock,
            closes,
        });
        out.push(SegmentEvent::Part(part));
        self.part_start = clock;
    }

    fn is_part_full(&self, clock: Stamp) -> bool {
        self.open.is_some()
            && clock.since(self.part_start).is_none_or(|elapsed| {
                elapsed < 0 || self.part_target.is_full(elapsed, self.track.frame())
            })
    }

    /// What is announced of the open part if it ends at `end`; unknown after a jump, or at the end
    /// of all, where its frames are counted.
    fn part_duration(&self, end: Option<Stamp>, is_last: bool) -> i64 {
        let Some(open) = &self.open else { return 0 };
        let counted = i64::from(open.part_frames()).saturating_mul(self.track.frame().max(1));
        let ticks = end
            .and_then(|end| end.since(self.part_start))
            .filter(|ticks| *ticks > 0)
            .unwrap_or(counted);
        let may_be_short = is_last || open.part_has_keyframe();
        self.part_target.announced(ticks, may_be_short)
    }

    /// Cut at this keyframe, if waiting for the next one would make the segment too long.
    fn is_cut(&self, at: Stamp) -> bool {
        let Some(open) = &self.open else {
            return true;
        };
        let (Some(elapsed), Some(_)) = (at.since(self.start), at.since(self.last_key)) else {
            return true;
        };
        if open.is_missing || elapsed < 0 {
            return true;
        }
        if self.track.cuts_by_time() {
            return elapsed >= AUDIO_SEGMENT;
        }
        self.gops.must_cut(elapsed, self.max_segment)
    }

    /// How long the open segment is if it ends at `end`. Across a jump the times tell nothing, so
    /// its frames are counted.
    fn duration(&self, end: Stamp) -> i64 {
        let frames = self.open.as_ref().map_or(0, |open| i64::from(open.frames));
        end.since(self.start)
            .filter(|ticks| (1..=LONGEST_DURATION).contains(ticks))
            .unwrap_or_else(|| frames.saturating_mul(self.track.frame().max(1)))
    }

    /// Emits the open segment, its last part first, and returns its size.
    fn close(&mut self, duration: i64, last_part: i64, out: &mut Vec<SegmentEvent>) -> usize {
        let Some(mut open) = self.open.take() else {
            return 0;
        };
        let former = open.bytes.len();
        let part = open.end_part(self.rung, self.start.pts, last_part);
        out.push(SegmentEvent::Part(part));
        out.push(segment_event(self.rung, open, self.start.pts, duration));
        former
    }

    fn finish(&mut self, out: &mut Vec<SegmentEvent>) -> Option<Cut> {
        let end = self.reach.at?.plus(self.track.frame());
        let closes = self.duration(end);
        self.open.as_ref()?;
        let closes_part = self.part_duration(None, true);
        self.close(closes, closes_part, out);
        Some(Cut {
            index: self.next_index,
            at: Stamp::END,
            closes,
            early: 0,
            closes_part,
        })
    }
}

/// What became of a segment that ends.
pub(super) fn segment_event(
    rung: Rung,
    open: OpenSegment,
    start_pts: i64,
    duration: i64,
) -> SegmentEvent {
    let index = open.index;
    if open.is_missing {
        return SegmentEvent::Missing {
            rung,
            index,
            start_pts,
            duration,
        };
    }
    let frames = open.frames;
    SegmentEvent::Segment(CutSegment {
        rung,
        index,
        start_pts,
        duration,
        bytes: open.into_bytes(),
        frames,
    })
}
