//! What the inspector sees in sources of all kinds, hostile ones included.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use marquee_hls::ts::StreamType;
use proptest::prelude::*;

use super::*;
use crate::source::sample::{
    self, AUD, AUDIO_PID, IDR, PPS, RECOVERY_POINT, SLICE, SPS_OTHER, VIDEO_PID, av_tables, stream,
};

fn inspect_in(bytes: &[u8], chunk: usize) -> Vec<SourceEvent> {
    let mut inspector = SourceInspector::new();
    let mut events = Vec::new();
    for chunk in bytes.chunks(chunk) {
        inspector.push(chunk, &mut events).unwrap();
    }
    events
}

fn inspect(bytes: &[u8]) -> Vec<SourceEvent> {
    inspect_in(bytes, bytes.len().max(1))
}

fn media(events: &[SourceEvent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        if let SourceEvent::Media(media) = event {
            bytes.extend_from_slice(media);
        }
    }
    bytes
}

fn others(events: &[SourceEvent]) -> Vec<&SourceEvent> {
    let is_media = |event: &&SourceEvent| matches!(event, SourceEvent::Media(_));
    events.iter().filter(|event| !is_media(event)).collect()
}

fn keyframes(events: &[SourceEvent]) -> Vec<Keyframe> {
    let keyframe = |event: &SourceEvent| match event {
        SourceEvent::Keyframe(keyframe) => Some(*keyframe),
        _ => None,
    };
    events.iter().filter_map(keyframe).collect()
}

#[test]
fn it_begins_at_the_first_keyframe_with_the_tables_in_front() {
    let before = [
        av_tables(),
        sample::frame(84_000, 500),
        sample::sound(84_000),
        sample::frame(87_000, 500),
    ]
    .concat();
    let from_keyframe = stream(&[30], 400, |_| true);
    let events = inspect(&[before, from_keyframe.clone()].concat());
    assert!(media(&events) == from_keyframe);
}

#[test]
fn a_frame_that_needs_others_is_no_beginning_and_neither_is_a_keyframe_nobody_can_decode() {
    let bare = sample::pes(VIDEO_PID, 90_000, true, &[AUD, IDR].concat());
    let events = inspect(&[av_tables(), bare, sample::frame(93_000, 0)].concat());
    assert_eq!(events, []);
}

#[test]
fn a_recovery_point_is_a_beginning_but_an_open_one() {
    let unit = [AUD, sample::SPS_640, PPS, RECOVERY_POINT, SLICE].concat();
    let events = inspect(&[av_tables(), sample::pes(VIDEO_PID, 90_000, false, &unit)].concat());
    let keyframe = keyframes(&events)[0];
    assert!(!keyframe.closed && keyframe.can_begin);
}

#[test]
fn gops_are_measured_and_media_is_split_at_keyframes() {
    let bytes = stream(&[15, 60, 30], 1000, |_| true);
    let events = inspect(&bytes);
    let lengths: Vec<_> = keyframes(&events).iter().map(|key| key.gop).collect();
    assert_eq!(lengths, [None, Some(45_000), Some(180_000)]);
    assert!(keyframes(&events).iter().all(|key| key.closed));
    let rate = keyframes(&events)[2].video_bytes * 8 / 2;
    // 1000 bytes and headers take 6 packets; 30 of them a second.
    assert_eq!(rate, 6 * 188 * 30 * 8);
    for (index, event) in events.iter().enumerate() {
        if let SourceEvent::Keyframe(_) = event {
            let SourceEvent::Media(bytes) = &events[index + 1] else {
                panic!("media follows a keyframe");
            };
            assert_eq!(bytes[..376], av_tables(), "tables, for whoever begins here");
            assert!(bytes[376 + 5] & 0x40 != 0, "then the keyframe");
        }
    }
}

#[test]
fn the_head_is_ready_after_half_a_second_with_both_tracks() {
    let ready_at = |bytes: &[u8]| {
        let mut seen = 0;
        for event in inspect_in(bytes, 188) {
            match event {
                SourceEvent::Media(bytes) => seen += bytes.len(),
                SourceEvent::HeadReady => return Some(seen),
                _ => {}
            }
        }
        None
    };
    let frames = |bytes: Option<usize>| bytes.unwrap() / 188 / 4;
    let with_sound = stream(&[90], 400, |_| true);
    assert!((15..18).contains(&frames(ready_at(&with_sound))));
    let late_sound = stream(&[90], 400, |at| at > 60_000);
    assert!((16..25).contains(&frames(ready_at(&late_sound))));
    let fast = stream(&[90], 40_000, |_| true);
    assert!(ready_at(&fast).unwrap() < 400_000);
    assert_eq!(ready_at(&stream(&[10], 400, |_| true)), None);
}

