//! Pictures of every size and coding, and ladders that do not fit them.

use std::collections::BTreeMap;

use marquee_hls::Rung;
use marquee_hls::h264::HeadScanner;
use marquee_hls::ts::{PacketKind, Reader};
use marquee_transcoder::ladder::{Ladder, Picture, Sound};

use super::clips::{Camera, ffmpeg};
use super::rig::{Run, broadcast, broadcast_into};

/// The size a rung's first parameter set gives.
fn sizes(run: &Run) -> BTreeMap<String, (u32, u32)> {
    let first = &run.aligned()[0];
    let size = |bytes: &[u8]| {
        let (mut reader, mut scanner, mut size) = (Reader::new(), HeadScanner::default(), None);
        reader.push(bytes, &mut |packet| {
            if packet.kind != PacketKind::Video || size.is_some() {
                return;
            }
            let payload = match packet.start {
                Some(start) => {
                    scanner.start();
                    start.payload
                }
                None => packet.payload(),
            };
            let sps = scanner.push(payload).and_then(|head| head.sps);
            size = sps.map(|sps| (sps.width, sps.height));
        });
        size.unwrap()
    };
    first
        .iter()
        .map(|(rung, (segment, _))| (rung.to_string(), size(&segment.bytes)))
        .collect()
}

fn expected(sizes: &[(&str, (u32, u32))]) -> BTreeMap<String, (u32, u32)> {
    sizes
        .iter()
        .map(|(rung, size)| ((*rung).to_owned(), *size))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_480p_source_has_no_rung_above_it() {
    let outcome = broadcast(
        &Camera {
            ms: 2000,
            ..Camera::default()
        }
        .film(),
    )
    .await;
    let run = outcome.only_run();
    assert_eq!(
        sizes(run),
        expected(&[("480p", (854, 480)), ("360p", (640, 360))])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_900p_source_is_the_1080p_rung_as_it_is() {
    let camera = Camera {
        size: "1600x900",
        fps: 10,
        gop: 20,
        ms: 4000,
        ..Camera::default()
    };
    let outcome = broadcast(&camera.film()).await;
    let run = outcome.only_run();
    assert!(run.plan.is_copied(Rung::P1080));
    assert_eq!(
        sizes(run),
        expected(&[
            ("1080p", (1600, 900)),
            ("720p", (1280, 720)),
            ("480p", (854, 480)),
            ("360p", (640, 360))
        ])
    );
    assert_eq!(run.durations_ms(), [2000, 2000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portrait_source_is_scaled_by_its_width() {
    let camera = Camera {
        size: "480x854",
        ms: 2000,
        ..Camera::default()
    };
    let outcome = broadcast(&camera.film()).await;
    let run = outcome.only_run();
    assert_eq!(
        sizes(run),
        expected(&[("480p", (480, 854)), ("360p", (360, 640))])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hevc_is_encoded_in_all_rungs() {
    let film = ffmpeg(
        "-f lavfi -i testsrc2=s=640x480:r=15 -f lavfi -i sine=440:r=44100 -t 4 -c:v libx265 \
         -preset ultrafast -x265-params keyint=30:min-keyint=30:log-level=error -c:a mp2",
    );
    let outcome = broadcast(&film).await;
    let run = outcome.only_run();
    assert_eq!(outcome.source.video.as_ref().unwrap().codec, "hevc");
    assert!(!run.plan.copies());
    assert_eq!(
        sizes(run),
        expected(&[("480p", (640, 480)), ("360p", (480, 360))])
    );
    assert_eq!(run.durations_ms(), [2000, 2000]);
    assert_eq!(run.frames(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_bits_are_encoded_to_eight() {
    let film = ffmpeg(
        "-f lavfi -i testsrc2=s=480x360:r=15 -t 2 -c:v libx264 -preset ultrafast \
         -pix_fmt yuv420p10le -g 30",
    );
    let outcome = broadcast(&film).await;
    let run = outcome.only_run();
    assert_eq!(outcome.source.video.as_ref().unwrap().bit_depth, 10);
    assert!(!run.plan.copies());
    assert_eq!(run.frames(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_picture_that_returns_fills_the_rungs_above_it_unscaled() {
    let ladder = Ladder::from_names(&["720p", "480p", "360p"], true).unwrap();
    let camera = Camera {
        ms: 4000,
        ..Camera::default()
    };
    let outcome = broadcast_into(&camera.film(), Some(ladder)).await;
    let run = outcome.only_run();
    assert_eq!(
        sizes(run),
        expected(&[
            ("720p", (854, 480)),
            ("480p", (854, 480)),
            ("360p", (640, 360))
        ])
    );
    assert_eq!(run.frames(), camera.frames() as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_fills_a_broadcast_of_pictures_with_black() {
    let film = ffmpeg("-f lavfi -i sine=440:r=48000 -t 5 -c:a aac");
    let ladder = Ladder::from_names(&["480p", "360p"], true).unwrap();
    let outcome = broadcast_into(&film, Some(ladder)).await;
    let run = outcome.only_run();
    assert_eq!(
        (run.plan.picture, run.plan.sound),
        (Picture::Black, Sound::Source)
    );
    assert_eq!(
        sizes(run),
        expected(&[("480p", (640, 360)), ("360p", (640, 360))])
    );
    let durations = run.durations_ms();
    assert_eq!(durations[..2], [2000, 2000]);
    assert!(
        (4900..5100).contains(&durations.iter().sum::<i64>()),
        "{durations:?}"
    );
}
