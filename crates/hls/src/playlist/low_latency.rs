//! A rendition as a low-latency client sees it (RFC 8216bis): the window of whole segments, the parts
//! of the newest ones, and those of the segment that is still growing.
//!
//! ```text
//! segments …  s7        s8                 s9 (open)
//!             EXTINF    PART ×10, EXTINF   PART PART PART  PRELOAD-HINT
//! ```

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

use super::{
    Entry,
    media::{DateMarks, TARGET_DURATION_S},
};
use crate::{
    name::{PartName, SegmentName},
    rung::Rung,
    segmenter::PartTarget,
    timeline::RenditionTimeline,
};

/// `EXT-X-SKIP` needs version 9 (RFC 8216bis section 8).
const VERSION: u32 = 9;
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

    /// The open segment is whole, or a number that had no parts is listed.
    pub fn push_segment(&mut self, entry: Entry) {
        if let Some(open) = self.open.take_if(|open| open.entry.msn <= entry.msn) {
            self.recent.push_back(open.parts);
        }
        self.timeline.push(entry);
        self.timeline.forget_before(self.dvr);
        let oldest = self.end_ms().unwrap_or_default() - PARTS_LISTED_MS;
        let (_, _, entries) = self.timeline.listed_in(self.dvr);
        let first = entries
            .skip_while(|entry| entry.end_ms() <= oldest)
            .map(|entry| entry.msn)
            .next();
        self.recent
            .retain(|parts| first.is_none_or(|first| parts.msn >= first));
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
        let whole = self.timeline.last_msn().unwrap_or(0);
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

    /// The text; with `skip`, without the segments that a client with an earlier version has. Then
    /// it is the whole text where there are none to skip.
    pub fn write(&self, reports: &[Report], skip: bool) -> String {
        let (media_sequence, discontinuity_sequence, entries) = self.timeline.listed_in(self.dvr);
        let entries: Vec<&Entry> = entries.collect();
        let end_ms = self.end_ms().unwrap_or_default();
        let skipped = if skip {
            let boundary = end_ms - SKIP_MS;
            entries
                .iter()
                .take_while(|entry| entry.end_ms() < boundary)
                .count()
        } else {
            0
        };
        let mut text = String::with_capacity(4096 + 80 * (entries.len() - skipped));
        self.write_head(media_sequence, discontinuity_sequence, skipped, &mut text);
        let mut dates = DateMarks::default();
        let mut passed_over = String::new();
        for (place, entry) in entries.iter().enumerate() {
            if place < skipped {
                // Which later entries have dates does not depend on what is skipped.
                passed_over.clear();
                entry.write_start(&mut dates, &mut passed_over);
                continue;
            }
            entry.write_start(&mut dates, &mut text);
            if let Some(parts) = self.parts_of(entry.msn) {
                self.write_parts(parts, &mut text);
            }
            entry.write_end(&mut text);
        }
        if let Some(open) = &self.open {
            open.entry.write_start(&mut dates, &mut text);
            self.write_parts(&open.parts, &mut text);
        }
        self.write_tail(reports, &mut text);
        text
    }

    fn write_head(
        &self,
        media_sequence: u64,
        discontinuity_sequence: u64,
        skipped: usize,
        text: &mut String,
    ) {
        let target = seconds(self.part_target.ms());
        let hold_back = seconds(self.part_target.ms() * HOLD_BACK_PARTS);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{TARGET_DURATION_S}\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,PART-HOLD-BACK={hold_back}\n\
             #EXT-X-PART-INF:PART-TARGET={target}\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MEDIA-SEQUENCE:{media_sequence}\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity_sequence}\n",
            SKIP_MS / 1000
        );
        if skipped > 0 {
            let _ = writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
        }
    }

    fn write_parts(&self, parts: &Parts, text: &mut String) {
        for (number, part) in (0..).zip(&parts.list) {
            let name = PartName {
                rung: self.rung,
                broadcast: self.timeline.broadcast(),
                epoch: parts.epoch,
                msn: parts.msn,
                part: number,
            };
            let hundredths_of_ms = part.duration * 10 / 9;
            let _ = write!(
                text,
                "#EXT-X-PART:DURATION={}.{:05},URI=\"{}\"",
                hundredths_of_ms / 100_000,
                hundredths_of_ms % 100_000,
                name.uri()
            );
            text.push_str(match (part.gap, part.independent) {
                (true, _) => ",GAP=YES\n",
                (false, true) => ",INDEPENDENT=YES\n",
                (false, false) => "\n",
            });
        }
    }

    fn write_tail(&self, reports: &[Report], text: &mut String) {
        if self.is_ended() {
            text.push_str("#EXT-X-ENDLIST\n");
            return;
        }
        if let Some(hint) = self.hint() {
            let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"", hint.uri());
        }
        for Report { rung, last } in reports {
            let _ = write!(
                text,
                "#EXT-X-RENDITION-REPORT:URI=\"../{rung}/playlist.m3u8\",LAST-MSN={}",
                last.msn
            );
            if let Some(part) = last.part {
                let _ = write!(text, ",LAST-PART={part}");
            }
            text.push('\n');
        }
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

/// `0.201`, as short as it is.
fn seconds(ms: u32) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    let short = text.trim_end_matches('0');
    match short.strip_suffix('.') {
        Some(whole) => format!("{whole}.0"),
        None => short.to_owned(),
    }
}
