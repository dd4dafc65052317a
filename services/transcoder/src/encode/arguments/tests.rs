//! The command line ffmpeg is started with, as snapshots: each flag has a measured reason.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::ladder::{Ladder, TopRung};
use crate::source::{AudioSource, Source, VideoSource};

fn source(width: u32, height: u32) -> Source {
    Source {
        video: Some(VideoSource {
            codec: "h264".to_owned(),
            width,
            height,
            fps: 30.0,
            pix_fmt: "yuv420p".to_owned(),
            profile: "High".to_owned(),
            bit_depth: 8,
            rotated: false,
        }),
        audio: Some(AudioSource {
            codec: "aac".to_owned(),
            channels: 2,
            sample_rate: 48_000,
        }),
        audio_announced: true,
    }
}

fn arguments(ladder: &Ladder, source: &Source, top: TopRung) -> String {
    ffmpeg_arguments(&EncodePlan::new(ladder, source, top).unwrap()).join(" ")
}

/// What stands before the first `-filter_complex` or `-map` in every command of two outputs.
const INPUT: &str = "-hide_banner -nostdin -nostats -loglevel level+warning -stats_period 1 \
    -progress pipe:5 -probesize 1000000 -analyzeduration 500000 \
    -dts_delta_threshold 60 -protocol_whitelist pipe -f mpegts -i pipe:0";
const AUDIO: &str = "-c:a aac -b:a 128k -ar 48000 -ac 2";
const MUXER: &str = "-pes_payload_size 0 -max_interleave_delta 1 -avoid_negative_ts disabled \
    -output_ts_offset 10 -map_metadata -1 -f mpegts";
/// The live thumbnail's filters, behind where it is taken from, and its output.
fn taken(size: &str) -> String {
    format!(
        "select='isnan(prev_selected_t)+lt(t,prev_selected_t)+gte(t,prev_selected_t+9.995)',\
         scale={size}:flags=bilinear:out_range=full,format=yuv420p[thumbnail]"
    )
}
const THUMBNAIL: &str = "-map [thumbnail] -c:v mjpeg -q:v 5 -threads:v 1 -color_range:v pc \
    -strict:v unofficial -fps_mode:v passthrough \
    -enc_time_base:v 1:90000 -map_metadata -1 -flush_packets 1 -f mjpeg";
const X264: &str = "-c:v libx264 -preset:v superfast -tune:v zerolatency -sc_threshold:v 0 \
    -g:v 600 -force_key_frames:v";
const TIMES: &str = "-fps_mode:v passthrough -enc_time_base:v 1:90000";

#[test]
fn a_copied_rung_gives_the_others_their_keyframes() {
    let source = source(854, 480);
    let ladder = Ladder::for_source(&source).unwrap();
    assert_eq!(
        arguments(&ladder, &source, TopRung::Copied),
        format!(
            "{INPUT} -filter_complex \
             [0:v:0]scale=640:360:flags=bilinear,format=yuv420p,split=2[v1][t];[t]{} \
             -map 0:v:0 -c:v copy -map 0:a:0 {AUDIO} {MUXER} pipe:3 \
             -map [v1] {X264} source -b:v 800k -maxrate:v 856k -bufsize:v 1200k {TIMES} \
             -map 0:a:0 {AUDIO} {MUXER} pipe:4 {THUMBNAIL} pipe:6",
            taken("640:360")
        )
    );
}

#[test]
fn an_encoded_top_rung_has_keyframes_every_two_seconds_and_feeds_the_cascade() {
    let source = source(854, 480);
    let ladder = Ladder::for_source(&source).unwrap();
    let two_seconds = "expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+1.995))";
    assert_eq!(
        arguments(&ladder, &source, TopRung::Encoded),
        format!(
            "{INPUT} -filter_complex \
             [0:v:0]scale=854:480:flags=bilinear,format=yuv420p,split=2[v0][c0];\
             [c0]scale=640:360:flags=bilinear,format=yuv420p,split=2[v1][t];[t]{} \
             -map [v0] {X264} {two_seconds} -b:v 1400k -maxrate:v 1498k -bufsize:v 2100k {TIMES} \
             -map 0:a:0 {AUDIO} {MUXER} pipe:3 \
             -map [v1] {X264} {two_seconds} -b:v 800k -maxrate:v 856k -bufsize:v 1200k {TIMES} \
             -map 0:a:0 {AUDIO} {MUXER} pipe:4 {THUMBNAIL} pipe:6",
            taken("640:360")
        )
    );
}

#[test]
fn the_thumbnail_fits_into_640_and_is_taken_where_it_costs_least() {
    let of = |width, height| {
        let source = source(width, height);
        let ladder = Ladder::for_source(&source).unwrap();
        let plan = EncodePlan::new(&ladder, &source, TopRung::Copied).unwrap();
        let thumbnail = plan.thumbnail.unwrap();
        (thumbnail.width, thumbnail.height, thumbnail.from_output)
    };
    assert_eq!(of(1920, 1080), (640, 360, Some(3)));
    assert_eq!(of(1440, 1080), (640, 480, Some(2)), "360p is 480 wide");
    assert_eq!(of(1080, 1920), (360, 640, Some(3)));
    assert_eq!(of(426, 240), (426, 240, None), "nothing is encoded");
    assert_eq!(of(640, 480), (480, 360, Some(1)), "never scaled up");
}

#[test]
fn a_missing_picture_is_made_up_for_and_does_not_outlast_the_input() {
    let whole = source(854, 480);
    let ladder = Ladder::for_source(&whole).unwrap();
    let mute = Source {
        audio: None,
        ..whole.clone()
    };
    let silent = arguments(&ladder, &mute, TopRung::Copied);
    assert!(silent.contains(&format!("-map 0:v:0 -c:v copy {MUXER} pipe:3 ")));
    assert!(!silent.contains("-c:a"), "silence is put in behind ffmpeg");

    let blind = Source {
        video: None,
        ..whole
    };
    let black = arguments(&ladder, &blind, TopRung::Copied);
    assert!(black.contains("color=c=black:s=640x360:r=30,format=yuv420p[v0] "));
    assert!(black.contains(&format!("-map 0:a:0 {AUDIO} -shortest {MUXER} pipe:3")));
    assert!(!black.contains("mjpeg"), "the camera's last picture stays");
    assert!(
        black.contains("-progress pipe:4 "),
        "one pipe fills both rungs"
    );
}

#[test]
fn sound_alone_and_a_broadcast_without_sound_map_one_track_only() {
    let alone = Source {
        video: None,
        ..source(2, 2)
    };
    let ladder = Ladder::for_source(&alone).unwrap();
    let sound = arguments(&ladder, &alone, TopRung::Copied);
    assert!(sound.ends_with(&format!("-i pipe:0 -map 0:a:0 {AUDIO} {MUXER} pipe:3")));

    let mute = Source {
        audio: None,
        audio_announced: false,
        ..source(426, 240)
    };
    let ladder = Ladder::for_source(&mute).unwrap();
    let picture = arguments(&ladder, &mute, TopRung::Copied);
    assert!(picture.ends_with(&format!(
        "-i pipe:0 -filter_complex [0:v:0]{} -map 0:v:0 -c:v copy {MUXER} pipe:3 \
         {THUMBNAIL} pipe:5",
        taken("426:240")
    )));
}
