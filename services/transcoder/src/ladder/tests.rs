//! The ladder's rules for every size a camera can send.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::source::{AudioSource, VideoSource};

fn video(width: u32, height: u32) -> VideoSource {
    VideoSource {
        codec: "h264".to_owned(),
        width,
        height,
        fps: 30.0,
        pix_fmt: "yuv420p".to_owned(),
        profile: "High".to_owned(),
        bit_depth: 8,
        rotated: false,
    }
}

fn sound() -> AudioSource {
    AudioSource {
        codec: "aac".to_owned(),
        channels: 2,
        sample_rate: 48_000,
    }
}

fn source(width: u32, height: u32) -> Source {
    Source {
        video: Some(video(width, height)),
        audio: Some(sound()),
        audio_announced: true,
    }
}

fn plan(source: &Source) -> EncodePlan {
    let ladder = Ladder::for_source(source).unwrap();
    EncodePlan::new(&ladder, source, TopRung::Copied).unwrap()
}

/// Rung name, size, and `copy` or the bit rate.
fn outputs(plan: &EncodePlan) -> Vec<String> {
    let describe = |output: &Output| {
        let rungs: Vec<_> = output.rungs.iter().map(|rung| rung.name()).collect();
        let video = match output.video {
            OutputVideo::Copied { width, height } => format!("{width}x{height} copy"),
            OutputVideo::Encoded {
                width,
                height,
                kbps,
            } => format!("{width}x{height} {kbps}"),
            OutputVideo::None => "no video".to_owned(),
        };
        format!("{} {video}", rungs.join("+"))
    };
    plan.outputs.iter().map(describe).collect()
}

#[test]
fn the_sources_own_rung_is_copied_and_only_smaller_ones_are_made() {
    for ((width, height), expected) in [
        (
            (1920, 1080),
            vec![
                "1080p 1920x1080 copy",
                "720p 1280x720 2800",
                "480p 854x480 1400",
                "360p 640x360 800",
            ],
        ),
        (
            (1080, 1920),
            vec![
                "1080p 1080x1920 copy",
                "720p 720x1280 2800",
                "480p 480x854 1400",
                "360p 360x640 800",
            ],
        ),
        (
            (1600, 900),
            vec![
                "1080p 1600x900 copy",
                "720p 1280x720 2800",
                "480p 854x480 1400",
                "360p 640x360 800",
            ],
        ),
        ((854, 480), vec!["480p 854x480 copy", "360p 640x360 800"]),
        ((426, 240), vec!["360p 426x240 copy"]),
        ((641, 361), vec!["480p 641x361 copy", "360p 640x360 800"]),
    ] {
        assert_eq!(outputs(&plan(&source(width, height))), expected);
    }
}

#[test]
fn what_is_larger_than_1080_is_scaled_down_to_it() {
    for ((width, height), expected) in [
        ((3840, 2160), "1080p 1920x1080 5000"),
        ((2560, 1440), "1080p 1920x1080 5000"),
        ((1920, 1200), "1080p 1728x1080 5000"),
    ] {
        let plan = plan(&source(width, height));
        assert_eq!(outputs(&plan)[0], expected);
        assert_eq!(plan.keyframes, Keyframes::EveryTwoSeconds);
        assert_eq!(plan.outputs.len(), 4);
    }
}

#[test]
fn what_cannot_be_copied_is_encoded_at_its_own_size() {
    let mut hevc = source(1601, 901);
    hevc.video.as_mut().unwrap().codec = "hevc".to_owned();
    assert_eq!(outputs(&plan(&hevc))[0], "1080p 1600x900 5000");

    let h264 = source(1280, 720);
    let ladder = Ladder::for_source(&h264).unwrap();
    let refused = EncodePlan::new(&ladder, &h264, TopRung::Encoded).unwrap();
    assert_eq!(outputs(&refused)[0], "720p 1280x720 2800");
    assert_eq!(refused.keyframes, Keyframes::EveryTwoSeconds);
    assert_eq!(plan(&h264).keyframes, Keyframes::AsSource);
}

#[test]
fn a_returning_publisher_of_another_size_fills_the_same_rungs() {
    let ladder = Ladder::from_names(&["1080p", "720p", "480p", "360p"], true).unwrap();
    let smaller = EncodePlan::new(&ladder, &source(854, 480), TopRung::Copied).unwrap();
    assert_eq!(
        outputs(&smaller),
        ["1080p+720p+480p 854x480 copy", "360p 640x360 800"]
    );
    assert_eq!(smaller.rungs(), ladder.rungs());

    let ladder = Ladder::from_names(&["480p", "360p"], true).unwrap();
    let larger = EncodePlan::new(&ladder, &source(1920, 1080), TopRung::Copied).unwrap();
    assert_eq!(outputs(&larger), ["480p 854x480 1400", "360p 640x360 800"]);
    assert_eq!(larger.keyframes, Keyframes::EveryTwoSeconds);
}

