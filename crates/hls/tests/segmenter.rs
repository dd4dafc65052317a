//! What real encoders send, cut and read back by ffprobe.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it does not expect"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use marquee_hls::{
    CutSegment, LadderSegmenter, PartTarget, Rung, SegmentEvent, SegmenterConfig,
    h264::{EntryPoint, HeadScanner},
    ts::{PacketKind, Reader},
};
use tempfile::TempDir;

const LEADER: Rung = Rung::P360;
const FOLLOWER: Rung = Rung::P480;

/// Runs ffmpeg and returns what it wrote under these names.
fn ffmpeg(arguments: &str, outputs: &[&str]) -> Vec<Vec<u8>> {
    let folder = TempDir::new().unwrap();
    let result = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments.split_whitespace())
        .current_dir(folder.path())
        .output()
        .expect("ffmpeg runs");
    assert!(
        result.status.success(),
        "{}",
        String::from_utf8_lossy(&result.stderr)
    );
    outputs
        .iter()
        .map(|name| fs::read(folder.path().join(name)).unwrap())
        .collect()
}

const PICTURE: &str = "-f lavfi -i testsrc2=size=320x180:rate=30000/1001:duration=9";
const SOUND: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=9";
const X264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -sc_threshold 0";
const AAC: &str = "-c:a aac -b:a 64k -ac 2";
const PIPE: &str = "-f mpegts -pes_payload_size 0 -max_interleave_delta 1 -avoid_negative_ts disabled -output_ts_offset 10";

/// A source with this group of pictures, and the two pipes a run makes of it: one copied, one encoded.
fn ladder(source: &str) -> [Vec<u8>; 2] {
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("source.ts");
    fs::write(
        &input,
        &ffmpeg(
            &format!("{PICTURE} {SOUND} {X264} {source} {AAC} source.ts"),
            &["source.ts"],
        )[0],
    )
    .unwrap();
    let pipes = ffmpeg(
        &format!(
            "-i {} -map 0:v -map 0:a -c copy {PIPE} copied.ts \
             -map 0:v -map 0:a {X264} -tune zerolatency -vf scale=160:90 -force_key_frames source -g 600 \
             -fps_mode passthrough -enc_time_base:v 1:90000 {AAC} {PIPE} encoded.ts",
            input.display()
        ),
        &["copied.ts", "encoded.ts"],
    );
    pipes.try_into().unwrap()
}

struct Run {
    segmenter: LadderSegmenter,
    events: Vec<SegmentEvent>,
}

/// The pipes are read in turns, in chunks as a pipe gives them.
fn cut(pipes: &[(Rung, &[u8])]) -> Run {
    let rungs: Vec<_> = pipes.iter().map(|pipe| pipe.0).collect();
    let mut segmenter = LadderSegmenter::new(SegmenterConfig::new(
        rungs,
        pipes[0].0,
        PartTarget::default(),
    ));
    let mut events = Vec::new();
    let turns = pipes
        .iter()
        .map(|pipe| pipe.1.len().div_ceil(10_000))
        .max()
        .unwrap();
    for turn in 0..turns {
        for (rung, bytes) in pipes {
            let chunk = bytes.chunks(10_000).nth(turn).unwrap_or_default();
            segmenter.push(*rung, chunk, &mut events);
        }
    }
    segmenter.finish(&mut events);
    Run { segmenter, events }
}