#[test]
fn an_overdue_keyframe_is_told_once_a_gop() {
    let events = inspect(&stream(&[72, 60, 200, 30], 400, |_| true));
    let overdue = |event: &&&SourceEvent| matches!(event, SourceEvent::GopOverdue);
    let all = others(&events);
    assert_eq!(all.iter().filter(overdue).count(), 1, "{all:?}");
}

/// A second of video, then half a GOP after so many ticks, then a keyframe.
fn with_a_hole(ticks: i64, sound: impl Fn(i64) -> bool) -> Vec<u8> {
    let mut bytes = stream(&[30], 400, |_| true);
    let last = 90_000 + 29 * 3000;
    for at in (last + 3000..last + ticks)
        .step_by(3000)
        .filter(|at| sound(*at))
    {
        bytes.extend(sample::sound(at));
    }
    for index in 0..15 {
        bytes.extend(sample::frame(last + ticks + index * 3000, 400));
        bytes.extend(sample::sound(last + ticks + index * 3000));
    }
    bytes.extend(sample::keyframe(last + ticks + 45_000, 400));
    bytes.extend(sample::frame(last + ticks + 48_000, 400));
    bytes
}

#[test]
fn a_picture_that_stood_still_is_not_counted_into_its_gop() {
    for (ticks, sound) in [(60_000, false), (2 * 90_000, true)] {
        let events = inspect(&with_a_hole(ticks, |_| sound));
        assert!(events.contains(&SourceEvent::Hole { ms: ticks / 90 }));
        assert!(!events.contains(&SourceEvent::GopOverdue));
        assert_eq!(keyframes(&events)[1].gop, Some(87_000 + 45_000));
    }
}

#[test]
fn after_missing_media_a_new_head_begins_and_what_needs_it_is_dropped() {
    let bytes = with_a_hole(3 * 90_000, |_| false);
    let events = inspect(&bytes);
    let at = events
        .iter()
        .position(|event| *event == SourceEvent::NewHead(NewHeadReason::MediaMissing))
        .unwrap();
    let before = stream(&[30], 400, |_| true);
    assert!(media(&events[..at]) == before);
    // A keyframe and a frame of 3 packets each, and the tables.
    assert!(media(&events[at..]).ends_with(&bytes[bytes.len() - 6 * 188..]));
    assert_eq!(media(&events[at..]).len(), 8 * 188);
    assert!(!events.contains(&SourceEvent::GopOverdue));
}

#[test]
fn sound_that_was_away_for_a_minute_is_kept_for_a_new_head() {
    let gops = [60; 34];
    let away = 300_000..300_000 + 58 * 90_000;
    let events = inspect(&stream(&gops, 0, |at| !away.contains(&at)));
    let at = events
        .iter()
        .position(|event| *event == SourceEvent::NewHead(NewHeadReason::SoundReturned))
        .unwrap();
    let audio_packets = |events: &[SourceEvent]| {
        let is_audio = |packet: &&[u8]| packet[1] & 0x1f == 1 && packet[2] == 1;
        media(events).chunks(188).filter(is_audio).count()
    };
    assert_eq!(audio_packets(&events[..at]), 100);
    assert!(audio_packets(&events[at..]) > 0);
}

#[test]
fn a_clock_that_is_set_does_not_disturb_the_measures() {
    let mut bytes = stream(&[60, 60], 400, |_| true);
    for index in 0..90_i64 {
        let pts = 90_000 * 1000 + index * 3000;
        bytes.extend(if index % 60 == 0 {
            sample::keyframe(pts, 400)
        } else {
            sample::frame(pts, 400)
        });
    }
    let events = inspect(&bytes);
    let gops: Vec<_> = keyframes(&events).iter().map(|key| key.gop).collect();
    assert_eq!(gops, [None, Some(180_000), Some(180_000), Some(180_000)]);
    let jumps = events
        .iter()
        .filter(|event| matches!(event, SourceEvent::ClockJump { .. }));
    assert_eq!(jumps.count(), 1);
}

