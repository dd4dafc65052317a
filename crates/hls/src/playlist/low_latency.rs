//! A rendition as a low-latency client sees it (RFC 8216bis): the window of whole segments, the parts
//! of the newest ones, and those of the segment that is still growing.
//!
//! ```text
//! segments …  s7        s8                 s9 (open)
//!             EXTINF    PART ×10, EXTINF   PART PART PART  PRELOAD-HINT
//! ```

mod text;

use std::{collections::VecDeque, time::Duration};

use super::{Entry, media::TARGET_DURATION_S};
use crate::{
    name::{PartName, SegmentName},
    rung::Rung,
    segmenter::PartTarget,
    timeline::RenditionTimeline,
};

const TARGET_MS: i64 = TARGET_DURATION_S as i64 * 1000;
/// `CAN-SKIP-UNTIL`: six target durations are the least that is allowed.
const SKIP_MS: i64 = 6 * TARGET_MS;
/// Parts are listed of segments that end within so much of the end.
const PARTS_LISTED_MS: i64 = 3 * TARGET_MS;
/// `PART-HOLD-BACK` in part targets.
const HOLD_BACK_PARTS: u32 = 3;
/// Media time that a request may ask for ahead of the last part (section 6.2.5.2).
const PART_ADVANCE_MS: u32 = 3000;
/// Segments that a request may ask for ahead of the last one.
const SEGMENT_ADVANCE: u64 = 2;

/// A listed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// 90 kHz ticks.
    pub duration: i64,
    /// Whether a decoder can begin in it.
    pub independent: bool,
    /// Whether it is missing.
    pub gap: bool,
}

/// The newest of a rendition: a segment, or the last part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Media sequence number.
    pub msn: u64,
    /// Number of the last part; `None` when the segment has no parts.
    pub part: Option<u32>,
}

/// What another rendition's `EXT-X-RENDITION-REPORT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The rendition.
    pub rung: Rung,
    /// How far it is.
    pub last: Position,
}

/// What is to be answered to a reload that names a number (section 6.2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The playlist has it.
    Now,
    /// The playlist will have it.
    Later,
    /// It is too far ahead of what the playlist has: no client of this playlist asks for it.
    TooFar,
}

/// One rendition of a live broadcast.
#[derive(Clone, Debug)]
pub struct LiveRendition {
    rung: Rung,
    timeline: RenditionTimeline,
    part_target: PartTarget,
    dvr: Duration,
    /// Parts of the newest whole segments, oldest first.
    recent: VecDeque<Parts>,
    open: Option<Open>,
    /// Whether parts are coming, so that the next one can be announced.
    is_flowing: bool,
}

#[derive(Clone, Debug)]
struct Parts {
    msn: u64,
    epoch: u64,
    list: Vec<Part>,
}

/// The segment that is growing.
#[derive(Clone, Debug)]
struct Open {
    /// With the duration of its parts so far.
    entry: Entry,
    parts: Parts,
    ticks: i64,
}

impl LiveRendition {
    /// Goes on after what `timeline` lists.
    pub fn new(
        rung: Rung,
        timeline: RenditionTimeline,
        part_target: PartTarget,
        dvr: Duration,
    ) -> Self {
        Self {
            rung,
            timeline,
            part_target,
            dvr,
            recent: VecDeque::new(),
            open: None,
            is_flowing: false,
        }
    }

    /// Adds the next part of the segment that `segment` begins to name: its duration is not known
    /// yet and not looked at. The first part opens the segment, and fills a hole before it. Parts
    /// of a number that is listed already are ignored.
    pub fn push_part(&mut self, segment: &SegmentName, part: Part) {
        if self
            .timeline
            .last_msn()
            .is_some_and(|last| segment.msn <= last)
        {
            return;
        }
        let open = match &mut self.open {
            Some(open) if open.entry.msn == segment.msn => open,
            _ => {
                let entry = Entry {
                    duration_ms: 0,
                    ..Entry::stored(segment)
                };
                self.timeline.fill_before(&entry);
                self.open.insert(Open {
                    parts: Parts {
                        msn: segment.msn,
                        epoch: segment.epoch,
                        list: Vec::new(),
                    },
                    entry,
                    ticks: 0,
                })
            }
        };
        open.parts.list.push(part);
        open.ticks = open.ticks.saturating_add(part.duration);
        open.entry.duration_ms = u32::try_from(open.ticks / 90).unwrap_or(u32::MAX);
        self.is_flowing = true;
    }

