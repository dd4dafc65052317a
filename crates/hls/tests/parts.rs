//! Parts: their lengths at the frame rates that cameras have, and that they are the segments, the same
//! in all rungs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test stops at what it does not expect"
)]

use marquee_hls::{CutPart, LadderSegmenter, PartTarget, Rung, SegmentEvent, SegmenterConfig};
use proptest::prelude::*;

#[path = "segmenter/synthetic.rs"]
mod synthetic;
use synthetic::Muxer;

const RUNGS: [Rung; 2] = [Rung::P720, Rung::P360];
const START: i64 = 900_000;

fn cut(pipes: &[Vec<u8>; 2], target: PartTarget) -> Vec<SegmentEvent> {
    let mut segmenter =
        LadderSegmenter::new(SegmenterConfig::new(RUNGS.to_vec(), RUNGS[0], target));
    let mut events = Vec::new();
    for (rung, pipe) in RUNGS.into_iter().zip(pipes) {
        segmenter.push(rung, pipe, &mut events);
    }
    segmenter.finish(&mut events);
    events
}

fn parts_of(events: &[SegmentEvent], rung: Rung, index: u64) -> Vec<&CutPart> {
    events
        .iter()
        .filter_map(|event| match event {
            SegmentEvent::Part(part) if (part.rung, part.index) == (rung, index) => Some(part),
            _ => None,
        })
        .collect()
}

/// `(index, duration, bytes)` of each whole segment.
fn segments(events: &[SegmentEvent], rung: Rung) -> Vec<(u64, i64, &[u8])> {
    events
        .iter()
        .filter_map(|event| match event {
            SegmentEvent::Segment(cut) if cut.rung == rung => {
                Some((cut.index, cut.duration, &cut.bytes[..]))
            }
            _ => None,
        })
        .collect()
}

/// Sections 4.4.3.7 and 4.4.4.9 of RFC 8216bis.
fn assert_legal(parts: &[&CutPart], target: PartTarget) {
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(part.part as usize, number);
        assert!(
            part.duration <= target.ticks(),
            "{} of {target:?}",
            part.duration
        );
        let may_be_short = part.independent || part.bytes.is_empty() || number + 1 == parts.len();
        assert!(
            may_be_short || part.duration * 100 >= target.ticks() * 85,
            "{} of {target:?}",
            part.duration
        );
    }
}

/// Times of `count` frames: exact, or as an encoder with a millisecond clock sends them.
fn times(frame_ticks: f64, count: u32, by_ms: bool) -> Vec<i64> {
    let time = |frame: u32| {
        let exact = f64::from(frame) * frame_ticks;
        #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
        let ticks = if by_ms {
            (exact / 90.0).round() as i64 * 90
        } else {
            exact.round() as i64
        };
        START + ticks
    };
    (0..count).map(time).collect()
}

fn pipes(times: &[i64], gop: usize) -> [Vec<u8>; 2] {
    RUNGS.map(|_| {
        let mut muxer = Muxer::default();
        for (frame, time) in times.iter().enumerate() {
            muxer.picture(*time, frame % gop == 0, 400, true);
            muxer.sound(*time);
        }
        muxer.bytes
    })
}

#[test]
fn parts_are_legal_and_as_long_as_can_be_at_every_usual_frame_rate() {
    for (rate, frame_ticks, frames_a_part) in [
        (23.976_f64, 90_090.0 / 24.0, 5),
        (24.0, 3750.0, 5),
        (25.0, 3600.0, 5),
        (29.97, 3003.0, 6),
        (30.0, 3000.0, 6),
        (50.0, 1800.0, 10),
        (59.94, 1501.5, 12),
        (60.0, 1500.0, 12),
    ] {
        for by_ms in [false, true] {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small"
            )]
            let gop = (2.0 * rate).round() as u32;
            let times = times(frame_ticks, gop * 5, by_ms);
            let target = PartTarget::for_frame_rate(rate);
            let events = cut(&pipes(&times, gop as usize), target);
            let segments = segments(&events, RUNGS[0]);
            assert_eq!(segments.len(), 5);
            for (index, duration, _) in segments {
                let parts = parts_of(&events, RUNGS[0], index);
                assert_legal(&parts, target);
                assert_eq!(
                    parts.len(),
                    gop.div_ceil(frames_a_part) as usize,
                    "at {rate}"
                );
                let sum: i64 = parts.iter().map(|part| part.duration).sum();
                assert!(
                    (sum - duration).abs() <= 90 * 2,
                    "{sum} is not {duration} at {rate}"
                );
            }
        }
    }
}

