//! Writing MPEG-TS: one program with at most one video and one audio stream, for sources that come
//! in another container.
//!
//! Pure: access units in, whole packets out. Continuity counters run over the muxer's life, also
//! when the program changes.

use bytes::{BufMut, BytesMut};

use super::section::{crc32, packetise_from};
use super::{PACKET, StreamType};

const PMT_PID: u16 = 0x1000;
/// The packet identifier of the video stream.
pub const VIDEO_PID: u16 = 0x100;
/// The packet identifier of the audio stream.
pub const AUDIO_PID: u16 = 0x101;
const VIDEO_STREAM_ID: u8 = 0xe0;
const AUDIO_STREAM_ID: u8 = 0xc0;
/// How far the clock is behind the first time that is decoded by it: what a decoder may buffer.
const CLOCK_LEAD: i64 = 9_000;
/// What a packet's adaptation field holds besides stuffing when it carries the clock.
const CLOCK_BYTES: usize = 6;

/// What the program consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Program {
    /// Coding of its video.
    pub video: Option<StreamType>,
    /// Coding of its audio.
    pub audio: Option<StreamType>,
}

/// One picture, or one frame of sound, with its times in 90 kHz ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessUnit<'a> {
    /// Presentation time.
    pub pts: i64,
    /// Decoding time.
    pub dts: i64,
    /// Whether decoding can start here.
    pub random_access: bool,
    /// The elementary stream's bytes: Annex B for H.264 and H.265, ADTS for AAC.
    pub data: &'a [u8],
}

/// Writes packets.
#[derive(Debug, Default)]
pub struct Muxer {
    program: Program,
    version: u8,
    pat_counter: u8,
    pmt_counter: u8,
    video_counter: u8,
    audio_counter: u8,
}

impl Muxer {
    /// A muxer for a program.
    pub fn new(program: Program) -> Self {
        Self {
            program,
            ..Self::default()
        }
    }

    /// What the program consists of now.
    pub fn program(&self) -> Program {
        self.program
    }

    /// From the next tables on the program is another one.
    pub fn set_program(&mut self, program: Program) {
        if program != self.program {
            self.program = program;
            self.version = (self.version + 1) & 0x1f;
        }
    }

    /// Writes the program's tables: one packet each.
    pub fn tables(&mut self, out: &mut BytesMut) {
        let pat = section(0x00, self.version, |fields| {
            fields.put_u16(1);
            fields.put_u16(0xe000 | PMT_PID);
        });
        packetise_from(0, &pat, &mut self.pat_counter, out);
        let Program { video, audio } = self.program;
        let clock = if video.is_some() {
            VIDEO_PID
        } else {
            AUDIO_PID
        };
        let pmt = section(0x02, self.version, |fields| {
            fields.put_u16(0xe000 | clock);
            fields.put_u16(0xf000);
            for (stream_type, pid) in [(video, VIDEO_PID), (audio, AUDIO_PID)] {
                if let Some(StreamType(code)) = stream_type {
                    fields.put_u8(code);
                    fields.put_u16(0xe000 | pid);
                    fields.put_u16(0xf000);
                }
            }
        });
        packetise_from(PMT_PID, &pmt, &mut self.pmt_counter, out);
    }

    /// Writes a picture; with the program's clock, which goes with the video.
    pub fn video(&mut self, unit: &AccessUnit<'_>, out: &mut BytesMut) {
        // Of a video stream's packets the length may be left open, and pictures are too long for it.
        let header = pes_header(VIDEO_STREAM_ID, unit, None);
        let flags = Flags {
            clock: Some(unit.dts - CLOCK_LEAD),
            random_access: unit.random_access,
        };
        let counter = &mut self.video_counter;
        packetise(VIDEO_PID, counter, &header, unit.data, flags, out);
    }

    /// Writes a frame of sound; with the program's clock if there is no video.
    pub fn audio(&mut self, unit: &AccessUnit<'_>, out: &mut BytesMut) {
        let header = pes_header(AUDIO_STREAM_ID, unit, Some(unit.data.len()));
        let flags = Flags {
            clock: self
                .program
                .video
                .is_none()
                .then_some(unit.dts - CLOCK_LEAD),
            random_access: unit.random_access,
        };
        let counter = &mut self.audio_counter;
        packetise(AUDIO_PID, counter, &header, unit.data, flags, out);
    }
}

fn section(table: u8, version: u8, write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut section = BytesMut::new();
    section.put_u8(table);
    // The length, below.
    section.put_u16(0);
    section.put_u16(1);
    section.put_u8(0xc1 | version << 1);
    section.put_u16(0);
    write(&mut section);
    // What follows the length field, the checksum included. Two streams are far below its limit.
    let [high, low] = u16::try_from(section.len() + 1)
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    section[1] = 0xb0 | high;
    section[2] = low;
    section.put_u32(crc32(&section));
    section
}

