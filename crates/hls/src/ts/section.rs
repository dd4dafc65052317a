//! Table sections out of packet payloads, and back into packets.

use bytes::{BufMut, BytesMut};

use super::PACKET;

/// The longest section a program table may have.
const LONGEST: usize = 3 + 1021;

/// Puts the sections of one PID together.
#[derive(Default)]
pub(super) struct Sections {
    partial: Vec<u8>,
    open: bool,
}

impl Sections {
    /// Takes a packet's payload; `unit_start` says that a section starts in it.
    pub fn push(&mut self, payload: &[u8], unit_start: bool, done: &mut impl FnMut(&[u8])) {
        if !unit_start {
            if self.open {
                self.append(payload, done);
            }
            return;
        }
        let Some((&pointer, rest)) = payload.split_first() else {
            return;
        };
        let (tail, fresh) = rest.split_at(usize::from(pointer).min(rest.len()));
        if self.open {
            self.append(tail, done);
        }
        self.partial.clear();
        self.open = true;
        self.append(fresh, done);
    }

    fn append(&mut self, bytes: &[u8], done: &mut impl FnMut(&[u8])) {
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let rest = &self.partial[at..];
            // Stuffing ends the packet's sections.
            if rest.first() == Some(&0xff) {
                self.open = false;
                break;
            }
            let Some(length) = length(rest) else {
                break;
            };
            if length > LONGEST {
                self.open = false;
                break;
            }
            let Some(section) = rest.get(..length) else {
                break;
            };
            done(section);
            at += length;
        }
        if self.open {
            self.partial.drain(..at);
        } else {
            self.partial.clear();
        }
    }
}

fn length(section: &[u8]) -> Option<usize> {
    let head = section.first_chunk::<3>()?;
    Some(3 + usize::from(u16::from_be_bytes([head[1] & 0x0f, head[2]])))
}

/// The fields of a whole, current, undamaged section between its header and its checksum, with the
/// number in its header (a program's, or the transport stream's).
pub(super) fn body(section: &[u8], table: u8) -> Option<(u16, &[u8])> {
    let (head, rest) = section.split_first_chunk::<8>()?;
    let fields = rest.split_last_chunk::<4>()?.0;
    let current = head[5] & 1 == 1;
    (head[0] == table && head[1] & 0x80 != 0 && current && crc32(section) == 0)
        .then(|| (u16::from_be_bytes([head[3], head[4]]), fields))
}

/// Writes a section as packets of its own, with continuity counters that start at 0.
pub(super) fn packetise(pid: u16, section: &[u8], out: &mut BytesMut) {
    packetise_from(pid, section, &mut 0, out);
}

/// Writes a section as packets of its own; `counter` is the PID's next continuity counter.
pub(super) fn packetise_from(pid: u16, section: &[u8], counter: &mut u8, out: &mut BytesMut) {
    let mut rest = section;
    let mut first = true;
    loop {
        let [high, low] = pid.to_be_bytes();
        out.put_slice(&[
            0x47,
            high | if first { 0x40 } else { 0 },
            low,
            0x10 | (*counter & 0x0f),
        ]);
        let mut room = PACKET - 4;
        if first {
            out.put_u8(0);
            room -= 1;
        }
        let (now, later) = rest.split_at(room.min(rest.len()));
        out.put_slice(now);
        out.put_bytes(0xff, room - now.len());
        rest = later;
        first = false;
        *counter = (*counter + 1) & 0x0f;
        if rest.is_empty() {
            return;
        }
    }
}

/// CRC-32/MPEG-2: zero over a section that ends with its right checksum.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        let index = (crc >> 24) as u8 ^ byte;
        crc << 8 ^ CRC[usize::from(index)]
    })
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0u32;
    while byte < 256 {
        let mut value = byte << 24;
        let mut bit = 0;
        while bit < 8 {
            value = value << 1 ^ if value >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[byte as usize] = value;
        byte += 1;
    }
    table
};
