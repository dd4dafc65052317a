//! Reading transport streams and H.264 of any origin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it does not expect"
)]

use marquee_hls::{
    h264::{EntryPoint, HeadScanner, Sps, nal_units, read_head},
    ts::{ElementaryStream, PacketKind, Reader, StreamType},
};
use proptest::prelude::*;

#[path = "segmenter/synthetic.rs"]
mod synthetic;
use synthetic::{Muxer, SPS_720P};

fn sample() -> Vec<u8> {
    let mut muxer = Muxer::default();
    for frame in 0..20 {
        muxer.picture(frame * 3000, frame % 5 == 0, 700, true);
        muxer.sound(frame * 3000);
    }
    muxer.bytes
}

/// A packet and its kind.
type Seen = (Vec<u8>, PacketKind);
/// The PID, time and random access indicator of an access unit.
type Start = (u16, Option<i64>, bool);

fn packets(chunks: &[&[u8]]) -> (Vec<Seen>, Vec<Start>) {
    let (mut packets, mut starts) = (Vec::new(), Vec::new());
    let mut reader = Reader::new();
    for chunk in chunks {
        reader.push(chunk, &mut |packet| {
            packets.push((packet.bytes.to_vec(), packet.kind));
            if let Some(start) = packet.start {
                starts.push((packet.pid, start.pts, start.random_access));
            }
        });
    }
    (packets, starts)
}

#[test]
fn the_tables_tell_the_streams() {
    let mut reader = Reader::new();
    assert_eq!(reader.tables().streams(), []);
    reader.push(&sample(), &mut |_| {});
    let stream = |pid, stream_type, kind| ElementaryStream {
        pid,
        stream_type,
        kind,
    };
    assert_eq!(
        reader.tables().streams(),
        [
            stream(0x100, StreamType::H264, PacketKind::Video),
            stream(0x101, StreamType::AAC, PacketKind::Audio)
        ]
    );
    assert_eq!(reader.tables().packets()[..], sample()[..2 * 188]);
    assert_eq!(reader.resyncs(), 0);
}

#[test]
fn a_table_with_a_wrong_checksum_is_not_believed() {
    let mut bytes = sample();
    bytes.truncate(3 * 188);
    bytes[188 + 5 + 13] ^= 1;
    let mut reader = Reader::new();
    reader.push(&bytes, &mut |_| {});
    assert_eq!(reader.tables().streams(), []);
}

#[test]
fn access_units_are_known_by_their_times() {
    let (_, starts) = packets(&[&sample()]);
    assert_eq!(starts.len(), 40);
    assert_eq!(
        starts[..3],
        [
            (0x100, Some(0), true),
            (0x101, Some(0), true),
            (0x100, Some(3000), false)
        ]
    );
}

#[test]
fn garbage_between_packets_is_skipped() {
    let bytes = sample();
    let garbage = [0x47, 1, 0x47, 0x47, 0, 9, 8].repeat(31);
    let (clean, _) = packets(&[&bytes]);
    for at in [0, 188 * 7] {
        let dirty = [&bytes[..at], &garbage[1..], &bytes[at..]].concat();
        let (found, _) = packets(&[&dirty]);
        assert_eq!(found, clean, "garbage at {at}");
    }
}

#[test]
fn the_unwrapped_clock_goes_on_past_the_wrap_and_back() {
    let mut muxer = Muxer::default();
    let wrap = 1 << 33;
    for pts in [wrap - 6000, wrap - 3000, wrap, wrap + 3000, wrap - 3000] {
        muxer.picture(pts, true, 50, true);
        muxer.sound(pts + 100);
    }
    let (_, starts) = packets(&[&muxer.bytes]);
    let of = |pid| -> Vec<_> {
        starts
            .iter()
            .filter(|one| one.0 == pid)
            .map(|one| one.1.unwrap() - wrap)
            .collect()
    };
    assert_eq!(of(0x100), [-6000, -3000, 0, 3000, -3000]);
    assert_eq!(of(0x101), [-5900, -2900, 100, 3100, -2900]);
}

#[test]
fn a_parameter_set_tells_coding_and_size() {
    let sps = Sps::parse(&SPS_720P).unwrap();
    assert_eq!(sps.codec(), "avc1.64001f");
    assert_eq!(
        (sps.width, sps.height, sps.bit_depth, sps.chroma_format),
        (1280, 720, 8, 1)
    );
    assert_eq!(Sps::parse(&SPS_720P[..6]), None);
    assert_eq!(Sps::parse(&[]), None);
}

#[test]
fn entry_points_are_told_apart() {
    let unit = |nals: &[&[u8]]| -> Vec<u8> {
        nals.iter()
            .flat_map(|nal| [&[0, 0, 0, 1], *nal].concat())
            .collect()
    };
    let recovery: &[u8] = &[0x06, 0x06, 0x01, 0xc4, 0x80];
    let other: &[u8] = &[0x06, 0x05, 0x02, 0x11, 0x22, 0x80];
    let entry = |nals: &[&[u8]]| read_head(&unit(nals)).entry;
    assert_eq!(
        entry(&[&SPS_720P, &[0x68, 1], &[0x65, 0x88]]),
        EntryPoint::Idr
    );
    assert_eq!(
        entry(&[&[9, 0xf0], other, recovery, &[0x41, 0x9a]]),
        EntryPoint::Recovery
    );
    assert_eq!(entry(&[other, &[0x41, 0x9a]]), EntryPoint::None);
    assert_eq!(entry(&[&[0x41, 0x9a], recovery]), EntryPoint::None);
}

#[test]
fn the_head_of_an_access_unit_is_found_however_it_is_split() {
    let mut unit = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1];
    unit.extend(SPS_720P);
    unit.extend([0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 1, 0x65]);
    for size in 1..unit.len() {
        let mut scanner = HeadScanner::default();
        scanner.start();
        let heads: Vec<_> = unit
            .chunks(size)
            .filter_map(|chunk| scanner.push(chunk))
            .collect();
        assert_eq!(heads.len(), 1, "chunks of {size}");
        assert_eq!(heads[0].entry, EntryPoint::Idr);
        assert_eq!(heads[0].sps.as_ref().map(|sps| sps.height), Some(720));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_do_not_depend_on_chunking(
        garbage in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x47)], 0..800),
        at in any::<prop::sample::Index>(),
        size in 1..900usize,
    ) {
        let bytes = sample();
        let at = at.index(bytes.len());
        let bytes = [&bytes[..at], &garbage, &bytes[at..]].concat();
        let chunks: Vec<_> = bytes.chunks(size).collect();
        prop_assert_eq!(packets(&[&bytes]), packets(&chunks));
    }

    #[test]
    fn parsers_take_any_bytes(bytes in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(0x67), any::<u8>()], 0..300)) {
        let _ = read_head(&bytes);
        let _ = Sps::parse(&bytes);
        let _ = Sps::parse(&[&[0x67], bytes.as_slice()].concat());
        prop_assert!(nal_units(&bytes).map(<[u8]>::len).sum::<usize>() <= bytes.len());
        let mut scanner = HeadScanner::default();
        scanner.start();
        let whole = scanner.push(&bytes);
        scanner.start();
        let split = bytes.chunks(3).find_map(|chunk| scanner.push(chunk));
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn broken_table_fields_are_survived(
        hits in prop::collection::vec((4..376usize, any::<u8>()), 1..12),
    ) {
        let mut bytes = sample();
        for (at, value) in hits {
            bytes[at] = value;
        }
        packets(&[&bytes]);
    }
}
