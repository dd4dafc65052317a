//! Where segments are cut, and what becomes of rungs that do not follow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it does not expect"
)]

use marquee_hls::{
    CutPart, LadderSegmenter, PartTarget, RenditionParams, Rung, SegmentEvent, SegmenterConfig,
};

#[path = "segmenter/synthetic.rs"]
mod synthetic;
use synthetic::Muxer;

const FRAME: i64 = 3000;
const START: i64 = 900_000;
const LEADER: Rung = Rung::P720;
const FOLLOWER: Rung = Rung::P360;

/// A pipe at 30 frames a second with keyframes at these frames.
fn pipe(frames: i64, is_key: impl Fn(i64) -> bool) -> Vec<u8> {
    let mut muxer = Muxer::default();
    for frame in 0..frames {
        muxer.picture(START + frame * FRAME, is_key(frame), 400, true);
        muxer.sound(START + frame * FRAME);
    }
    muxer.bytes
}

fn every(gop: i64) -> impl Fn(i64) -> bool {
    move |frame| frame % gop == 0
}

fn ladder() -> LadderSegmenter {
    LadderSegmenter::new(SegmenterConfig::new(
        vec![LEADER, FOLLOWER],
        LEADER,
        PartTarget::default(),
    ))
}

fn alone(rung: Rung, bytes: &[u8]) -> Vec<SegmentEvent> {
    let mut segmenter = LadderSegmenter::new(SegmenterConfig::new(
        vec![rung],
        rung,
        PartTarget::default(),
    ));
    let mut events = Vec::new();
    segmenter.push(rung, bytes, &mut events);
    segmenter.finish(&mut events);
    events
}

fn both(leader: &[u8], follower: &[u8]) -> Vec<SegmentEvent> {
    let mut segmenter = ladder();
    let mut events = Vec::new();
    segmenter.push(LEADER, leader, &mut events);
    segmenter.push(FOLLOWER, follower, &mut events);
    segmenter.finish(&mut events);
    events
}

/// `(index, start, duration, frames)` of a rung, times in frames from the start; no frames where the
/// number is missing.
fn numbers(events: &[SegmentEvent], of: Rung) -> Vec<(u64, i64, i64, Option<u32>)> {
    let frames = |pts: i64| (pts - START) / FRAME;
    events
        .iter()
        .filter_map(|event| match event {
            SegmentEvent::Segment(cut) if cut.rung == of => Some((
                cut.index,
                frames(cut.start_pts),
                cut.duration / FRAME,
                Some(cut.frames),
            )),
            &SegmentEvent::Missing {
                rung,
                index,
                start_pts,
                duration,
            } if rung == of => Some((index, frames(start_pts), duration / FRAME, None)),
            _ => None,
        })
        .collect()
}

fn parts(events: &[SegmentEvent], of: Rung) -> Vec<&CutPart> {
    events
        .iter()
        .filter_map(|event| match event {
            SegmentEvent::Part(part) if part.rung == of => Some(part),
            _ => None,
        })
        .collect()
}

fn durations(events: &[SegmentEvent], of: Rung) -> Vec<i64> {
    numbers(events, of)
        .into_iter()
        .map(|(_, _, duration, _)| duration)
        .collect()
}

#[test]
fn groups_of_1_9_seconds_each_become_a_segment() {
    let events = alone(LEADER, &pipe(57 * 3, every(57)));
    assert_eq!(
        numbers(&events, LEADER),
        [
            (0, 0, 57, Some(57)),
            (1, 57, 57, Some(57)),
            (2, 114, 57, Some(57))
        ]
    );
}

#[test]
fn groups_of_half_a_second_are_gathered_to_two_seconds() {
    assert_eq!(
        durations(&alone(LEADER, &pipe(180, every(15))), LEADER),
        [60, 60, 60]
    );
}

#[test]
fn a_group_too_long_for_a_segment_is_one_segment() {
    assert_eq!(
        durations(&alone(LEADER, &pipe(225, every(75))), LEADER),
        [75, 75, 75]
    );
}

#[test]
fn what_comes_before_the_first_keyframe_is_dropped() {
    let events = alone(
        LEADER,
        &pipe(90, |frame| frame >= 20 && (frame - 20) % 60 == 0),
    );
    assert_eq!(
        numbers(&events, LEADER),
        [(0, 20, 60, Some(60)), (1, 80, 10, Some(10))]
    );
}

#[test]
fn sound_alone_is_cut_every_two_seconds() {
    let mut muxer = Muxer::default();
    for frame in 0..250 {
        if frame % 10 == 0 {
            muxer.tables_of_sound();
        }
        muxer.sound(START + frame * 1920);
    }
    let events = alone(Rung::Audio, &muxer.bytes);
    let counts: Vec<_> = numbers(&events, Rung::Audio)
        .into_iter()
        .map(|one| one.3)
        .collect();
    assert_eq!(counts, [Some(94), Some(94), Some(62)]);
}

