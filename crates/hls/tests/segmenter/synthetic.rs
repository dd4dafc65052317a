//! Transport streams made by hand: every byte of them is known.
#![allow(
    dead_code,
    reason = "each test file that includes this uses its own part"
)]

/// An H.264 parameter set of 1280 × 720, High profile, level 3.1.
pub const SPS_720P: [u8; 22] = [
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
    0x10, 0x00, 0x00, 0x03, 0x03, 0xc0,
];

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;
const PMT: u16 = 0x1000;
const SOUND_ENTRY: [u8; 5] = [0x0f, 0xe1, 0x01, 0xf0, 0];

/// Writes packets with right continuity counters.
#[derive(Default)]
pub struct Muxer {
    pub bytes: Vec<u8>,
    counters: [u8; 4],
}

impl Muxer {
    /// Program tables with H.264, and AAC when `audio` is set.
    pub fn tables(&mut self, audio: bool) {
        let sound: &[u8] = if audio { &SOUND_ENTRY } else { &[] };
        self.program(&[&[0x1b, 0xe1, 0x00, 0xf0, 0], sound].concat());
    }

    /// Program tables with AAC alone.
    pub fn tables_of_sound(&mut self) {
        self.program(&SOUND_ENTRY);
    }

    fn program(&mut self, streams: &[u8]) {
        let mut pat = vec![0x00, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0x00];
        seal(&mut pat);
        self.section(0, &pat);
        let mut pmt = vec![0x02, 0xb0, 0, 0, 1, 0xc1, 0, 0, 0xe1, 0x00, 0xf0, 0];
        pmt.extend(streams);
        pmt[2] = u8::try_from(pmt.len() + 4 - 3).unwrap();
        seal(&mut pmt);
        self.section(PMT, &pmt);
    }

    /// A picture with `size` bytes of slice; a keyframe comes with tables and a parameter set.
    pub fn picture(&mut self, pts: i64, key: bool, size: usize, audio: bool) {
        let mut unit = vec![0, 0, 0, 1, 9, 0xf0];
        if key {
            self.tables(audio);
            unit.extend([0, 0, 0, 1]);
            unit.extend(SPS_720P);
        }
        unit.extend([0, 0, 1, if key { 0x65 } else { 0x41 }]);
        unit.extend((0..size).map(|at| u8::try_from(at % 251).unwrap() | 1));
        self.pes(VIDEO, 0xe0, pts, key, &unit);
    }

    /// A frame of AAC.
    pub fn sound(&mut self, pts: i64) {
        let mut frame = vec![0xff, 0xf1, 0x4c, 0x80, 0x2e, 0x7f, 0xfc];
        frame.resize(371, 0x21);
        self.pes(AUDIO, 0xc0, pts, true, &frame);
    }

    fn section(&mut self, pid: u16, section: &[u8]) {
        let counter = self.counter(pid);
        let [high, low] = pid.to_be_bytes();
        let end = self.bytes.len() + 188;
        self.bytes
            .extend([0x47, 0x40 | high, low, 0x10 | counter, 0]);
        self.bytes.extend(section);
        self.bytes.resize(end, 0xff);
    }

    fn pes(&mut self, pid: u16, stream: u8, pts: i64, random_access: bool, unit: &[u8]) {
        let mut pes = vec![0, 0, 1, stream, 0, 0, 0x80, 0x80, 5];
        let raw = u64::try_from(pts.rem_euclid(1 << 33)).unwrap();
        let byte = |shift: u32| u8::try_from(raw >> shift & 0xff).unwrap();
        pes.extend([
            0x21 | (byte(30) & 7) << 1,
            byte(22),
            byte(14) | 1,
            byte(7),
            byte(0) << 1 | 1,
        ]);
        pes.extend(unit);
        let mut rest = pes.as_slice();
        let mut first = true;
        while !rest.is_empty() {
            let counter = self.counter(pid);
            let [high, low] = pid.to_be_bytes();
            let flags = if first && random_access { 0x40 } else { 0 };
            let room = if flags == 0 { 184 } else { 182 };
            let (now, later) = rest.split_at(room.min(rest.len()));
            let stuffing = 184 - now.len();
            let start = if first { 0x40 } else { 0 };
            let control = if stuffing > 0 { 0x30 } else { 0x10 };
            self.bytes
                .extend([0x47, start | high, low, control | counter]);
            if stuffing > 0 {
                self.bytes.push(u8::try_from(stuffing - 1).unwrap());
            }
            if stuffing > 1 {
                self.bytes.push(flags);
                self.bytes.resize(self.bytes.len() + stuffing - 2, 0xff);
            }
            self.bytes.extend(now);
            rest = later;
            first = false;
        }
    }

    fn counter(&mut self, pid: u16) -> u8 {
        let slot = match pid {
            0 => 0,
            PMT => 1,
            VIDEO => 2,
            _ => 3,
        };
        let counter = self.counters[slot];
        self.counters[slot] = (counter + 1) & 0x0f;
        counter
    }
}

fn seal(section: &mut Vec<u8>) {
    let crc = section.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    section.extend(crc.to_be_bytes());
}
