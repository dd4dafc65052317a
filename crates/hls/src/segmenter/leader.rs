//! The rung that decides where all rungs are cut.

use super::{
    CutSegment, MOST_BYTES, SegmentEvent,
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
}

pub(super) struct Leader {
    pub rung: Rung,
    reader: Reader,
    lane: Lane,
}

impl Leader {
    pub fn new(rung: Rung, max_segment: i64) -> Self {
        let lane = Lane {
            rung,
            max_segment,
            track: Track::new(rung),
            tables: TableWriter::default(),
            open: None,
            start: Stamp { era: 0, pts: 0 },
            last_key: Stamp { era: 0, pts: 0 },
            gops: RecentGops::default(),
            reach: None,
            next_index: 0,
        };
        Self {
            rung,
            reader: Reader::new(),
            lane,
        }
    }

    pub fn push(&mut self, bytes: &[u8], cuts: &mut Vec<Cut>, out: &mut Vec<SegmentEvent>) {
        self.reader
            .push(bytes, &mut |packet| self.lane.packet(packet, cuts, out));
    }

    /// Ends the last segment; the cut that ends it in the other rungs.
    pub fn finish(&mut self, out: &mut Vec<SegmentEvent>) -> Option<Cut> {
        self.lane.finish(out)
    }

    pub fn track(&self) -> &Track {
        &self.lane.track
    }

    /// Whether a frame at some moment is the start of a segment is certain up to here.
    pub fn reach(&self) -> Option<Stamp> {
        self.lane.reach
    }
}

struct Lane {
    rung: Rung,
    max_segment: i64,
    track: Track,
    tables: TableWriter,
    open: Option<OpenSegment>,
    start: Stamp,
    last_key: Stamp,
    gops: RecentGops,
    reach: Option<Stamp>,
    next_index: u64,
}

impl Lane {
    fn packet(&mut self, packet: &Packet<'_>, cuts: &mut Vec<Cut>, out: &mut Vec<SegmentEvent>) {
        if packet.kind == PacketKind::Psi {
            return;
        }
        if let Some(unit) = self.track.unit(packet) {
            self.unit(&unit, cuts, out);
        }
        let Some(open) = &mut self.open else {
            return;
        };
        open.append(packet.bytes);
        if open.bytes.len() > MOST_BYTES {
            open.give_up();
            out.push(SegmentEvent::TooFarAhead { rung: self.rung });
        }
    }

    fn unit(&mut self, unit: &Unit, cuts: &mut Vec<Cut>, out: &mut Vec<SegmentEvent>) {
        self.reach = self.reach.max(Some(unit.at));
        if let Some(tables) = &unit.key {
            if let Some(gop) = unit.at.since(self.last_key).filter(|_| self.open.is_some()) {
                self.gops.ended(gop);
            }
            if self.is_cut(unit.at) {
                let duration = self.duration(unit.at);
                let former = self.close(duration, out);
                let index = self.next_index;
                self.next_index += 1;
                self.open = Some(OpenSegment::new(index, former, tables, &mut self.tables));
                self.start = unit.at;
                let former_key = unit.at.since(self.last_key).filter(|_| index > 0);
                let early = former_key.map_or(i64::MAX, |gop| gop.max(0) / 2);
                cuts.push(Cut {
                    index,
                    at: unit.at,
                    closes: duration,
                    early,
                });
            }
            self.last_key = unit.at;
        }
        if let Some(open) = &mut self.open {
            open.frames = open.frames.saturating_add(1);
        }
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

    /// Emits the open segment and returns its size.
    fn close(&mut self, duration: i64, out: &mut Vec<SegmentEvent>) -> usize {
        let Some(open) = self.open.take() else {
            return 0;
        };
        let former = open.bytes.len();
        out.push(segment_event(self.rung, open, self.start.pts, duration));
        former
    }

    fn finish(&mut self, out: &mut Vec<SegmentEvent>) -> Option<Cut> {
        let end = self.reach?.plus(self.track.frame());
        let closes = self.duration(end);
        self.open.as_ref()?;
        self.close(closes, out);
        Some(Cut {
            index: self.next_index,
            at: Stamp::END,
            closes,
            early: 0,
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
