//! What becomes of media messages, seen through our own reader.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use marquee_hls::h264;
use marquee_hls::ts::{PacketKind, Reader};
use proptest::prelude::*;

use super::*;

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xd9];
const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb];
const IDR: &[u8] = &[0x65, 0x88, 0x84];
const SLICE: &[u8] = &[0x41, 0x9a, 0x24];
const AAC_CONFIG: &[u8] = &[0xaf, 0, 0x12, 0x10];

fn avc_config() -> Vec<u8> {
    let mut tag = vec![0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0];
    tag.push(5);
    tag.extend_from_slice(SPS);
    tag.extend_from_slice(&[1, 0, 4]);
    tag.extend_from_slice(PPS);
    tag
}

fn frame(keyframe: bool, composition_ms: i32, units: &[&[u8]]) -> Vec<u8> {
    let mut tag = vec![if keyframe { 0x17 } else { 0x27 }, 1];
    tag.extend_from_slice(&composition_ms.to_be_bytes()[1..]);
    for unit in units {
        tag.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
        tag.extend_from_slice(unit);
    }
    tag
}

fn sound() -> Vec<u8> {
    [&[0xaf, 1][..], &[0x21; 200]].concat()
}

#[derive(Debug, PartialEq)]
struct Found {
    video: bool,
    pts: i64,
    dts: i64,
    random_access: bool,
}

fn read(bytes: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    Reader::new().push(bytes, &mut |packet| {
        if let Some(start) = packet.start {
            found.push(Found {
                video: packet.kind == PacketKind::Video,
                pts: start.pts.unwrap(),
                dts: start.dts.unwrap(),
                random_access: start.random_access,
            });
        }
    });
    found
}

#[test]
fn a_keyframe_brings_its_parameter_sets_and_times_are_kept() {
    let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
    remuxer.audio(0, AAC_CONFIG, &mut out).unwrap();
    remuxer.video(0, &avc_config(), &mut out).unwrap();
    remuxer.audio(0, &sound(), &mut out).unwrap();
    remuxer
        .video(40, &frame(true, 80, &[IDR]), &mut out)
        .unwrap();
    remuxer
        .video(80, &frame(false, 0, &[SLICE]), &mut out)
        .unwrap();
    let found = read(&out);
    let shape: Vec<_> = found
        .iter()
        .map(|it| (it.video, (it.pts - BEGIN) / MS, (it.dts - BEGIN) / MS))
        .collect();
    assert_eq!(shape, [(false, 0, 0), (true, 120, 40), (true, 80, 80)]);

    let mut first = Vec::new();
    Reader::new().push(&out, &mut |packet| {
        if packet.kind == PacketKind::Video && first.is_empty() {
            first = packet.payload().to_vec();
        }
    });
    let kinds: Vec<_> = h264::nal_units(&first).map(|unit| unit[0] & 0x1f).collect();
    // What stands before the delimiter is the packet's own start code.
    assert_eq!(kinds[1..], [9, 7, 8, 5]);
}

#[test]
fn a_publisher_of_one_track_gets_a_program_of_one_track() {
    let metadata = Tracks {
        video: true,
        audio: false,
    };
    for announced in [Some(metadata), None] {
        let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
        if let Some(tracks) = announced {
            remuxer.announce(tracks);
        }
        remuxer.video(0, &avc_config(), &mut out).unwrap();
        for index in 0..20 {
            let tag = frame(index == 0, 0, &[if index == 0 { IDR } else { SLICE }]);
            remuxer.video(index * 40, &tag, &mut out).unwrap();
            // Known by the metadata at once, without it after half a second.
            assert_eq!(out.is_empty(), announced.is_none() && index * 40 < 500);
        }
        assert_eq!(read(&out).len(), 20);
        let mut reader = Reader::new();
        reader.push(&out, &mut |_| {});
        assert!(reader.tables().video().is_some() && reader.tables().audio().is_none());
    }
}

#[test]
fn a_track_that_comes_later_is_added_to_the_program() {
    let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
    remuxer.audio(0, AAC_CONFIG, &mut out).unwrap();
    for index in 0..40 {
        remuxer.audio(index * 23, &sound(), &mut out).unwrap();
    }
    remuxer.video(920, &avc_config(), &mut out).unwrap();
    remuxer
        .video(920, &frame(true, 0, &[IDR]), &mut out)
        .unwrap();
    let found = read(&out);
    assert_eq!(found.iter().filter(|it| it.video).count(), 1);
    assert_eq!(found.len(), 41);
}

