//! The program association and program map tables.

use bytes::{Bytes, BytesMut};

use super::{PacketKind, section};

/// More streams than any encoder sends; the rest of a longer table is ignored.
const MOST_STREAMS: usize = 32;

/// The coding of a stream, as numbered in the program map table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamType(pub u8);

impl StreamType {
    /// H.264.
    pub const H264: Self = Self(0x1b);
    /// H.265.
    pub const HEVC: Self = Self(0x24);
    /// AAC with ADTS headers.
    pub const AAC: Self = Self(0x0f);
    /// AAC in LATM.
    pub const AAC_LATM: Self = Self(0x11);
    /// MPEG-1 audio (MP2 and MP3 are both sent so).
    pub const MPEG1_AUDIO: Self = Self(0x03);
    /// MPEG-2 audio.
    pub const MPEG2_AUDIO: Self = Self(0x04);
    /// Private data; a descriptor tells what it is.
    pub const PRIVATE: Self = Self(0x06);

    fn kind(self, descriptors: &[u8]) -> PacketKind {
        match self.0 {
            0x01 | 0x02 | 0x10 | 0x1b | 0x20 | 0x21 | 0x24 | 0x33 | 0xd1 | 0xea => {
                PacketKind::Video
            }
            0x03 | 0x04 | 0x0f | 0x11 | 0x1c | 0x81 | 0x87 => PacketKind::Audio,
            0x06 => private_kind(descriptors),
            _ => PacketKind::Other,
        }
    }
}

/// One stream of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementaryStream {
    /// Its packet identifier.
    pub pid: u16,
    /// Its coding.
    pub stream_type: StreamType,
    /// What it is to a viewer.
    pub kind: PacketKind,
}

/// What the program consists of. Only the first program of a transport stream is looked at.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    program: u16,
    pmt_pid: Option<u16>,
    pat: Bytes,
    pmt: Bytes,
    streams: Vec<ElementaryStream>,
    packets: Bytes,
}

impl Tables {
    /// The streams, in the table's order; empty until the table was seen.
    pub fn streams(&self) -> &[ElementaryStream] {
        &self.streams
    }

    /// The first video stream.
    pub fn video(&self) -> Option<&ElementaryStream> {
        self.streams
            .iter()
            .find(|stream| stream.kind == PacketKind::Video)
    }

    /// The first audio stream.
    pub fn audio(&self) -> Option<&ElementaryStream> {
        self.streams
            .iter()
            .find(|stream| stream.kind == PacketKind::Audio)
    }

    /// Where the program map table is sent.
    pub fn pmt_pid(&self) -> Option<u16> {
        self.pmt_pid
    }

    /// Both tables as whole packets, to be put in front of media; empty until both were seen. Their
    /// continuity counters start at 0.
    pub fn packets(&self) -> &Bytes {
        &self.packets
    }

    pub(super) fn read_pat(&mut self, bytes: &[u8]) -> bool {
        if self.pat == bytes {
            return false;
        }
        let Some((_, programs)) = section::body(bytes, 0x00) else {
            return false;
        };
        let Some(entry) = programs
            .as_chunks::<4>()
            .0
            .iter()
            .find(|entry| entry[..2] != [0, 0])
        else {
            return false;
        };
        let pid = u16::from_be_bytes([entry[2] & 0x1f, entry[3]]);
        if !(0x10..0x1fff).contains(&pid) {
            return false;
        }
        let program = u16::from_be_bytes([entry[0], entry[1]]);
        self.pat = Bytes::copy_from_slice(bytes);
        if (program, Some(pid)) != (self.program, self.pmt_pid) {
            self.program = program;
            self.pmt_pid = Some(pid);
            self.pmt.clear();
            self.streams.clear();
        }
        self.write_packets();
        true
    }

    pub(super) fn read_pmt(&mut self, bytes: &[u8]) -> bool {
        if self.pmt == bytes {
            return false;
        }
        let Some((program, fields)) = section::body(bytes, 0x02) else {
            return false;
        };
        if program != self.program {
            return false;
        }
        let Some(streams) = read_streams(fields) else {
            return false;
        };
        self.pmt = Bytes::copy_from_slice(bytes);
        self.streams = streams;
        self.write_packets();
        true
    }

    fn write_packets(&mut self) {
        let Some(pmt_pid) = self.pmt_pid.filter(|_| !self.pmt.is_empty()) else {
            self.packets.clear();
            return;
        };
        let mut packets = BytesMut::new();
        section::packetise(0, &self.pat, &mut packets);
        section::packetise(pmt_pid, &self.pmt, &mut packets);
        self.packets = packets.freeze();
    }
}

fn read_streams(fields: &[u8]) -> Option<Vec<ElementaryStream>> {
    let (head, rest) = fields.split_first_chunk::<4>()?;
    let mut rest = rest.get(twelve_bits(head[2], head[3])..)?;
    let mut streams = Vec::new();
    while let Some((entry, after)) = rest.split_first_chunk::<5>() {
        let (descriptors, after) = after.split_at_checked(twelve_bits(entry[3], entry[4]))?;
        rest = after;
        if streams.len() < MOST_STREAMS {
            let stream_type = StreamType(entry[0]);
            streams.push(ElementaryStream {
                pid: u16::from_be_bytes([entry[1] & 0x1f, entry[2]]),
                stream_type,
                kind: stream_type.kind(descriptors),
            });
        }
    }
    Some(streams)
}

fn twelve_bits(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high & 0x0f, low]))
}

fn private_kind(mut descriptors: &[u8]) -> PacketKind {
    while let Some((&[tag, length], rest)) = descriptors.split_first_chunk::<2>() {
        let Some((data, rest)) = rest.split_at_checked(usize::from(length)) else {
            break;
        };
        descriptors = rest;
        match (tag, data) {
            // AC-3, E-AC-3 and AAC as DVB announces them, or by registration.
            (0x6a | 0x7a | 0x7c, _) | (0x05, b"Opus" | b"AC-3" | b"EAC3") => {
                return PacketKind::Audio;
            }
            (0x05, b"AV01" | b"HEVC" | b"VP09") => return PacketKind::Video,
            _ => {}
        }
    }
    PacketKind::Other
}
