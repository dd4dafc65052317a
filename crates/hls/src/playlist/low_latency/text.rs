//! How a low-latency playlist is written.

use std::fmt::Write as _;

use super::{
    super::{
        Entry,
        media::{DateMarks, TARGET_DURATION_S},
    },
    HOLD_BACK_PARTS, LiveRendition, PARTS_LISTED_MS, Parts, Report, SKIP_MS, within,
};
use crate::name::PartName;

/// `EXT-X-SKIP` needs version 9 (RFC 8216bis section 8).
const VERSION: u32 = 9;

impl LiveRendition {
    /// The text; with `skip`, without the segments that a client with an earlier version has. Then
    /// it is the whole text where there are none to skip.
    pub fn write(&self, reports: &[Report], skip: bool) -> String {
        let (first, discontinuity_sequence, entries) = self.timeline.listed_in(self.dvr);
        let entries: Vec<&Entry> = entries.collect();
        // A later broadcast of a stream does not begin at 1.
        let growing = self.open.as_ref().filter(|_| entries.is_empty());
        let media_sequence = growing.map_or(first, |open| open.entry.msn);
        let open_ms = self.open.as_ref().map_or(0, |open| open.entry.duration_ms);
        let skipped = if skip {
            entries.len() - within(&entries, open_ms, SKIP_MS)
        } else {
            0
        };
        let without_parts = entries.len() - within(&entries, open_ms, PARTS_LISTED_MS);
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
            if place >= without_parts
                && let Some(parts) = self.parts_of(entry.msn)
            {
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
