//! The newest segments and parts of one rendition, in memory.
//!
//! A segment stays while its parts may be asked for, and until it is stored or waits on disk; so memory
//! is bounded by that time, and by what the uploader holds anyway.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use marquee_hls::{Entry, PartName};

use crate::output::uploader::Outcome;

/// Parts are listed for three target durations and kept as long again, and their segments with them.
const KEPT_MS: u32 = 12_000;

/// Segments, oldest first, and the parts of the one that is growing.
#[derive(Default)]
pub(super) struct Media {
    segments: VecDeque<Held>,
    open: Option<OpenParts>,
    /// Numbers that wait on disk for storage.
    on_disk: BTreeSet<u64>,
}

struct Held {
    entry: Entry,
    epoch: u64,
    bytes: Bytes,
    /// Slices of `bytes`; a missing part is empty.
    parts: Vec<Bytes>,
    outcome: Option<Outcome>,
}

struct OpenParts {
    msn: u64,
    epoch: u64,
    parts: Vec<Bytes>,
}

impl Media {
    /// Takes the next part of a segment.
    pub fn push_part(&mut self, msn: u64, epoch: u64, bytes: Bytes) {
        match &mut self.open {
            Some(open) if open.msn == msn => open.parts.push(bytes),
            _ => {
                self.open = Some(OpenParts {
                    msn,
                    epoch,
                    parts: vec![bytes],
                });
            }
        }
    }

    /// Takes a whole segment: its parts are slices of it from now on, and their own memory is free.
    pub fn push_segment(&mut self, entry: Entry, bytes: Bytes) {
        let open = self.open.take_if(|open| open.msn <= entry.msn);
        let (epoch, mut parts) = open
            .filter(|open| open.msn == entry.msn)
            .map_or_else(Default::default, |open| (open.epoch, open.parts));
        let mut rest = bytes.clone();
        for part in &mut parts {
            // Parts are the segment, one after the other; what would not fit keeps its memory.
            if part.len() <= rest.len() {
                *part = rest.split_to(part.len());
            }
        }
        self.segments.push_back(Held {
            entry,
            epoch,
            bytes,
            parts,
            outcome: None,
        });
    }

    /// A number has no segment.
    pub fn push_gap(&mut self, msn: u64) {
        self.open.take_if(|open| open.msn <= msn);
    }

    /// Storage took a segment, or did not. Word of the disk may come after word of storage, from
    /// another task, and means nothing then: a segment that waits for either is held.
    pub fn settle(&mut self, msn: u64, outcome: Outcome) {
        let held = self.segments.iter_mut().find(|held| held.entry.msn == msn);
        if outcome == Outcome::OnDisk {
            if let Some(held) = held.filter(|held| held.outcome.is_none()) {
                held.outcome = Some(outcome);
                self.on_disk.insert(msn);
            }
            return;
        }
        self.on_disk.remove(&msn);
        if let Some(held) = held {
            held.outcome = Some(outcome);
        }
    }

    /// Forgets what is old and no longer needed; the numbers of which nobody has the bytes then.
    pub fn forget(&mut self) -> Vec<u64> {
        let mut from_end = 0;
        let mut lost = Vec::new();
        let mut kept = VecDeque::with_capacity(self.segments.len());
        while let Some(held) = self.segments.pop_back() {
            let is_near = from_end <= KEPT_MS;
            from_end += held.entry.duration_ms;
            if is_near || held.outcome.is_none() {
                kept.push_front(held);
            } else if held.outcome == Some(Outcome::Lost) {
                lost.push(held.entry.msn);
            }
        }
        self.segments = kept;
        lost
    }

    /// A part's bytes.
    pub fn part(&self, name: &PartName) -> Option<Bytes> {
        let open = self
            .open
            .as_ref()
            .map(|open| (open.msn, open.epoch, &open.parts));
        let held = self.segments.iter().rev();
        let held = held.map(|held| (held.entry.msn, held.epoch, &held.parts));
        let (_, _, parts) = open
            .into_iter()
            .chain(held)
            .find(|(msn, epoch, _)| (*msn, *epoch) == (name.msn, name.epoch))?;
        let bytes = parts.get(usize::try_from(name.part).ok()?)?;
        (!bytes.is_empty()).then(|| bytes.clone())
    }

    /// A segment's bytes.
    pub fn segment(&self, msn: u64, uri: &str) -> Option<Bytes> {
        let mut held = self.segments.iter().rev();
        let held = held.find(|held| held.entry.msn == msn && held.entry.uri == uri)?;
        Some(held.bytes.clone())
    }

    /// Whether a segment that is not in memory is not in storage either, for now.
    pub fn waits_on_disk(&self, msn: u64) -> bool {
        self.on_disk.contains(&msn)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let open = self.open.iter().flat_map(|open| &open.parts);
        let open: usize = open.map(Bytes::len).sum();
        let segments: usize = self.segments.iter().map(|held| held.bytes.len()).sum();
        open + segments
    }
}

#[cfg(test)]
mod tests {
    use marquee_hls::Entry;

    use super::*;

    fn segment(msn: u64) -> Entry {
        Entry {
            msn,
            uri: format!("{msn}.ts"),
            duration_ms: 2000,
            discontinuity: false,
            gap: false,
            start_ms: 0,
        }
    }

    #[test]
    fn a_segment_that_storage_took_does_not_wait_on_disk_whatever_is_said_later() {
        for outcome in [Outcome::Stored, Outcome::Lost] {
            let mut media = Media::default();
            media.push_segment(segment(1), Bytes::from_static(b"media"));
            media.settle(1, outcome);
            media.settle(1, Outcome::OnDisk);
            assert!(!media.waits_on_disk(1), "held here, {outcome:?}");
            for msn in 2..12 {
                media.push_segment(segment(msn), Bytes::from_static(b"media"));
            }
            media.forget();
            media.settle(1, Outcome::OnDisk);
            assert!(!media.waits_on_disk(1), "no longer held, {outcome:?}");
        }
    }

    #[test]
    fn a_segment_waits_on_disk_until_storage_takes_it() {
        let mut media = Media::default();
        media.push_segment(segment(1), Bytes::from_static(b"media"));
        media.settle(1, Outcome::OnDisk);
        assert!(media.waits_on_disk(1));
        media.settle(1, Outcome::Stored);
        assert!(!media.waits_on_disk(1));
    }
}
