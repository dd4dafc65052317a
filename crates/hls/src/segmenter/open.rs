//! The segment that is being filled, and the part of it that is.

use bytes::Bytes;

use super::CutPart;
use crate::{Rung, ts::PACKET};

/// Room for the first segment of a run; later ones start with the size of the one before.
const FIRST_CAPACITY: usize = 256 * 1024;

/// Numbers the tables we write, so that the counters go on over all segments of a run.
#[derive(Default)]
pub(super) struct TableWriter {
    pat: u8,
    pmt: u8,
}

impl TableWriter {
    /// Appends whole packets that hold the tables.
    pub fn write(&mut self, packets: &[u8], out: &mut Vec<u8>) {
        for packet in packets.as_chunks::<PACKET>().0 {
            let is_pat = (packet[1] & 0x1f, packet[2]) == (0, 0);
            let counter = if is_pat { &mut self.pat } else { &mut self.pmt };
            let mut packet = *packet;
            packet[3] = packet[3] & 0xf0 | *counter;
            *counter = (*counter + 1) & 0x0f;
            out.extend_from_slice(&packet);
        }
    }
}

/// The bytes of a segment so far.
pub(super) struct OpenSegment {
    pub index: u64,
    pub bytes: Vec<u8>,
    pub frames: u32,
    /// It cannot be played: it has no keyframe at its start, or had to be given up.
    pub is_missing: bool,
    /// What stands in front of each part.
    tables: Bytes,
    part: OpenPart,
}

/// The part that is being filled: what follows `start`.
#[derive(Default)]
struct OpenPart {
    number: u32,
    start: usize,
    frames: u32,
    has_keyframe: bool,
}

impl OpenSegment {
    pub fn missing(index: u64) -> Self {
        Self {
            index,
            bytes: Vec::new(),
            frames: 0,
            is_missing: true,
            tables: Bytes::new(),
            part: OpenPart::default(),
        }
    }

    /// A segment whose parts begin with the tables. `former` is the size of the segment before.
    pub fn new(index: u64, former: usize, tables: &Bytes) -> Self {
        let capacity = if former == 0 {
            FIRST_CAPACITY
        } else {
            former + former / 8
        };
        Self {
            bytes: Vec::with_capacity(capacity),
            tables: tables.clone(),
            is_missing: false,
            ..Self::missing(index)
        }
    }

    /// A frame begins: what is appended up to the next one is its.
    pub fn begin_frame(&mut self, is_key: bool) {
        self.frames = self.frames.saturating_add(1);
        self.part.frames = self.part.frames.saturating_add(1);
        self.part.has_keyframe |= is_key;
    }

    pub fn append(&mut self, bytes: &[u8], writer: &mut TableWriter) {
        if self.is_missing {
            return;
        }
        if self.bytes.len() == self.part.start {
            writer.write(&self.tables, &mut self.bytes);
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub fn give_up(&mut self) {
        self.bytes = Vec::new();
        self.part.start = 0;
        self.is_missing = true;
    }

    /// Frames of the part so far.
    pub fn part_frames(&self) -> u32 {
        self.part.frames
    }

    /// Whether a decoder can begin in the part so far.
    pub fn part_has_keyframe(&self) -> bool {
        self.part.has_keyframe
    }

    /// Ends the part here. It has no bytes when it has no frame, or when the segment is missing.
    pub fn end_part(&mut self, rung: Rung, start_pts: i64, duration: i64) -> CutPart {
        let next = OpenPart {
            number: self.part.number + 1,
            start: self.bytes.len(),
            ..OpenPart::default()
        };
        let part = std::mem::replace(&mut self.part, next);
        // A copy: the segment goes on growing, and whoever holds the part must not hold all of it.
        let bytes = Bytes::copy_from_slice(&self.bytes[part.start..]);
        CutPart {
            rung,
            index: self.index,
            part: part.number,
            segment_start_pts: start_pts,
            duration,
            independent: part.has_keyframe && !bytes.is_empty(),
            bytes,
        }
    }

    /// Its bytes, without much more memory than they need: they may wait long for the storage.
    pub fn into_bytes(mut self) -> Bytes {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 4 {
            self.bytes.shrink_to_fit();
        }
        Bytes::from(self.bytes)
    }
}
