//! A rung that is cut where the leader is.
//!
//! Its pipe may run ahead of the leader's or behind it. Frames whose place is not yet certain wait;
//! so the segments do not depend on how the pipes happen to be read.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use super::{
    MOST_BYTES, MOST_CUTS_BEHIND, MOST_PARTS_BEHIND, SegmentEvent,
    leader::{Cut, Marks, PartCut, Reach, segment_event},
    open::{OpenSegment, TableWriter},
    track::{Track, Unit},
};
use crate::{
    Rung,
    ts::{Packet, PacketKind, Reader},
};

pub(super) struct Follower {
    pub rung: Rung,
    reader: Reader,
    lane: Lane,
}

impl Follower {
    pub fn new(rung: Rung) -> Self {
        let lane = Lane {
            rung,
            track: Track::new(rung),
            tables: TableWriter::default(),
            cuts: VecDeque::new(),
            parts: VecDeque::new(),
            reach: Reach::default(),
            held: Held::default(),
            open: None,
            start_pts: 0,
            former: 0,
            missing_in_a_row: 0,
            is_reported: false,
            is_given_up: false,
        };
        Self {
            rung,
            reader: Reader::new(),
            lane,
        }
    }

    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<SegmentEvent>) {
        if !self.lane.is_given_up {
            self.reader
                .push(bytes, &mut |packet| self.lane.packet(packet, out));
        }
    }

    /// The leader got further: `marks` are new, and nothing else up to `reach` is one.
    pub fn advance(&mut self, marks: &Marks, reach: Reach, out: &mut Vec<SegmentEvent>) {
        self.lane.cuts.extend(&marks.cuts);
        self.lane.parts.extend(&marks.parts);
        self.lane.reach = reach;
        self.lane.settle(out);
    }

    pub fn finish(&mut self, end: Cut, out: &mut Vec<SegmentEvent>) {
        self.lane.finish(end, out);
    }

    pub fn track(&self) -> &Track {
        &self.lane.track
    }
}

/// Frames that wait for the leader.
#[derive(Default)]
struct Held {
    bytes: BytesMut,
    units: VecDeque<(Unit, usize)>,
}

struct Lane {
    rung: Rung,
    track: Track,
    tables: TableWriter,
    cuts: VecDeque<Cut>,
    parts: VecDeque<PartCut>,
    reach: Reach,
    held: Held,
    open: Option<OpenSegment>,
    start_pts: i64,
    former: usize,
    missing_in_a_row: u32,
    is_reported: bool,
    is_given_up: bool,
}

/// Where a frame is, seen from the next cut.
enum Place {
    Before,
    At,
    Past,
    Unknown,
}

