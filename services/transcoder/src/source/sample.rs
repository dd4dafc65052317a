//! Transport streams made by hand, for tests of what reads them.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "only tests use it"
)]

use marquee_hls::ts::PACKET;

pub(crate) const VIDEO_PID: u16 = 0x100;
pub(crate) const AUDIO_PID: u16 = 0x101;
pub(crate) const SECOND: i64 = 90_000;
const PMT_PID: u16 = 0x1000;

/// H.264 parameter sets of a picture 640 wide, as x264 writes them.
pub(crate) const SPS_640: &[u8] = &[
    0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
    0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
];
/// The same at another level, which is another stream to a decoder.
pub(crate) const SPS_OTHER: &[u8] = &[
    0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
    0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
];
pub(crate) const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xcb, 0x83, 0xcb, 0x20];
pub(crate) const AUD: &[u8] = &[0, 0, 0, 1, 0x09, 0xf0];
pub(crate) const IDR: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84];
pub(crate) const SLICE: &[u8] = &[0, 0, 1, 0x41, 0x9a, 0x24];
pub(crate) const RECOVERY_POINT: &[u8] = &[0, 0, 1, 0x06, 0x06, 0x01, 0x84, 0x80];

/// PAT and PMT of a program with these streams: (type, PID).
pub(crate) fn tables(streams: &[(u8, u16)]) -> Vec<u8> {
    let [high, low] = PMT_PID.to_be_bytes();
    let mut bytes = table(0, 0x00, &[0, 1, 0xe0 | high, low]);
    let [high, low] = streams
        .first()
        .map_or(0x1fff, |stream| stream.1)
        .to_be_bytes();
    let mut fields = vec![0xe0 | high, low, 0xf0, 0];
    for (kind, pid) in streams {
        let [high, low] = pid.to_be_bytes();
        fields.extend_from_slice(&[*kind, 0xe0 | high, low, 0xf0, 0]);
    }
    bytes.extend(table(PMT_PID, 0x02, &fields));
    bytes
}

/// H.264 with AAC.
pub(crate) fn av_tables() -> Vec<u8> {
    tables(&[(0x1b, VIDEO_PID), (0x0f, AUDIO_PID)])
}

fn table(pid: u16, id: u8, fields: &[u8]) -> Vec<u8> {
    let length = (fields.len() + 9) as u8;
    let mut section = vec![id, 0xb0, length, 0, 1, 0xc1, 0, 0];
    section.extend_from_slice(fields);
    let crc = section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    section.extend_from_slice(&crc.to_be_bytes());
    let [high, low] = pid.to_be_bytes();
    let mut packet = vec![0x47, 0x40 | high, low, 0x10, 0];
    packet.extend(section);
    packet.resize(PACKET, 0xff);
    packet
}

/// A PES packet with PTS and DTS the same, in as many transport packets as it takes. A random
/// access point if `random_access`.
pub(crate) fn pes(pid: u16, pts: i64, random_access: bool, payload: &[u8]) -> Vec<u8> {
    let stream_id = if pid == VIDEO_PID { 0xe0 } else { 0xc0 };
    let mut bytes = vec![0, 0, 1, stream_id, 0, 0, 0x80, 0x80, 5];
    bytes.extend_from_slice(&pts_field(pts));
    bytes.extend_from_slice(payload);
    let [high, low] = pid.to_be_bytes();
    let mut packets = Vec::new();
    let mut rest = bytes.as_slice();
    let mut counter = 0;
    while !rest.is_empty() {
        let first = packets.is_empty();
        let flags = if first && random_access { 0x40 } else { 0 };
        // Always with an adaptation field of two bytes or more, which fills the packet up.
        let now = rest.len().min(PACKET - 6);
        let stuffing = PACKET - 6 - now;
        let start = if first { 0x40 } else { 0 };
        packets.extend_from_slice(&[0x47, start | high, low, 0x30 | counter]);
        packets.extend_from_slice(&[1 + stuffing as u8, flags]);
        packets.resize(packets.len() + stuffing, 0xff);
        packets.extend_from_slice(&rest[..now]);
        rest = &rest[now..];
        counter = (counter + 1) % 16;
    }
    packets
}

fn pts_field(pts: i64) -> [u8; 5] {
    let pts = pts.rem_euclid(1 << 33);
    let bits = |shift: u32, mask: i64| u8::try_from(pts >> shift & mask).unwrap();
    [
        0x21 | bits(30, 0x07) << 1,
        bits(22, 0xff),
        0x01 | bits(15, 0x7f) << 1,
        bits(7, 0xff),
        0x01 | bits(0, 0x7f) << 1,
    ]
}

/// A closed keyframe with everything a decoder needs.
pub(crate) fn keyframe(pts: i64, size: usize) -> Vec<u8> {
    pes(
        VIDEO_PID,
        pts,
        true,
        &sized(&[AUD, SPS_640, PPS, IDR], size),
    )
}

/// A frame that refers to others.
pub(crate) fn frame(pts: i64, size: usize) -> Vec<u8> {
    pes(VIDEO_PID, pts, false, &sized(&[AUD, SLICE], size))
}

/// A frame of sound.
pub(crate) fn sound(pts: i64) -> Vec<u8> {
    pes(AUDIO_PID, pts, false, &[0xaa; 150])
}

fn sized(units: &[&[u8]], size: usize) -> Vec<u8> {
    let mut bytes = units.concat();
    bytes.resize(size.max(bytes.len()), 0x5a);
    bytes
}

/// H.264 at 30 fps with the given GOP lengths in frames, sound between where `has_sound` says so.
pub(crate) fn stream(gops: &[i64], size: usize, has_sound: impl Fn(i64) -> bool) -> Vec<u8> {
    let mut bytes = av_tables();
    let mut at = 0;
    for gop in gops {
        for index in 0..*gop {
            let pts = SECOND + at * 3000;
            bytes.extend(if index == 0 {
                keyframe(pts, size)
            } else {
                frame(pts, size)
            });
            if has_sound(at * 3000) {
                bytes.extend(sound(pts));
            }
            at += 1;
        }
    }
    bytes
}