/// A PES header. `length` is the payload's, where it is to be given and fits.
fn pes_header(stream_id: u8, unit: &AccessUnit<'_>, length: Option<usize>) -> BytesMut {
    let mut header = BytesMut::with_capacity(19);
    header.put_slice(&[0, 0, 1, stream_id]);
    let both = unit.pts != unit.dts;
    let times: u8 = if both { 10 } else { 5 };
    let length = length
        .map(|length| length + 3 + usize::from(times))
        .and_then(|length| u16::try_from(length).ok());
    header.put_u16(length.unwrap_or(0));
    // Aligned: a unit begins right after this header.
    header.put_u8(0x84);
    header.put_u8(if both { 0xc0 } else { 0x80 });
    header.put_u8(times);
    put_time(if both { 3 } else { 2 }, unit.pts, &mut header);
    if both {
        put_time(1, unit.dts, &mut header);
    }
    header
}

/// The low 33 bits of a time, in the five bytes of a PES header.
fn put_time(mark: u8, time: i64, out: &mut BytesMut) {
    out.put_u8(mark << 4 | bits(time, 30, 0x07) << 1 | 1);
    out.put_u8(bits(time, 22, 0xff));
    out.put_u8(bits(time, 15, 0x7f) << 1 | 1);
    out.put_u8(bits(time, 7, 0xff));
    out.put_u8(bits(time, 0, 0x7f) << 1 | 1);
}

fn bits(time: i64, shift: u32, mask: u8) -> u8 {
    (time >> shift).to_le_bytes()[0] & mask
}

/// What the first packet of a unit says of it.
struct Flags {
    clock: Option<i64>,
    random_access: bool,
}

fn packetise(
    pid: u16,
    counter: &mut u8,
    header: &[u8],
    data: &[u8],
    flags: Flags,
    out: &mut BytesMut,
) {
    let mut header = header;
    let mut data = data;
    let mut flags = Some(flags);
    while !header.is_empty() || !data.is_empty() {
        let first = flags.take();
        let start = if first.is_some() { 0x40 } else { 0 };
        let fields = first.as_ref().map_or(0, |flags| {
            // Its flags, and the clock.
            match (flags.clock, flags.random_access) {
                (Some(_), _) => 1 + CLOCK_BYTES,
                (None, true) => 1,
                (None, false) => 0,
            }
        });
        let left = header.len() + data.len();
        let room = PACKET - 4 - if fields > 0 { 1 + fields } else { 0 };
        let payload = left.min(room);
        // All between the header and the payload: its length byte, flags, clock, stuffing.
        let field = PACKET - 4 - payload;
        let [high, low] = pid.to_be_bytes();
        let control = if field > 0 { 0x30 } else { 0x10 };
        out.put_slice(&[0x47, start | high, low, control | *counter]);
        *counter = (*counter + 1) & 0x0f;
        put_adaptation(field, first.as_ref(), out);
        let from_header = payload.min(header.len());
        out.put_slice(&header[..from_header]);
        header = &header[from_header..];
        let from_data = payload - from_header;
        out.put_slice(&data[..from_data]);
        data = &data[from_data..];
    }
}

/// Writes an adaptation field of so many bytes, its length byte included.
fn put_adaptation(field: usize, flags: Option<&Flags>, out: &mut BytesMut) {
    let Some(length) = field.checked_sub(1) else {
        return;
    };
    // At most a packet.
    out.put_u8(u8::try_from(length).unwrap_or(u8::MAX));
    let Some(mut stuffing) = length.checked_sub(1) else {
        return;
    };
    let clock = flags.and_then(|flags| flags.clock);
    let random_access = flags.is_some_and(|flags| flags.random_access);
    let clock_bit = if clock.is_some() { 0x10 } else { 0 };
    out.put_u8(clock_bit | if random_access { 0x40 } else { 0 });
    if let Some(clock) = clock {
        // 33 bits at 90 kHz, six reserved ones, and nine at 27 MHz that stay 0.
        out.put_u8(bits(clock, 25, 0xff));
        out.put_u8(bits(clock, 17, 0xff));
        out.put_u8(bits(clock, 9, 0xff));
        out.put_u8(bits(clock, 1, 0xff));
        out.put_u8(bits(clock, 0, 1) << 7 | 0x7e);
        out.put_u8(0);
        stuffing -= CLOCK_BYTES;
    }
    out.put_bytes(0xff, stuffing);
}