impl Lane {
    fn packet(&mut self, packet: &Packet<'_>, out: &mut Vec<SegmentEvent>) {
        if packet.kind == PacketKind::Psi || self.is_given_up {
            return;
        }
        if let Some(unit) = self.track.unit(packet)
            && (!self.held.units.is_empty() || !self.settle_unit(&unit, out))
        {
            self.held.units.push_back((unit, 0));
        }
        self.append(packet.bytes);
        let open = self.open.as_ref().map_or(0, |open| open.bytes.len());
        if self.held.bytes.len() > MOST_BYTES || open > MOST_BYTES {
            self.give_up(out);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some((_, length)) = self.held.units.back_mut() {
            *length += bytes.len();
            self.held.bytes.extend_from_slice(bytes);
        } else if let Some(open) = &mut self.open {
            open.append(bytes, &mut self.tables);
        }
    }

    /// Places what waits, as far as the leader has decided.
    fn settle(&mut self, out: &mut Vec<SegmentEvent>) {
        while let Some((unit, length)) = self.held.units.pop_front() {
            if !self.settle_unit(&unit, out) {
                self.held.units.push_front((unit, length));
                break;
            }
            if let Some(open) = &mut self.open {
                open.append(&self.held.bytes[..length], &mut self.tables);
            }
            self.held.bytes.advance(length);
        }
        if self.cuts.len() > MOST_CUTS_BEHIND || self.parts.len() > MOST_PARTS_BEHIND {
            self.give_up(out);
        }
        if self.is_given_up {
            self.pass_all_marks(out);
        }
    }

    /// Cuts at or before this frame what has to be cut. False if the leader has not decided yet.
    fn settle_unit(&mut self, unit: &Unit, out: &mut Vec<SegmentEvent>) -> bool {
        loop {
            match self.place(unit) {
                Place::Unknown => return false,
                Place::At if unit.key.is_some() => {
                    if let Some(cut) = self.cuts.pop_front() {
                        self.turn(cut, Some(unit), out);
                    }
                    break;
                }
                Place::Before | Place::At => {
                    if !self.settle_parts(unit, out) {
                        return false;
                    }
                    break;
                }
                Place::Past => {
                    if let Some(cut) = self.cuts.pop_front() {
                        self.turn(cut, None, out);
                    }
                }
            }
        }
        if let Some(open) = &mut self.open {
            open.begin_frame(unit.key.is_some());
        }
        true
    }

    /// Ends the parts of the open segment that end at or before this frame, which is in it. False if
    /// the leader has not decided yet.
    fn settle_parts(&mut self, unit: &Unit, out: &mut Vec<SegmentEvent>) -> bool {
        // Between the frames of the leader, whose clocks are rounded in other places.
        let tolerance = unit.tolerance / 2;
        while let Some(part) = self.next_part() {
            let is_past = unit
                .clock
                .since(part.at)
                .map_or(unit.clock > part.at, |ticks| ticks >= -tolerance);
            if !is_past {
                return true;
            }
            self.parts.pop_front();
            self.end_part(part, out);
        }
        !self.cuts.is_empty() || self.reach.clock >= Some(unit.clock.plus(tolerance))
    }

    /// Where the open part of the open segment ends, if that is known and not its last.
    fn next_part(&self) -> Option<PartCut> {
        let index = self.open.as_ref()?.index;
        self.parts
            .front()
            .copied()
            .filter(|part| part.index == index)
    }

    fn end_part(&mut self, part: PartCut, out: &mut Vec<SegmentEvent>) {
        if let Some(open) = &mut self.open {
            let part = open.end_part(self.rung, self.start_pts, part.closes);
            out.push(SegmentEvent::Part(part));
        }
    }

    /// Ends all parts of the open segment but the last, whether there are frames for them or not.
    fn end_parts(&mut self, out: &mut Vec<SegmentEvent>) {
        while let Some(part) = self.next_part() {
            self.parts.pop_front();
            self.end_part(part, out);
        }
    }

    /// No frame comes any more that could be placed.
    fn pass_all_marks(&mut self, out: &mut Vec<SegmentEvent>) {
        while let Some(cut) = self.cuts.pop_front() {
            self.turn(cut, None, out);
        }
        self.end_parts(out);
    }

    fn place(&self, unit: &Unit) -> Place {
        let Some(cut) = self.cuts.front() else {
            let is_decided = self.reach.at >= Some(unit.at.plus(unit.tolerance));
            return if is_decided {
                Place::Before
            } else {
                Place::Unknown
            };
        };
        match unit.at.since(cut.at) {
            Some(ticks) if ticks < -unit.tolerance.min(cut.early) => Place::Before,
            Some(ticks) if ticks <= unit.tolerance => Place::At,
            None if unit.at < cut.at => Place::Before,
            Some(_) | None => Place::Past,
        }
    }

    /// Ends the open segment and begins the one of `cut`, with `unit` as its keyframe; without one
    /// that segment is missing, and what there is of it is dropped.
    fn turn(&mut self, cut: Cut, unit: Option<&Unit>, out: &mut Vec<SegmentEvent>) {
        self.close(cut, out);
        self.start_pts = cut.at.pts;
        self.open = Some(match unit.and_then(|unit| unit.key.as_ref()) {
            Some(tables) => OpenSegment::new(cut.index, self.former, tables),
            None => OpenSegment::missing(cut.index),
        });
    }

    fn close(&mut self, cut: Cut, out: &mut Vec<SegmentEvent>) {
        self.end_parts(out);
        let Some(mut open) = self.open.take() else {
            return;
        };
        let last_part = open.end_part(self.rung, self.start_pts, cut.closes_part);
        out.push(SegmentEvent::Part(last_part));
        if open.is_missing {
            self.missing_in_a_row += 1;
        } else {
            self.missing_in_a_row = 0;
            self.former = open.bytes.len();
        }
        out.push(segment_event(self.rung, open, self.start_pts, cut.closes));
        if self.missing_in_a_row == 2 && !self.is_reported {
            self.is_reported = true;
            out.push(SegmentEvent::LostAlignment { rung: self.rung });
        }
    }

    /// Nothing of this rung is kept from here on; its numbers are missing.
    fn give_up(&mut self, out: &mut Vec<SegmentEvent>) {
        if self.is_given_up {
            return;
        }
        self.is_given_up = true;
        self.is_reported = true;
        self.held = Held::default();
        if let Some(open) = &mut self.open {
            open.give_up();
        }
        out.push(SegmentEvent::TooFarAhead { rung: self.rung });
    }

    fn finish(&mut self, end: Cut, out: &mut Vec<SegmentEvent>) {
        // There is nothing left to restart.
        self.is_reported = true;
        self.reach = Reach::END;
        self.settle(out);
        self.pass_all_marks(out);
        self.close(end, out);
    }
}