    /// The open segment is whole, or a number that had no parts is listed. Of a number that turns out
    /// to be a gap the parts that were shown are missing, too.
    pub fn push_segment(&mut self, entry: Entry) {
        if let Some(mut open) = self.open.take_if(|open| open.entry.msn <= entry.msn) {
            if entry.gap || open.entry.msn < entry.msn {
                open.parts.list.iter_mut().for_each(|part| part.gap = true);
            }
            self.recent.push_back(open.parts);
        }
        self.timeline.push(entry);
        self.timeline.forget_before(self.dvr);
        let (_, _, entries) = self.timeline.listed_in(self.dvr);
        let entries: Vec<&Entry> = entries.collect();
        let with_parts = within(&entries, 0, PARTS_LISTED_MS);
        let first = entries
            .get(entries.len() - with_parts)
            .map(|entry| entry.msn);
        self.recent
            .retain(|parts| first.is_some_and(|first| parts.msn >= first));
    }

    /// A listed segment is lost: storage never took it, and memory no longer has it.
    pub fn mark_gap(&mut self, msn: u64) {
        self.timeline.mark_gap(msn);
    }

    /// No parts come for now: none is announced.
    pub fn pause(&mut self) {
        self.is_flowing = false;
    }

    /// Nothing follows.
    pub fn end(&mut self) {
        self.is_flowing = false;
        self.timeline.end();
    }

    /// Whether parts are coming.
    pub fn is_flowing(&self) -> bool {
        self.is_flowing
    }

    /// Whether nothing follows.
    pub fn is_ended(&self) -> bool {
        self.timeline.is_ended()
    }

    /// The newest segment or part; `None` before anything is listed.
    pub fn last(&self) -> Option<Position> {
        if let Some(open) = &self.open {
            return Some(Position {
                msn: open.entry.msn,
                part: open.parts.last(),
            });
        }
        let msn = self.timeline.last_msn()?;
        let part = self.parts_of(msn).and_then(Parts::last);
        Some(Position { msn, part })
    }

    /// The newest whole segment.
    pub fn last_whole(&self) -> Option<u64> {
        self.timeline.last_msn()
    }

    /// Date of the end, Unix ms.
    pub fn end_ms(&self) -> Option<i64> {
        let open = self.open.as_ref().map(|open| open.entry.end_ms());
        open.or_else(|| self.timeline.end_ms())
    }

    /// Name of the part that comes next, while parts are coming.
    pub fn hint(&self) -> Option<PartName> {
        if !self.is_flowing {
            return None;
        }
        let parts = self.open.as_ref().map(|open| &open.parts);
        let (epoch, msn, part) = match (parts, self.recent.back()) {
            (Some(open), _) => (open.epoch, open.msn, open.list.len()),
            (None, Some(last)) => (last.epoch, self.timeline.last_msn()? + 1, 0),
            (None, None) => return None,
        };
        Some(PartName {
            rung: self.rung,
            broadcast: self.timeline.broadcast(),
            epoch,
            msn,
            part: u32::try_from(part).unwrap_or(u32::MAX),
        })
    }

    /// What to answer to a reload that waits for segment `msn`, or for a part of it.
    pub fn reload(&self, msn: u64, part: Option<u32>) -> Reload {
        // What is before a broadcast's first segment is past.
        let before = self
            .open
            .as_ref()
            .map_or(0, |open| open.entry.msn.saturating_sub(1));
        let whole = self.timeline.last_msn().unwrap_or(before);
        let newest = self.last().map_or(0, |last| last.msn);
        if msn > newest.saturating_add(SEGMENT_ADVANCE) {
            return Reload::TooFar;
        }
        let Some(part) = part else {
            return if msn <= whole {
                Reload::Now
            } else {
                Reload::Later
            };
        };
        let count = |msn| {
            let open = self.open.as_ref().map(|open| &open.parts);
            let parts = open.filter(|open| open.msn == msn);
            let parts = parts.or_else(|| self.parts_of(msn));
            parts.map_or(0, |parts| {
                u32::try_from(parts.list.len()).unwrap_or(u32::MAX)
            })
        };
        if msn < whole || (msn <= newest && part < count(msn)) {
            return Reload::Now;
        }
        let advance = PART_ADVANCE_MS.div_ceil(self.part_target.ms().max(1));
        if part >= count(msn).saturating_add(advance) {
            return Reload::TooFar;
        }
        // A part past the last of a whole segment is the first of the next one.
        if msn == whole && newest > whole {
            return Reload::Now;
        }
        Reload::Later
    }

    fn parts_of(&self, msn: u64) -> Option<&Parts> {
        self.recent.iter().rev().find(|parts| parts.msn == msn)
    }
}

impl Parts {
    fn last(&self) -> Option<u32> {
        let last = self.list.len().checked_sub(1)?;
        u32::try_from(last).ok()
    }
}

/// How many of the newest segments end within `distance_ms` of the end, which is `open_ms` after them.
/// Dates do not tell: they jump where a publisher was away.
fn within(entries: &[&Entry], open_ms: u32, distance_ms: i64) -> usize {
    let mut from_end = i64::from(open_ms);
    let is_near = |entry: &&&Entry| -> bool {
        let is_near = from_end <= distance_ms;
        from_end += i64::from(entry.duration_ms);
        is_near
    };
    entries.iter().rev().take_while(is_near).count()
}