#[test]
fn the_follower_is_cut_where_the_leader_is_although_it_has_more_keyframes() {
    let events = both(&pipe(180, every(60)), &pipe(180, every(15)));
    assert_eq!(numbers(&events, FOLLOWER), numbers(&events, LEADER));
    assert_eq!(durations(&events, FOLLOWER), [60, 60, 60]);
}

#[test]
fn a_follower_that_runs_ahead_waits_for_the_leader() {
    let mut segmenter = ladder();
    let mut events = Vec::new();
    segmenter.push(FOLLOWER, &pipe(180, every(15)), &mut events);
    assert_eq!(events, []);
    segmenter.push(LEADER, &pipe(180, every(60)), &mut events);
    segmenter.finish(&mut events);
    assert_eq!(numbers(&events, FOLLOWER), numbers(&events, LEADER));
    for index in 0..3 {
        let of = |rung| {
            events.iter().position(
                |event| matches!(event, SegmentEvent::Segment(cut) if (cut.rung, cut.index) == (rung, index)),
            )
        };
        assert!(
            of(LEADER).unwrap() < of(FOLLOWER).unwrap(),
            "the leader tells first"
        );
    }
}

#[test]
fn a_keyframe_one_frame_off_is_the_keyframe_of_the_cut() {
    let events = both(
        &pipe(180, every(60)),
        &pipe(180, |frame| [0, 61, 119].contains(&frame)),
    );
    let starts: Vec<_> = numbers(&events, FOLLOWER)
        .into_iter()
        .map(|one| (one.1, one.3))
        .collect();
    assert_eq!(
        starts,
        [(0, Some(61)), (60, Some(58)), (120, Some(61))],
        "times are the leader's"
    );
}

#[test]
fn a_follower_without_the_keyframe_lacks_that_number_alone() {
    let events = both(
        &pipe(240, every(60)),
        &pipe(240, |frame| frame % 60 == 0 && frame != 60),
    );
    let (former, rest) = numbers(&events, FOLLOWER)
        .split_first()
        .map(|(a, b)| (*a, b.to_vec()))
        .unwrap();
    assert!(
        (60..=62).contains(&former.3.unwrap()),
        "it ends at the cut: {former:?}"
    );
    assert_eq!(
        rest,
        [
            (1, 60, 60, None),
            (2, 120, 60, Some(60)),
            (3, 180, 60, Some(60))
        ]
    );
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, SegmentEvent::LostAlignment { .. }))
    );
}

#[test]
fn two_missing_numbers_in_a_row_are_told_once_as_lost_alignment() {
    let events = both(&pipe(600, every(60)), &pipe(600, |frame| frame == 0));
    let lost: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, SegmentEvent::LostAlignment { .. }))
        .collect();
    assert_eq!(lost, [&SegmentEvent::LostAlignment { rung: FOLLOWER }]);
    assert!(
        numbers(&events, FOLLOWER)[1..]
            .iter()
            .all(|one| one.3.is_none())
    );
    assert_eq!(
        numbers(&events, FOLLOWER).len(),
        10,
        "each number is accounted for"
    );
}

#[test]
fn a_follower_that_ends_early_lacks_the_last_numbers() {
    let events = both(&pipe(240, every(60)), &pipe(90, every(60)));
    assert_eq!(
        numbers(&events, FOLLOWER),
        [
            (0, 0, 60, Some(60)),
            (1, 60, 60, Some(30)),
            (2, 120, 60, None),
            (3, 180, 60, None)
        ]
    );
}

#[test]
fn a_follower_that_starts_late_lacks_the_first_numbers() {
    let events = both(
        &pipe(180, every(60)),
        &pipe(180, |frame| frame >= 60 && frame % 60 == 0),
    );
    assert_eq!(
        numbers(&events, FOLLOWER)[..2],
        [(0, 0, 60, None), (1, 60, 60, Some(60))]
    );
}

#[test]
fn a_follower_too_far_ahead_is_given_up_and_the_leader_goes_on() {
    let mut muxer = Muxer::default();
    for frame in 0..200 {
        muxer.picture(START + frame * FRAME, frame % 60 == 0, 100_000, true);
    }
    let mut segmenter = ladder();
    let mut events = Vec::new();
    segmenter.push(FOLLOWER, &muxer.bytes, &mut events);
    assert_eq!(events, [SegmentEvent::TooFarAhead { rung: FOLLOWER }]);
    segmenter.push(LEADER, &pipe(180, every(60)), &mut events);
    segmenter.finish(&mut events);
    assert_eq!(numbers(&events, LEADER).len(), 3);
    assert_eq!(
        numbers(&events, FOLLOWER),
        [(0, 0, 60, None), (1, 60, 60, None), (2, 120, 60, None)]
    );
}

#[test]
fn a_leader_without_keyframes_does_not_fill_the_memory() {
    let mut muxer = Muxer::default();
    for frame in 0..400 {
        muxer.picture(
            START + frame * FRAME,
            [0, 300].contains(&frame),
            100_000,
            true,
        );
    }
    let mut events = alone(LEADER, &muxer.bytes);
    events.retain(|event| !matches!(event, SegmentEvent::Part(_)));
    assert_eq!(events[0], SegmentEvent::TooFarAhead { rung: LEADER });
    assert_eq!(
        numbers(&events, LEADER),
        [(0, 0, 300, None), (1, 300, 100, Some(100))]
    );
}