#[test]
fn sound_that_stops_and_returns_is_told() {
    let away = 300_000..900_000;
    let events = inspect(&stream(&[60; 8], 400, |at| !away.contains(&at)));
    let told: Vec<_> = others(&events)
        .into_iter()
        .filter(|event| !matches!(event, SourceEvent::Keyframe(_) | SourceEvent::HeadReady))
        .collect();
    assert_eq!(
        told,
        [&SourceEvent::AudioStopped, &SourceEvent::AudioStarted]
    );
}

#[test]
fn sound_that_was_not_in_the_head_is_told_when_it_comes() {
    let events = inspect(&stream(&[60; 3], 400, |at| at > 200_000));
    let position = |wanted: &SourceEvent| events.iter().position(|event| event == wanted);
    let (ready, started) = (
        position(&SourceEvent::HeadReady),
        position(&SourceEvent::AudioStarted),
    );
    assert!(ready.unwrap() < started.unwrap());
}

#[test]
fn sound_alone_begins_at_once_when_no_video_is_listed_and_after_a_while_when_it_never_comes() {
    let sound: Vec<u8> = (0..200)
        .flat_map(|at| sample::sound(90_000 + at * 1920))
        .collect();
    let alone = [sample::tables(&[(0x0f, AUDIO_PID)]), sound.clone()].concat();
    let events = inspect(&alone);
    assert_eq!(others(&events), [&SourceEvent::HeadReady]);
    assert!(media(&events).ends_with(&sound));

    let listed = inspect(&[av_tables(), sound.clone()].concat());
    assert_eq!(others(&listed), [&SourceEvent::HeadReady]);
    // Two seconds of it were waited for video.
    let lost = sound.len() - (media(&listed).len() - 376);
    assert!((90..100).contains(&(lost / 188)), "{}", lost / 188);
}

#[test]
fn video_that_comes_later_or_stops_is_told() {
    let sound = |from: i64, to: i64| {
        (from * 47..to * 47)
            .flat_map(|at| sample::sound(90_000 + at * 1920))
            .collect::<Vec<_>>()
    };
    let mut bytes = [av_tables(), sound(0, 5)].concat();
    for gop in 5..8 {
        bytes.extend(sample::keyframe(90_000 + gop * 90_240, 400));
        bytes.extend(sound(gop, gop + 1));
    }
    bytes.extend(sound(8, 14));
    let mut inspector = SourceInspector::new();
    let mut events = Vec::new();
    for chunk in bytes.chunks(188) {
        let told = events.len();
        inspector.push(chunk, &mut events).unwrap();
        if events[told..].contains(&SourceEvent::VideoStarted) {
            inspector.begin_new_head();
        }
        if events[told..].contains(&SourceEvent::VideoStopped) {
            assert!(!inspector.stats().has_video);
            inspector.begin_new_head();
        }
    }
    let order: Vec<_> = others(&events)
        .into_iter()
        .filter(|event| !matches!(event, SourceEvent::Keyframe(_) | SourceEvent::Hole { .. }))
        .collect();
    assert_eq!(
        order,
        [
            &SourceEvent::HeadReady,
            &SourceEvent::VideoStarted,
            &SourceEvent::NewHead(NewHeadReason::Asked),
            &SourceEvent::HeadReady,
            &SourceEvent::VideoStopped,
            &SourceEvent::NewHead(NewHeadReason::Asked),
            &SourceEvent::HeadReady,
        ]
    );
}

#[test]
fn another_picture_begins_a_new_head_at_its_keyframe() {
    let mut bytes = stream(&[60; 4], 400, |_| true);
    let other = sample::pes(
        VIDEO_PID,
        90_000 * 9,
        true,
        &[AUD, SPS_OTHER, PPS, IDR].concat(),
    );
    bytes.extend(other.clone());
    bytes.extend(sample::frame(90_000 * 9 + 3000, 400));
    let events = inspect(&bytes);
    let at = events
        .iter()
        .position(|event| *event == SourceEvent::NewHead(NewHeadReason::FormatChanged))
        .unwrap();
    let SourceEvent::Keyframe(keyframe) = &events[at + 1] else {
        panic!("a keyframe follows: {:?}", &events[at..]);
    };
    assert_eq!(keyframe.gop, None);
    let after = media(&events[at..]);
    assert!(after.starts_with(&[av_tables(), other].concat()));
}

