//! Garbage, clocks that are set, and pictures that change.

use marquee_transcoder::source::{NewHeadReason, ProbeError, SourceEvent, probe};
use std::time::Duration;

use super::clips::{Camera, moved};
use super::rig::{Content, broadcast};

fn camera() -> Camera {
    Camera {
        ms: 6000,
        size: "640x480",
        fps: 15,
        gop: 30,
        ..Camera::default()
    }
}

fn garbage(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| (at * at % 253) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_front_and_midway_leaves_the_rungs_in_step() {
    let film = camera().film();
    // In the middle of a packet, so that it is lost as well.
    let middle = film.len() / 2 / 188 * 188 + 60;
    let dirty = [
        &garbage(3000),
        &film[..middle],
        &garbage(5000),
        &film[middle..],
    ]
    .concat();
    let outcome = broadcast(&dirty).await;
    let run = outcome.only_run();
    assert_eq!(run.durations_ms(), [2000, 2000, 2000]);
    assert!(
        run.frames() + 2 >= camera().frames() as usize,
        "{}",
        run.frames()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_joins_in_the_middle_of_a_gop_begins_at_its_next_keyframe() {
    let film = camera().film();
    let outcome = broadcast(&film[film.len() / 10..]).await;
    let run = outcome.only_run();
    assert_eq!(run.frames(), 60);
    assert_eq!(run.durations_ms(), [2000, 2000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_keeps_the_rungs_in_step() {
    let film = camera().film();
    for by in [1000.0, -500.0] {
        // Both far enough from zero.
        let (before, after) = (moved(&film, 5000.0), moved(&film, 5000.0 + by));
        let outcome = broadcast(&[before, after].concat()).await;
        let jumps = outcome
            .told
            .iter()
            .filter(|event| matches!(event, SourceEvent::ClockJump { .. }));
        assert_eq!(jumps.count(), 1);
        let run = outcome.only_run();
        assert_eq!(run.frames(), 2 * camera().frames() as usize);
        assert!(
            run.durations_ms()
                .iter()
                .all(|ms| (1900..2200).contains(ms))
        );
        for rungs in run.aligned() {
            for (segment, Content { audio, .. }) in rungs.values() {
                let (from, to) = (segment.start_pts, segment.start_pts + segment.duration);
                let near = audio
                    .iter()
                    .all(|pts| (from - 90_000..to + 90_000).contains(pts));
                assert!(near, "the sound stays with the picture");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrap_of_the_clock_is_nothing_special() {
    // 2^33 ticks are 95443.7 s; a third of the film lies before.
    let film = moved(&camera().film(), 95_440.3);
    let outcome = broadcast(&film).await;
    let run = outcome.only_run();
    assert_eq!(run.frames(), camera().frames() as usize);
    assert_eq!(run.durations_ms(), [2000, 2000, 2000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_size_begins_a_new_run_with_its_first_keyframe() {
    let small = Camera {
        size: "480x360",
        ..camera()
    };
    let film = [camera().film(), moved(&small.film(), 6.0)].concat();
    let outcome = broadcast(&film).await;
    assert!(
        outcome
            .told
            .contains(&SourceEvent::NewHead(NewHeadReason::FormatChanged))
    );
    assert_eq!(outcome.runs.len(), 2);
    for run in &outcome.runs {
        assert!(run.exit.success);
        assert_eq!(run.frames(), 90);
        assert_eq!(run.durations_ms(), [2000, 2000, 2000]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_missing_media_a_new_run_begins() {
    let film = camera().film();
    let later = moved(&film, 5010.0);
    let outcome = broadcast(&[moved(&film, 5000.0), later].concat()).await;
    assert!(
        outcome
            .told
            .contains(&SourceEvent::NewHead(NewHeadReason::MediaMissing))
    );
    assert_eq!(outcome.runs.len(), 2);
    for run in &outcome.runs {
        assert_eq!(run.frames(), 90);
        assert_eq!(run.durations_ms(), [2000, 2000, 2000]);
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused_by_the_probe_with_a_reason() {
    let nothing = probe(garbage(400_000).into(), Duration::from_secs(10)).await;
    assert!(
        matches!(nothing, Err(ProbeError::Refused(_) | ProbeError::Nothing)),
        "{nothing:?}"
    );
}