#[test]
fn a_jump_of_the_clock_cuts_at_the_next_keyframe_in_all_rungs() {
    for jump in [-500_000, 40 * 90_000, 1 << 31] {
        let mut muxer = Muxer::default();
        for frame in 0..240 {
            let late = if frame < 100 { 0 } else { jump };
            muxer.picture(START + late + frame * FRAME, frame % 30 == 0, 300, true);
        }
        let whole = muxer.bytes;
        let mut segmenter = ladder();
        let mut events = Vec::new();
        segmenter.push(FOLLOWER, &whole[..whole.len() / 2], &mut events);
        segmenter.push(LEADER, &whole, &mut events);
        segmenter.push(FOLLOWER, &whole[whole.len() / 2..], &mut events);
        segmenter.finish(&mut events);
        assert_eq!(
            durations(&events, LEADER),
            [60, 60, 60, 60],
            "jump of {jump}"
        );
        assert_eq!(numbers(&events, FOLLOWER), numbers(&events, LEADER));
    }
}

#[test]
fn the_wrap_of_the_clock_is_not_seen() {
    let mut muxer = Muxer::default();
    for frame in 0..180 {
        muxer.picture(
            (1 << 33) - 90 * FRAME + frame * FRAME,
            frame % 60 == 0,
            300,
            true,
        );
    }
    let starts: Vec<_> = alone(LEADER, &muxer.bytes)
        .into_iter()
        .filter_map(|event| match event {
            SegmentEvent::Segment(cut) => Some(cut.start_pts - (1 << 33)),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [-90 * FRAME, -30 * FRAME, 30 * FRAME]);
}

#[test]
fn sound_may_vanish_and_come_back() {
    let mut muxer = Muxer::default();
    for frame in 0..240 {
        muxer.picture(START + frame * FRAME, frame % 60 == 0, 300, true);
        if !(70..150).contains(&frame) {
            muxer.sound(START + frame * FRAME);
        }
    }
    assert_eq!(
        durations(&alone(LEADER, &muxer.bytes), LEADER),
        [60, 60, 60, 60]
    );
}

#[test]
fn every_part_begins_with_tables_whose_counters_run_on() {
    let mut expected = 0;
    for part in parts(&alone(LEADER, &pipe(60 * 20, every(60))), LEADER) {
        let packets = part.bytes.as_chunks::<188>().0;
        let pid = |packet: &[u8; 188]| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        assert_eq!(
            packets.iter().map(pid).take(3).collect::<Vec<_>>(),
            [0, 0x1000, 0x100]
        );
        assert_eq!(
            [packets[0][3] & 0x0f, packets[1][3] & 0x0f],
            [expected, expected]
        );
        assert!(
            packets[2..]
                .iter()
                .all(|packet| ![0, 0x1000].contains(&pid(packet)))
        );
        let has_keyframe = packets[2][5] & 0x40 == 0x40 && packets[2][3] & 0x20 != 0;
        assert_eq!(
            (part.independent, part.part == 0),
            (has_keyframe, has_keyframe)
        );
        expected = (expected + 1) % 16;
    }
}

#[test]
fn the_rendition_is_described_from_what_is_in_the_pipe() {
    let mut segmenter = ladder();
    assert_eq!(segmenter.params(LEADER), None);
    segmenter.push(LEADER, &pipe(90, every(60)), &mut Vec::new());
    let expected = RenditionParams {
        codecs: "avc1.64001f,mp4a.40.2".to_owned(),
        resolution: Some((1280, 720)),
        frame_rate: Some(30.0),
        has_audio: true,
    };
    assert_eq!(segmenter.params(LEADER), Some(expected));
    assert_eq!(segmenter.params(FOLLOWER), None);
}

#[test]
fn usual_frame_rates_are_known_through_a_millisecond_clock() {
    for (rate, milliseconds) in [(29.97, 1001.0 / 30.0), (25.0, 40.0), (59.94, 1001.0 / 60.0)] {
        let mut muxer = Muxer::default();
        for frame in 0..90 {
            #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
            let at = (f64::from(frame) * milliseconds).round() as i64;
            muxer.picture(START + at * 90, frame == 0, 300, false);
        }
        let mut segmenter = ladder();
        segmenter.push(LEADER, &muxer.bytes, &mut Vec::new());
        let params = segmenter.params(LEADER).unwrap();
        assert_eq!((params.frame_rate, params.has_audio), (Some(rate), false));
    }
}

#[test]
fn other_rungs_and_input_after_the_end_are_ignored() {
    let mut segmenter = ladder();
    let mut events = Vec::new();
    segmenter.push(Rung::P1080, &pipe(120, every(60)), &mut events);
    segmenter.finish(&mut events);
    segmenter.push(LEADER, &pipe(120, every(60)), &mut events);
    segmenter.finish(&mut events);
    assert_eq!(events, []);
}
