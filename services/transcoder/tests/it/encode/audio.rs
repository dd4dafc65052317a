//! Sound that is missing, comes late, or goes away for a while.

use marquee_hls::Rung;
use marquee_transcoder::ladder::{Ladder, Sound};
use marquee_transcoder::source::SourceEvent;

use super::clips::{Camera, ffmpeg, with_sound_where};
use super::rig::{Run, broadcast, broadcast_into};

/// Fails if the sound of a rung has a gap, or covers another time than the picture.
fn assert_covered(run: &Run, what: &str) {
    for rung in run.plan.rungs() {
        let frames = run.audio(rung);
        for pair in frames.windows(2) {
            let step = pair[1] - pair[0];
            assert!(
                (0..=3 * 1920).contains(&step),
                "{what}: {rung} steps {step} at {pair:?}"
            );
        }
        let numbers = run.aligned();
        let start = numbers[0][&rung].0.start_pts;
        let end = start
            + numbers
                .iter()
                .map(|rungs| rungs[&rung].0.duration)
                .sum::<i64>();
        assert!(
            (frames[0] - start).abs() < 27_000,
            "{what}: {rung} begins at {} of {start}",
            frames[0]
        );
        let last = frames.last().unwrap();
        assert!(
            (end - last).abs() < 18_000,
            "{what}: {rung} ends at {last} of {end}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_sound_makes_a_broadcast_without() {
    let camera = Camera {
        with_sound: false,
        ms: 4000,
        ..Camera::default()
    };
    let outcome = broadcast(&camera.film()).await;
    let run = outcome.only_run();
    assert_eq!(run.plan.sound, Sound::None);
    assert_eq!(run.frames(), camera.frames() as usize);
    assert!(run.audio(Rung::P480).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_sound_is_silent_in_a_broadcast_that_began_with_it() {
    let camera = Camera {
        with_sound: false,
        ms: 4000,
        ..Camera::default()
    };
    let ladder = Ladder::from_names(&["480p", "360p"], true).unwrap();
    let outcome = broadcast_into(&camera.film(), Some(ladder)).await;
    let run = outcome.only_run();
    assert_eq!(run.plan.sound, Sound::Silence);
    assert_eq!(run.frames(), camera.frames() as usize);
    assert_covered(run, "silence");
}

/// A thumbnail is up to ten seconds old, and ffmpeg serves whatever is oldest.
#[tokio::test(flavor = "multi_thread")]
async fn the_silence_keeps_up_with_the_picture_beside_the_thumbnail() {
    let camera = Camera {
        with_sound: false,
        size: "640x480",
        fps: 10,
        gop: 20,
        ms: 26_000,
        ..Camera::default()
    };
    let ladder = Ladder::from_names(&["480p", "360p"], true).unwrap();
    let outcome = broadcast_into(&camera.film(), Some(ladder)).await;
    let run = outcome.only_run();
    assert_eq!(run.plan.sound, Sound::Silence);
    assert!(run.plan.thumbnail.is_some());
    for rung in run.plan.rungs() {
        let lag = run.most_audio_lag(rung);
        assert!(lag <= 90_000, "{rung}: sound comes {lag} ticks behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_is_cut_by_time() {
    let film = ffmpeg("-f lavfi -i sine=440:r=44100 -t 5 -c:a aac -b:a 96k");
    let outcome = broadcast(&film).await;
    let run = outcome.only_run();
    assert_eq!(run.plan.rungs(), [Rung::Audio]);
    let durations = run.durations_ms();
    assert_eq!(durations.len(), 3, "{durations:?}");
    assert!(
        durations[..2].iter().all(|ms| (1990..2050).contains(ms)),
        "{durations:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rungs_go_on_with_silence_while_the_sound_is_away() {
    for away in [2500..9000, 2500..15_500] {
        let camera = Camera {
            ms: 18_000,
            size: "640x480",
            fps: 15,
            gop: 30,
            ..Camera::default()
        };
        let film = with_sound_where(&camera.film(), |at| !away.contains(&at));
        let outcome = broadcast(&film).await;
        assert!(outcome.told.contains(&SourceEvent::AudioStopped));
        let run = outcome.only_run();
        assert_eq!(run.frames(), camera.frames() as usize);
        assert_eq!(run.durations_ms(), [2000; 9]);
        assert_covered(run, "a hole");
        let numbers = run.aligned();
        for rung in run.plan.rungs() {
            let silent: Vec<_> = numbers
                .iter()
                .map(|rungs| rungs[&rung].1.silent > 0)
                .collect();
            assert!(!silent[0] && silent[2], "{rung}: {silent:?}");
            assert!(!silent[8], "the sound is back on {rung}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_is_announced_but_comes_late_is_preceded_by_silence() {
    let camera = Camera {
        ms: 8000,
        ..Camera::default()
    };
    let film = with_sound_where(&camera.film(), |at| at > 3000);
    let outcome = broadcast(&film).await;
    assert_eq!(outcome.runs.len(), 2, "{:?}", outcome.told);
    let (silent, sounding) = (&outcome.runs[0], &outcome.runs[1]);
    assert_eq!(silent.plan.sound, Sound::Silence);
    assert_eq!(sounding.plan.sound, Sound::Source);
    assert_covered(silent, "before");
    assert_covered(sounding, "after");
    assert_eq!(
        silent.frames() + sounding.frames(),
        camera.frames() as usize
    );
}