#[test]
fn a_new_head_on_request_begins_at_the_next_keyframe_and_nothing_is_lost_before() {
    let bytes = stream(&[60; 4], 400, |_| true);
    let mut inspector = SourceInspector::new();
    let mut events = Vec::new();
    inspector
        .push(&bytes[..bytes.len() / 2 + 188 * 3], &mut events)
        .unwrap();
    let before = keyframes(&events).len();
    inspector.begin_new_head();
    inspector
        .push(&bytes[bytes.len() / 2 + 188 * 3..], &mut events)
        .unwrap();
    let at = events
        .iter()
        .position(|event| *event == SourceEvent::NewHead(NewHeadReason::Asked))
        .unwrap();
    assert_eq!(keyframes(&events[..at]).len(), before);
    assert_eq!(keyframes(&events[at..])[0].gop, None);
    assert!(others(&events[at..]).contains(&&SourceEvent::HeadReady));
    let tables_restated = (keyframes(&events).len()) * 376;
    assert_eq!(media(&events).len(), bytes.len() - 376 + tables_restated);
}

#[test]
fn only_garbage_is_refused_and_so_is_a_stream_without_program_or_beginning() {
    let push = |bytes: &[u8], times: usize| {
        let mut inspector = SourceInspector::new();
        (0..times).find_map(|_| inspector.push(bytes, &mut Vec::new()).err())
    };
    let garbage: Vec<u8> = (0..100_000_u64).map(|at| (at * at % 251) as u8).collect();
    assert_eq!(push(&garbage, 20), Some(SourceError::NotTransportStream));
    assert_eq!(
        push(&sample::frame(0, 50_000), 100),
        Some(SourceError::NoProgram)
    );
    let mut endless = av_tables();
    for at in 0..700 {
        endless.extend(sample::frame(at * 3000, 400));
    }
    assert_eq!(push(&endless, 1), Some(SourceError::NoKeyframe));
}

#[test]
fn garbage_in_front_and_midway_costs_only_what_it_replaces() {
    let bytes = stream(&[30; 4], 400, |_| true);
    let middle = bytes.len() / 188 / 2 * 188;
    let dirty = [
        &[0x47; 100][..],
        &[0; 1000],
        &bytes[..middle],
        &[0x13; 777],
        &bytes[middle..],
    ];
    let events = inspect(&dirty.concat());
    let clean = inspect(&bytes);
    assert!(media(&events) == media(&clean));
    assert_eq!(keyframes(&events), keyframes(&clean));
}

#[test]
fn streams_of_other_programs_and_stuffing_are_dropped() {
    let noise = [
        sample::pes(0x1fff, 0, false, &[0; 50]),
        sample::pes(0x300, 0, false, &[1; 400]),
    ];
    let bytes = stream(&[10], 400, |_| true);
    let mixed: Vec<u8> = bytes
        .chunks(188)
        .flat_map(|packet| [packet, &noise.concat()].concat())
        .collect();
    assert!(media(&inspect(&mixed)) == media(&inspect(&bytes)));
}

#[test]
fn mpeg2_video_begins_where_the_transport_says_so() {
    let mut bytes = sample::tables(&[(0x02, VIDEO_PID)]);
    bytes.extend(sample::pes(VIDEO_PID, 90_000, false, &[0, 0, 1, 0]));
    bytes.extend(sample::pes(VIDEO_PID, 93_000, true, &[0, 0, 1, 0xb3]));
    bytes.extend(sample::pes(VIDEO_PID, 96_000, false, &[0, 0, 1, 0]));
    assert_eq!(keyframes(&inspect(&bytes)).len(), 1);
    assert_ne!(StreamType::H264, StreamType(0x02));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_chunking_of_the_input_does_not_matter(
        gops in prop::collection::vec(1_i64..40, 1..6),
        chunk in 1_usize..3000,
        size in 0_usize..900,
    ) {
        let bytes = stream(&gops, size, |at| at % 5 != 0);
        let whole = inspect(&bytes);
        let pieces = inspect_in(&bytes, chunk);
        prop_assert!(media(&pieces) == media(&whole));
        prop_assert_eq!(others(&pieces), others(&whole));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let mut inspector = SourceInspector::new();
        let mut packets = av_tables();
        for chunk in bytes.chunks(184) {
            packets.extend_from_slice(&[0x47, chunk[0] & 0x41, 0, chunk[0]]);
            packets.extend_from_slice(chunk);
            packets.resize(packets.len().next_multiple_of(188), 0);
        }
        let _ = inspector.push(&packets, &mut Vec::new());
        let _ = inspector.push(&bytes, &mut Vec::new());
    }
}
