//! Keyframes at every distance a publisher may choose.

use marquee_hls::Rung;
use marquee_transcoder::ladder::Keyframes;
use marquee_transcoder::source::CopyRefusal;

use super::clips::Camera;
use super::rig::broadcast;

#[tokio::test(flavor = "multi_thread")]
async fn a_gop_of_two_seconds_is_passed_through_and_cut_at_each_keyframe() {
    let camera = Camera::default();
    let outcome = broadcast(&camera.film()).await;
    let run = outcome.only_run();
    assert!(run.plan.is_copied(Rung::P480));
    assert_eq!(run.plan.keyframes, Keyframes::AsSource);
    assert_eq!(run.durations_ms(), [2000, 2000, 2000]);
    assert_eq!(run.frames(), camera.frames() as usize, "to the last frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn gops_of_half_a_second_are_gathered() {
    let camera = Camera {
        gop: 15,
        ..Camera::default()
    };
    let outcome = broadcast(&camera.film()).await;
    let run = outcome.only_run();
    assert!(run.plan.is_copied(Rung::P480));
    assert_eq!(run.durations_ms(), [2000, 2000, 2000]);
    assert_eq!(run.frames(), camera.frames() as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_b_frames_the_keyframes_have_the_same_time_on_all_rungs() {
    for with_sound in [true, false] {
        let camera = Camera {
            b_frames: 2,
            with_sound,
            ms: 4000,
            ..Camera::default()
        };
        let outcome = broadcast(&camera.film()).await;
        let run = outcome.only_run();
        assert!(run.plan.is_copied(Rung::P480));
        assert_eq!(run.frames(), camera.frames() as usize);
        assert_eq!(run.aligned().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gop_of_two_and_a_half_seconds_is_encoded_from_the_kept_head() {
    let camera = Camera {
        gop: 75,
        ms: 7500,
        ..Camera::default()
    };
    let outcome = broadcast(&camera.film()).await;
    assert_eq!(outcome.restarts.len(), 1);
    assert_eq!(outcome.restarts[0].reason, CopyRefusal::GopTooLong);
    assert_eq!(outcome.restarts[0].keep_segments, 0);
    assert!(
        outcome.runs[0].events.is_empty(),
        "nothing was to be published"
    );
    let run = &outcome.runs[1];
    assert!(!run.plan.copies());
    assert_eq!(run.durations_ms(), [2000, 2000, 2000, 1500]);
    assert_eq!(
        run.frames(),
        camera.frames() as usize,
        "from the very first frame"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gops_that_change_within_the_rule_stay_in_step() {
    let camera = Camera {
        gop: 600,
        ms: 8000,
        extra: "-force_key_frames 1,3,3.5,4,6,7.2",
        ..Camera::default()
    };
    let outcome = broadcast(&camera.film()).await;
    let run = outcome.only_run();
    assert!(run.plan.is_copied(Rung::P480));
    assert_eq!(run.frames(), camera.frames() as usize);
    assert_eq!(run.durations_ms().iter().sum::<i64>(), 8000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gop_that_grows_too_long_goes_on_encoded_with_no_frame_lost_or_shown_twice() {
    let camera = Camera {
        gop: 600,
        ms: 9000,
        extra: "-force_key_frames 1,2,3,4,5",
        ..Camera::default()
    };
    let outcome = broadcast(&camera.film()).await;
    assert_eq!(outcome.restarts.len(), 1);
    assert_eq!(outcome.restarts[0].keep_segments, 2);
    let (copied, encoded) = (&outcome.runs[0], &outcome.runs[1]);
    assert_eq!(copied.durations_ms(), [2000, 2000]);
    assert_eq!(encoded.durations_ms(), [2000, 2000, 1000]);
    let frames = copied.frames() + encoded.frames();
    assert_eq!(frames, camera.frames() as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_gops_are_encoded() {
    let camera = Camera {
        b_frames: 2,
        extra: "-x264-params open-gop=1",
        ..Camera::default()
    };
    let outcome = broadcast(&camera.film()).await;
    assert_eq!(outcome.restarts.len(), 1);
    assert_eq!(outcome.restarts[0].reason, CopyRefusal::OpenGop);
    let run = outcome.runs.last().unwrap();
    assert_eq!(run.frames(), camera.frames() as usize);
    assert_eq!(run.durations_ms(), [2000, 2000, 2000]);
}
