//! What holds for any input and any way of reading it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it does not expect"
)]

use marquee_hls::{LadderSegmenter, PartTarget, Rung, SegmentEvent, SegmenterConfig};
use proptest::prelude::*;

#[path = "segmenter/synthetic.rs"]
mod synthetic;
use synthetic::Muxer;

const RUNGS: [Rung; 3] = [Rung::P1080, Rung::P480, Rung::P360];
const LEADER: Rung = Rung::P480;

/// One frame of a pipe: which rungs have a keyframe, a step in time, and whether there is sound.
#[derive(Clone, Debug)]
struct Frame {
    keys: [bool; 3],
    step: i64,
    size: usize,
    sound: bool,
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let key = prop_oneof![
        6 => Just([false; 3]),
        3 => Just([true; 3]),
        1 => any::<[bool; 3]>(),
    ];
    let step = prop_oneof![
        40 => Just(9000i64),
        5 => 1i64..30_000,
        1 => Just(12 * 90_000i64),
        1 => Just(-3 * 90_000i64),
    ];
    let frame =
        (key, step, 1..900usize, any::<bool>()).prop_map(|(keys, step, size, sound)| Frame {
            keys,
            step,
            size,
            sound,
        });
    prop::collection::vec(frame, 0..150)
}

fn pipes(frames: &[Frame]) -> [Vec<u8>; 3] {
    std::array::from_fn(|rung| {
        let mut muxer = Muxer::default();
        let mut pts = 900_000;
        for frame in frames {
            muxer.picture(pts, frame.keys[rung], frame.size, true);
            if frame.sound {
                muxer.sound(pts);
            }
            pts += frame.step;
        }
        muxer.bytes
    })
}

fn segmenter() -> LadderSegmenter {
    LadderSegmenter::new(SegmenterConfig::new(
        RUNGS.to_vec(),
        LEADER,
        PartTarget::default(),
    ))
}

/// Reads the pipes in turns as `turns` says, then what is left of each.
fn read(pipes: &[Vec<u8>; 3], turns: &[(usize, usize)]) -> Vec<SegmentEvent> {
    let mut segmenter = segmenter();
    let mut events = Vec::new();
    let mut rest = pipes.each_ref().map(Vec::as_slice);
    for &(rung, length) in turns {
        let (chunk, later) = rest[rung].split_at(length.min(rest[rung].len()));
        segmenter.push(RUNGS[rung], chunk, &mut events);
        rest[rung] = later;
    }
    for (rung, chunk) in RUNGS.into_iter().zip(rest) {
        segmenter.push(rung, chunk, &mut events);
    }
    segmenter.finish(&mut events);
    events
}

fn of(events: &[SegmentEvent], rung: Rung) -> Vec<&SegmentEvent> {
    events
        .iter()
        .filter(|event| name(event).0 == rung)
        .collect()
}

fn name(event: &SegmentEvent) -> (Rung, Option<u64>) {
    match *event {
        SegmentEvent::Segment(ref cut) => (cut.rung, Some(cut.index)),
        SegmentEvent::Part(ref cut) => (cut.rung, None),
        SegmentEvent::Missing { rung, index, .. } => (rung, Some(index)),
        SegmentEvent::LostAlignment { rung } | SegmentEvent::TooFarAhead { rung } => (rung, None),
    }
}

fn without_tables(stream: &[u8]) -> Vec<&[u8; 188]> {
    let is_media = |packet: &&[u8; 188]| {
        !matches!(
            u16::from_be_bytes([packet[1] & 0x1f, packet[2]]),
            0 | 0x1000
        )
    };
    stream
        .as_chunks::<188>()
        .0
        .iter()
        .filter(is_media)
        .collect()
}

fn media(events: &[&SegmentEvent]) -> Vec<u8> {
    events
        .iter()
        .filter_map(|event| match event {
            SegmentEvent::Segment(cut) => Some(cut.bytes.to_vec()),
            _ => None,
        })
        .flatten()
        .collect()
}