#[test]
fn a_broadcast_keeps_its_tracks_when_the_source_loses_one() {
    let whole = source(1280, 720);
    let ladder = Ladder::for_source(&whole).unwrap();

    let mute = Source {
        audio: None,
        audio_announced: false,
        ..whole.clone()
    };
    let plan = EncodePlan::new(&ladder, &mute, TopRung::Copied).unwrap();
    assert_eq!(plan.sound, Sound::Silence);

    let blind = Source {
        video: None,
        ..whole.clone()
    };
    let plan = EncodePlan::new(&ladder, &blind, TopRung::Copied).unwrap();
    assert_eq!((plan.picture, plan.sound), (Picture::Black, Sound::Source));
    assert_eq!(outputs(&plan), ["720p+480p+360p 640x360 800"]);

    let mute_ladder = Ladder::for_source(&mute).unwrap();
    let plan = EncodePlan::new(&mute_ladder, &whole, TopRung::Copied).unwrap();
    assert_eq!(plan.sound, Sound::None);
}

#[test]
fn an_announced_track_that_has_not_begun_counts_as_sound() {
    let late = Source {
        audio: None,
        ..source(1280, 720)
    };
    let ladder = Ladder::for_source(&late).unwrap();
    assert!(ladder.audio());
    assert_eq!(plan(&late).sound, Sound::Silence);
}

#[test]
fn sound_alone_has_one_rendition_and_keeps_it() {
    let alone = Source {
        video: None,
        ..source(2, 2)
    };
    let ladder = Ladder::for_source(&alone).unwrap();
    assert_eq!(ladder.names(), ["audio"]);
    let with_camera = EncodePlan::new(&ladder, &source(1280, 720), TopRung::Copied).unwrap();
    assert_eq!(outputs(&with_camera), ["audio no video"]);
    assert_eq!(with_camera.picture, Picture::None);

    let mute = Source {
        audio: None,
        ..source(1280, 720)
    };
    let refused = EncodePlan::new(&ladder, &mute, TopRung::Copied);
    assert_eq!(refused, Err(LadderError::NoAudio));
    assert_eq!(
        Ladder::for_source(&Source::default()),
        Err(LadderError::NothingToShow)
    );
}

#[test]
fn a_stored_ladder_is_read_back_and_nonsense_is_refused() {
    for size in [(1920, 1080), (854, 480), (426, 240)] {
        let ladder = Ladder::for_source(&source(size.0, size.1)).unwrap();
        let again = Ladder::from_names(&ladder.names(), ladder.audio()).unwrap();
        assert_eq!(again, ladder);
    }
    for names in [vec![], vec!["1080i"], vec!["720p", "audio"]] {
        assert!(Ladder::from_names(&names, true).is_err(), "{names:?}");
    }
}

#[test]
fn bandwidth_is_the_peak_rate_with_sound_and_container() {
    let mut plan = plan(&source(1920, 1080));
    assert_eq!(plan.nominal_bandwidth_bps(Rung::P1080), None);
    // 2996 + 128 kbit/s, and 8 %.
    assert_eq!(plan.nominal_bandwidth_bps(Rung::P720), Some(3_373_920));
    plan.sound = Sound::None;
    assert_eq!(plan.nominal_bandwidth_bps(Rung::P720), Some(3_235_680));
    assert_eq!(plan.nominal_bandwidth_bps(Rung::Audio), None);
}

fn ladders() -> impl Strategy<Value = Ladder> {
    (1..=4_usize, any::<bool>()).prop_map(|(rungs, audio)| {
        let names: Vec<_> = VIDEO_RUNGS[4 - rungs..]
            .iter()
            .map(|rung| rung.name())
            .collect();
        Ladder::from_names(&names, audio).unwrap()
    })
}

proptest! {
    #[test]
    fn every_plan_fills_its_ladder_without_enlarging_anything(
        ladder in ladders(),
        width in 2_u32..8192,
        height in 2_u32..8192,
        copied in any::<bool>(),
    ) {
        let top = if copied { TopRung::Copied } else { TopRung::Encoded };
        let plan = EncodePlan::new(&ladder, &source(width, height), top).unwrap();
        prop_assert_eq!(plan.rungs(), ladder.rungs());
        let (mut last_width, mut last_height) = (width, height);
        for output in &plan.outputs {
            let (out_width, out_height) = match output.video {
                OutputVideo::Copied { width, height } => (width, height),
                OutputVideo::Encoded { width, height, .. } => {
                    prop_assert!(width % 2 == 0 && height % 2 == 0);
                    (width, height)
                }
                OutputVideo::None => unreachable!("there is video"),
            };
            prop_assert!(out_width > 0 && out_height > 0);
            // Rounding to even numbers may add a pixel.
            prop_assert!(out_width <= last_width + 1 && out_height <= last_height + 1);
            let short = out_width.min(out_height);
            for rung in &output.rungs {
                prop_assert!(short <= short_side_of(*rung), "{} on {}", short, rung);
            }
            (last_width, last_height) = (out_width, out_height);
        }
    }

    #[test]
    fn a_source_belongs_to_the_smallest_rung_that_holds_it(short in 1_u32..4000) {
        let rung = rung_of(short);
        if short <= 1080 {
            prop_assert!(short_side_of(rung) >= short);
        }
        let below = VIDEO_RUNGS.into_iter().filter(|other| *other > rung);
        for smaller in below {
            prop_assert!(short_side_of(smaller) < short);
        }
    }
}
