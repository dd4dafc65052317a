//! The segment that is being filled.

use bytes::Bytes;

use crate::ts::PACKET;

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
}

impl OpenSegment {
    pub fn missing(index: u64) -> Self {
        Self {
            index,
            bytes: Vec::new(),
            frames: 0,
            is_missing: true,
        }
    }

    /// Begins with the tables. `former` is the size of the segment before.
    pub fn new(index: u64, former: usize, tables: &[u8], writer: &mut TableWriter) -> Self {
        let capacity = if former == 0 {
            FIRST_CAPACITY
        } else {
            former + former / 8
        };
        let mut bytes = Vec::with_capacity(capacity);
        writer.write(tables, &mut bytes);
        Self {
            index,
            bytes,
            frames: 0,
            is_missing: false,
        }
    }

    pub fn append(&mut self, bytes: &[u8]) {
        if !self.is_missing {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub fn give_up(&mut self) {
        self.bytes = Vec::new();
        self.is_missing = true;
    }

    /// Its bytes, without much more memory than they need: they may wait long for the storage.
    pub fn into_bytes(mut self) -> Bytes {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 4 {
            self.bytes.shrink_to_fit();
        }
        Bytes::from(self.bytes)
    }
}