#[test]
fn every_rung_has_the_same_parts_and_a_rung_without_the_segment_has_empty_ones() {
    let times = times(3000.0, 240, false);
    let [leader, mut follower] = pipes(&times, 60);
    let mut without = Muxer::default();
    for (frame, time) in times.iter().enumerate() {
        without.picture(*time, frame % 60 == 0 && frame != 60, 200, true);
    }
    follower.clone_from(&without.bytes);
    let events = cut(&[leader, follower], PartTarget::default());
    for index in 0..4 {
        let shape = |rung| -> Vec<_> {
            let parts = parts_of(&events, rung, index);
            parts
                .iter()
                .map(|part| (part.part, part.duration, part.segment_start_pts))
                .collect()
        };
        assert_eq!(shape(RUNGS[0]), shape(RUNGS[1]));
        assert_eq!(shape(RUNGS[0]).len(), 10);
        let is_empty = |part: &&CutPart| part.bytes.is_empty();
        let empty = parts_of(&events, RUNGS[1], index)
            .into_iter()
            .filter(is_empty);
        assert_eq!(empty.count(), if index == 1 { 10 } else { 0 });
    }
}

#[test]
fn a_part_is_told_with_the_first_frame_after_it() {
    let times = times(3000.0, 7, false);
    let mut segmenter = LadderSegmenter::new(SegmenterConfig::new(
        vec![RUNGS[0]],
        RUNGS[0],
        PartTarget::default(),
    ));
    let mut events = Vec::new();
    let [six, seven] = [6, 7].map(|count| pipes(&times[..count], 60)[0].clone());
    segmenter.push(RUNGS[0], &six, &mut events);
    assert!(events.is_empty());
    segmenter.push(RUNGS[0], &seven[six.len()..], &mut events);
    assert_eq!(events.len(), 1);
    assert_eq!(parts_of(&events, RUNGS[0], 0)[0].duration, 18_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the source's clock does, also jump.
    #[test]
    fn parts_are_always_legal_and_are_their_segment_one_after_the_other(
        frames in prop::collection::vec((prop_oneof![
            30 => Just(3000_i64), 8 => 1_i64..40_000, 1 => Just(-400_000_i64), 1 => Just(2_000_000_i64),
        ], prop::bool::weighted(0.1), 1..900_usize), 1..200),
        missing in prop::collection::vec(any::<bool>(), 200),
        rate in prop_oneof![Just(24.0), Just(30.0), Just(60.0), 1.0..120.0],
    ) {
        let mut muxers = [Muxer::default(), Muxer::default()];
        let mut time = START;
        for (frame, (step, is_key, size)) in frames.iter().enumerate() {
            muxers[0].picture(time, *is_key, *size, true);
            muxers[1].picture(time, *is_key && missing[frame], *size, true);
            muxers[0].sound(time);
            time += step;
        }
        let target = PartTarget::for_frame_rate(rate);
        let events = cut(&muxers.map(|muxer| muxer.bytes), target);
        let leader = segments(&events, RUNGS[0]);
        for rung in RUNGS {
            for (index, _, bytes) in segments(&events, rung) {
                let parts = parts_of(&events, rung, index);
                assert_legal(&parts, target);
                let whole: Vec<u8> = parts.iter().flat_map(|part| part.bytes.to_vec()).collect();
                prop_assert!(whole == bytes, "{rung} {index}");
            }
        }
        for (index, ..) in leader {
            let durations = |rung| -> Vec<_> {
                parts_of(&events, rung, index).iter().map(|part| part.duration).collect()
            };
            prop_assert_eq!(durations(RUNGS[0]), durations(RUNGS[1]));
        }
    }
}