impl Run {
    /// The segments of a rung, which must have all of them.
    fn segments(&self, rung: Rung) -> Vec<&CutSegment> {
        self.events
            .iter()
            .filter_map(|event| match event {
                SegmentEvent::Segment(cut) => Some(cut).filter(|cut| cut.rung == rung),
                SegmentEvent::Part(_) => None,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

/// Frames ffprobe decodes of each kind; it must not complain.
fn decoded(folder: &Path, name: &str, bytes: &[u8]) -> (u32, u32) {
    let path: PathBuf = folder.join(name);
    fs::write(&path, bytes).unwrap();
    let result = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=codec_type,nb_read_frames",
        ])
        .args(["-of", "csv=p=0"])
        .arg(&path)
        .output()
        .expect("ffprobe runs");
    assert_eq!(
        String::from_utf8_lossy(&result.stderr),
        "",
        "{name} is clean"
    );
    let count = |kind: &str| {
        let text = String::from_utf8_lossy(&result.stdout).into_owned();
        text.lines()
            .find_map(|line| line.strip_prefix(kind)?.trim_matches(',').parse().ok())
            .unwrap_or(0)
    };
    (count("video"), count("audio"))
}

fn check_every_segment_decodes(run: &Run, rung: Rung, frames: u32) {
    let folder = TempDir::new().unwrap();
    let mut sum = 0;
    for cut in run.segments(rung) {
        let (pictures, sounds) = decoded(folder.path(), &format!("{}.ts", cut.index), &cut.bytes);
        assert_eq!(pictures, cut.frames, "{rung} {}", cut.index);
        assert!(sounds > 0);
        sum += pictures;
    }
    assert_eq!(sum, frames);
    let whole: Vec<Bytes> = run
        .segments(rung)
        .iter()
        .map(|cut| cut.bytes.clone())
        .collect();
    assert_eq!(
        decoded(folder.path(), "whole.ts", &whole.concat()).0,
        frames
    );
}

#[test]
fn a_copied_and_an_encoded_rung_are_cut_alike_and_decode_whole() {
    let [copied, encoded] = ladder("-g 57 -bf 0");
    let run = cut(&[(LEADER, &copied), (FOLLOWER, &encoded)]);
    let times = |rung| -> Vec<_> {
        run.segments(rung)
            .iter()
            .map(|one| (one.index, one.start_pts, one.duration, one.frames))
            .collect()
    };
    assert_eq!(times(LEADER), times(FOLLOWER));
    assert_eq!(
        times(LEADER).iter().map(|one| one.3).collect::<Vec<_>>(),
        [57, 57, 57, 57, 42]
    );
    assert!(times(LEADER)[..4].iter().all(|one| one.2 == 57 * 3003));
    check_every_segment_decodes(&run, LEADER, 270);
    check_every_segment_decodes(&run, FOLLOWER, 270);
}

#[test]
fn a_source_with_b_frames_and_short_groups_is_cut_alike_too() {
    let [copied, encoded] = ladder("-g 15 -bf 2");
    let run = cut(&[(LEADER, &copied), (FOLLOWER, &encoded)]);
    let counts = |rung| -> Vec<_> { run.segments(rung).iter().map(|one| one.frames).collect() };
    assert_eq!(counts(LEADER), [60, 60, 60, 60, 30]);
    assert_eq!(counts(FOLLOWER), counts(LEADER));
    check_every_segment_decodes(&run, LEADER, 270);
    check_every_segment_decodes(&run, FOLLOWER, 270);
}

#[test]
fn the_renditions_are_described_as_ffprobe_would() {
    let [copied, encoded] = ladder("-g 60 -bf 0 -profile:v baseline -level 3.1");
    let run = cut(&[(LEADER, &copied), (FOLLOWER, &encoded)]);
    let params = run.segmenter.params(LEADER).unwrap();
    assert_eq!(params.codecs, "avc1.42c01f,mp4a.40.2");
    assert_eq!(
        (params.resolution, params.frame_rate),
        (Some((320, 180)), Some(29.97))
    );
    assert!(params.has_audio);
    let params = run.segmenter.params(FOLLOWER).unwrap();
    assert_eq!(
        (params.resolution, params.frame_rate),
        (Some((160, 90)), Some(29.97))
    );
}

#[test]
fn high_profile_with_scaling_lists_and_interlaced_sizes_are_measured() {
    for (options, size, codec) in [
        (
            "-profile:v high -x264-params cqm=jvt",
            (320, 180),
            "avc1.6400",
        ),
        (
            "-profile:v high -flags +ilme+ildct -x264-params interlaced=1",
            (320, 180),
            "avc1.4d40",
        ),
        (
            "-profile:v high10 -pix_fmt yuv420p10le",
            (320, 180),
            "avc1.6e",
        ),
        (
            "-profile:v high444 -pix_fmt yuv444p -vf scale=318:178",
            (318, 178),
            "avc1.f4",
        ),
    ] {
        let picture = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=0.5";
        let bytes = ffmpeg(
            &format!("{picture} -c:v libx264 -preset ultrafast {options} out.ts"),
            &["out.ts"],
        );
        let run = cut(&[(LEADER, &bytes[0])]);
        let params = run.segmenter.params(LEADER).unwrap();
        assert_eq!(params.resolution, Some(size), "{options}");
        assert!(
            params.codecs.starts_with(codec),
            "{options}: {}",
            params.codecs
        );
        assert!(!params.has_audio);
    }
}

#[test]
fn sound_alone_is_cut_and_described() {
    let pipe = ffmpeg(&format!("{SOUND} {AAC} {PIPE} out.ts"), &["out.ts"]);
    let run = cut(&[(Rung::Audio, &pipe[0])]);
    let segments = run.segments(Rung::Audio);
    let seconds: Vec<_> = segments.iter().map(|one| one.duration / 9000).collect();
    assert_eq!(seconds[..4], [20, 20, 20, 20]);
    let folder = TempDir::new().unwrap();
    for cut in &segments {
        // The encoder's first frames come before those of the next segment and decode alone too.
        assert_eq!(decoded(folder.path(), "one.ts", &cut.bytes).1, cut.frames);
    }
    let params = run.segmenter.params(Rung::Audio).unwrap();
    assert_eq!(
        (params.codecs.as_str(), params.resolution),
        ("mp4a.40.2", None)
    );
    assert!(params.has_audio && params.frame_rate.is_none());
}

#[test]
fn sound_that_stops_early_leaves_the_picture_whole() {
    let pipe = ffmpeg(
        &format!("{PICTURE} -f lavfi -i sine=duration=4 {X264} -g 60 {AAC} {PIPE} out.ts"),
        &["out.ts"],
    );
    let run = cut(&[(LEADER, &pipe[0])]);
    let counts: Vec<_> = run.segments(LEADER).iter().map(|one| one.frames).collect();
    assert_eq!(counts, [60, 60, 60, 60, 30]);
}

#[test]
fn open_groups_are_told_from_closed_ones() {
    let entries = |options: &str| {
        let bytes = ffmpeg(
            &format!("{PICTURE} {X264} -bf 2 -g 30 {options} out.ts"),
            &["out.ts"],
        );
        let (mut scanner, mut entries) = (HeadScanner::default(), Vec::new());
        Reader::new().push(&bytes[0], &mut |packet| {
            if packet.kind != PacketKind::Video {
                return;
            }
            let payload = packet.start.map_or(packet.payload(), |start| {
                scanner.start();
                start.payload
            });
            let head = scanner.push(payload).map(|head| head.entry);
            entries.extend(head.filter(|entry| *entry != EntryPoint::None));
        });
        entries
    };
    assert_eq!(entries(""), [EntryPoint::Idr; 9]);
    let open = entries("-x264-params open-gop=1");
    assert_eq!((open.len(), open[0]), (9, EntryPoint::Idr));
    assert!(
        open[1..].iter().all(|entry| *entry == EntryPoint::Recovery),
        "{open:?}"
    );
}