fn turns(longest: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..3usize, 1..longest), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_do_not_depend_on_how_the_pipes_are_read(
        frames in frames(),
        turns in prop_oneof![turns(400), turns(20_000)],
    ) {
        let pipes = pipes(&frames);
        let (whole, chunked) = (read(&pipes, &[]), read(&pipes, &turns));
        for rung in RUNGS {
            // Only whether alignment was told lost before the end may depend on it.
            let numbered = |events| -> Vec<_> {
                of(events, rung)
                    .into_iter()
                    .filter(|event| name(event).1.is_some() || matches!(event, SegmentEvent::Part(_)))
                    .cloned()
                    .collect()
            };
            prop_assert_eq!(numbered(&whole), numbered(&chunked));
        }
    }

    #[test]
    fn the_leader_loses_nothing_from_its_first_keyframe_on(frames in frames(), turns in turns(9000)) {
        let pipes = pipes(&frames);
        let events = read(&pipes, &turns);
        let bytes = media(&of(&events, LEADER));
        let input = without_tables(&pipes[1]);
        let output = without_tables(&bytes);
        prop_assert_eq!(&input[input.len() - output.len()..], &output[..]);
        let has_key = frames.iter().any(|frame| frame.keys[1]);
        prop_assert_eq!(has_key, !output.is_empty());
    }

    #[test]
    fn a_follower_keeps_the_order_and_repeats_nothing(frames in frames(), turns in turns(9000)) {
        let pipes = pipes(&frames);
        let events = read(&pipes, &turns);
        for (rung, pipe) in [(RUNGS[0], &pipes[0]), (RUNGS[2], &pipes[2])] {
            let bytes = media(&of(&events, rung));
            let mut input = without_tables(pipe).into_iter();
            prop_assert!(without_tables(&bytes).into_iter().all(|packet| input.any(|one| one == packet)));
        }
    }

    #[test]
    fn a_follower_with_the_same_keyframes_loses_nothing(frames in frames(), turns in turns(9000)) {
        let same: Vec<_> =
            frames.into_iter().map(|frame| Frame { keys: [frame.keys[1]; 3], ..frame }).collect();
        let pipes = pipes(&same);
        let events = read(&pipes, &turns);
        let [follower, leader] = [RUNGS[0], LEADER].map(|rung| media(&of(&events, rung)));
        prop_assert_eq!(without_tables(&follower), without_tables(&leader));
    }

    #[test]
    fn every_rung_tells_every_number_once_in_order_and_after_the_leader(
        frames in frames(),
        turns in turns(9000),
    ) {
        let events = read(&pipes(&frames), &turns);
        let indexes =
            |rung| -> Vec<_> { of(&events, rung).into_iter().filter_map(|event| name(event).1).collect() };
        let leader = indexes(LEADER);
        prop_assert_eq!(&leader, &(0..leader.len() as u64).collect::<Vec<_>>());
        for rung in RUNGS {
            prop_assert_eq!(indexes(rung), leader.clone());
        }
        for (at, event) in events.iter().enumerate() {
            let (rung, Some(index)) = name(event) else { continue };
            prop_assert!(
                rung == LEADER || events[..at].iter().any(|one| name(one) == (LEADER, Some(index)))
            );
        }
    }

    #[test]
    fn durations_add_up_to_the_start_of_the_next_unless_the_clock_jumped(frames in frames()) {
        let steady: Vec<_> = frames
            .into_iter()
            .map(|frame| Frame { step: frame.step.clamp(1, 30_000), ..frame })
            .collect();
        let events = read(&pipes(&steady), &[]);
        let times: Vec<_> = of(&events, LEADER)
            .into_iter()
            .filter_map(|event| match event {
                SegmentEvent::Segment(cut) => Some((cut.start_pts, cut.duration)),
                _ => None,
            })
            .collect();
        for pair in times.windows(2) {
            prop_assert_eq!(pair[0].0 + pair[0].1, pair[1].0);
        }
    }

    #[test]
    fn damaged_streams_neither_panic_nor_depend_on_chunking(
        frames in frames(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 1..40),
        turns in turns(3000),
    ) {
        let mut pipes = pipes(&frames);
        for (at, kind, value) in damage {
            let pipe = &mut pipes[usize::from(value % 3)];
            if pipe.is_empty() {
                continue;
            }
            let at = at.index(pipe.len());
            match kind {
                0 => pipe[at] = value,
                1 => pipe.insert(at, value),
                2 => drop(pipe.drain(at..(at + usize::from(value)).min(pipe.len()))),
                // The headers of packets are worth more hits than their payload.
                _ => {
                    let header = at / 188 * 188 + usize::from(value % 24);
                    if let Some(byte) = pipe.get_mut(header) {
                        *byte ^= value;
                    }
                }
            }
        }
        for pipe in &pipes {
            // Alone, so that no bound depends on the other rungs.
            let alone = |chunks: &mut dyn Iterator<Item = &[u8]>| {
                let mut segmenter = LadderSegmenter::new(SegmenterConfig::new(vec![LEADER], LEADER, PartTarget::default()));
                let mut events = Vec::new();
                chunks.for_each(|chunk| segmenter.push(LEADER, chunk, &mut events));
                segmenter.finish(&mut events);
                events
            };
            let size = turns.first().map_or(1, |turn| turn.1);
            let whole = alone(&mut std::iter::once(pipe.as_slice()));
            prop_assert_eq!(whole, alone(&mut pipe.chunks(size)));
        }
        read(&pipes, &turns);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(prop_oneof![2 => any::<u8>(), 1 => Just(0x47u8)], 0..6000),
        size in 1..700usize,
    ) {
        let mut segmenter = segmenter();
        let mut events = Vec::new();
        for (at, chunk) in bytes.chunks(size).enumerate() {
            segmenter.push(RUNGS[at % 3], chunk, &mut events);
        }
        segmenter.finish(&mut events);
        prop_assert!(RUNGS.into_iter().all(|rung| segmenter.params(rung).is_none()));
    }
}
