//! A real ffmpeg: what it sends is compared, packet by packet, with the file it sends.

use std::path::Path;
use std::process::{Output, Stdio};

use marquee_rtmp::Listener;
use tokio::process::Command;

use crate::{accept, everything, in_time, listen};

/// A packet's stream and presentation time in ms, and whether it is a keyframe.
type Packet = (String, i64, bool);

async fn run(program: &str, arguments: &str, file: &Path) -> Output {
    let file = file.to_str().unwrap();
    let arguments = arguments.split_whitespace().map(|argument| match argument {
        "FILE" => file,
        other => other,
    });
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = in_time(output).await.expect("ffmpeg is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output
}

async fn packets(file: &Path) -> Vec<Packet> {
    let wanted = "-v error -show_entries packet=codec_type,pts_time,flags -of csv=p=0 FILE";
    let output = run("ffprobe", wanted, file).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut packets: Vec<Packet> = text
        .lines()
        // Packets of a transport stream have side data, on lines of its own.
        .filter(|line| line.starts_with("video") || line.starts_with("audio"))
        .map(|line| {
            let fields: Vec<_> = line.split(',').collect();
            let seconds: f64 = fields[1].parse().unwrap();
            #[allow(clippy::cast_possible_truncation, reason = "seconds of a short file")]
            let ms = (seconds * 1000.0).round() as i64;
            let key = fields[0] == "video" && fields[2].starts_with('K');
            (fields[0].to_owned(), ms, key)
        })
        .collect();
    packets.sort();
    packets
}

/// Pushes a file to a listener and gives what comes out.
async fn push(listener: &mut Listener, file: &Path) -> Vec<u8> {
    let url = format!(
        "rtmp://127.0.0.1:{}/live/some-key",
        listener.local_addr().port()
    );
    let arguments = format!("-v error -nostdin -i FILE -c copy -map 0 -f flv {url}");
    let pushing = run("ffmpeg", &arguments, file);
    let receiving = async {
        let mut connection = accept(listener).await;
        connection.admit();
        everything(&mut connection).await
    };
    let (_, bytes) = tokio::join!(pushing, receiving);
    bytes
}

async fn assert_unchanged(make: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (sent, received) = (folder.path().join("sent.flv"), folder.path().join("got.ts"));
    run(
        "ffmpeg",
        &format!("-v error -nostdin {make} -f flv FILE"),
        &sent,
    )
    .await;
    let mut listener = listen(|_| {}).await;
    let bytes = push(&mut listener, &sent).await;
    std::fs::write(&received, &bytes).unwrap();
    let (expected, mut found) = (packets(&sent).await, packets(&received).await);
    assert_eq!(found.len(), expected.len());
    // All is later by the same, which a transport stream may be.
    let shift = found[0].1 - expected[0].1;
    for packet in &mut found {
        packet.1 -= shift;
    }
    assert_eq!(found, expected);
    // Decoded, nothing is complained of.
    let decoding = "-v error -xerror -i FILE -f null -";
    let said = run("ffmpeg", decoding, &received).await.stderr;
    assert_eq!(String::from_utf8_lossy(&said), "");
}

const PICTURE: &str = "-f lavfi -i testsrc2=size=640x360:rate=30";
const TONE: &str = "-f lavfi -i sine=sample_rate=44100";

#[tokio::test]
async fn packets_and_times_are_those_of_the_file_b_frames_too() {
    let encoder = "-c:v libx264 -preset veryfast -g 30 -bf 2 -c:a aac -ac 2 -t 3";
    assert_unchanged(&format!("{PICTURE} {TONE} {encoder}")).await;
}

#[tokio::test]
async fn a_picture_without_sound_comes_through() {
    let encoder = "-c:v libx264 -preset ultrafast -tune zerolatency -g 60 -t 3";
    assert_unchanged(&format!("{PICTURE} {encoder}")).await;
}

#[tokio::test]
async fn sound_without_a_picture_comes_through() {
    assert_unchanged(&format!("{TONE} -c:a aac -ac 2 -t 3")).await;
}

#[tokio::test]
async fn a_wrong_key_makes_ffmpeg_fail_with_our_words() {
    let listener = listen(|_| {}).await;
    let url = format!(
        "rtmp://127.0.0.1:{}/live/known-bad",
        listener.local_addr().port()
    );
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine"])
        .args(["-c:a", "aac", "-t", "3", "-f", "flv", &url])
        .output();
    let output = in_time(output).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("stream key is not valid"), "{said}");
}