#[test]
fn time_goes_on_where_32_bits_of_milliseconds_end() {
    let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
    remuxer.announce(Tracks {
        video: false,
        audio: true,
    });
    let begin = u32::MAX - 50;
    remuxer.audio(begin, AAC_CONFIG, &mut out).unwrap();
    for index in 0..10 {
        let time = begin.wrapping_add(index * 23);
        remuxer.audio(time, &sound(), &mut out).unwrap();
    }
    let times: Vec<_> = read(&out).iter().map(|it| it.pts).collect();
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] == 23 * MS),
        "{times:?}"
    );
}

#[test]
fn hevc_by_enhanced_rtmp_is_taken() {
    let set = |kind: u8| vec![0x20 | kind, 0, 1, 0, 3, kind << 1, 1, 0xaa];
    let mut config = vec![0x90];
    config.extend_from_slice(b"hvc1");
    config.extend_from_slice(&[1; 22]);
    config.push(3);
    for kind in [32, 33, 34] {
        config.extend_from_slice(&set(kind));
    }
    let mut key = vec![0x93];
    key.extend_from_slice(b"hvc1");
    // Lengths of two bytes, as the record's 1 says.
    key.extend_from_slice(&[0, 3, 19 << 1, 1, 0xaf]);
    let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
    remuxer.announce(Tracks {
        video: true,
        audio: false,
    });
    remuxer.video(0, &config, &mut out).unwrap();
    remuxer.video(0, &key, &mut out).unwrap();
    assert!(read(&out)[0].random_access);
    let mut reader = Reader::new();
    reader.push(&out, &mut |_| {});
    assert_eq!(
        reader.tables().video().unwrap().stream_type,
        StreamType::HEVC
    );
}

#[test]
fn a_frame_whose_lengths_do_not_fit_is_damaged() {
    let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
    remuxer.video(0, &avc_config(), &mut out).unwrap();
    let mut tag = frame(true, 0, &[IDR]);
    tag.truncate(tag.len() - 1);
    assert!(matches!(
        remuxer.video(0, &tag, &mut out),
        Err(MediaError::Damaged(_))
    ));
}

#[test]
fn a_frame_that_is_padded_with_less_than_a_length_is_whole() {
    for padding in 1..4 {
        let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
        remuxer.announce(Tracks {
            video: true,
            audio: false,
        });
        remuxer.video(0, &avc_config(), &mut out).unwrap();
        let mut tag = frame(true, 0, &[IDR]);
        tag.resize(tag.len() + padding, 0);
        assert_eq!(remuxer.video(0, &tag, &mut out), Ok(true));
        assert_eq!(read(&out).len(), 1);
    }
}

#[test]
fn a_frame_with_nothing_in_it_is_left_out() {
    let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
    remuxer.video(0, &avc_config(), &mut out).unwrap();
    for units in [&[][..], &[&[][..]], &[&[0x09, 0xf0][..]]] {
        let tag = frame(true, 0, units);
        assert_eq!(remuxer.video(0, &tag, &mut out), Ok(false));
    }
    let slices = vec![SLICE; 1025];
    let tag = frame(false, 0, &slices);
    assert!(matches!(
        remuxer.video(0, &tag, &mut out),
        Err(MediaError::Damaged(_))
    ));
}

proptest! {
    #[test]
    fn no_payload_whatever_makes_it_panic(
        tags in prop::collection::vec(
            (any::<bool>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..60)), 0..30),
    ) {
        let (mut remuxer, mut out) = (Remuxer::default(), BytesMut::new());
        remuxer.video(0, &avc_config(), &mut out).unwrap();
        remuxer.audio(0, AAC_CONFIG, &mut out).unwrap();
        for (video, time, mut payload) in tags {
            let _ = if video {
                payload.splice(0..0, [0x17, 1]);
                remuxer.video(time, &payload, &mut out)
            } else {
                payload.splice(0..0, [0xaf]);
                remuxer.audio(time, &payload, &mut out)
            };
        }
        remuxer.finish(&mut out);
        prop_assert_eq!(out.len() % marquee_hls::ts::PACKET, 0);
    }
}
