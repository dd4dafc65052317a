//! Asks ffprobe what the head of a source is.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::encode::program::media_program;

/// What a publisher sends, as far as it can be decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Its picture.
    pub video: Option<VideoSource>,
    /// Its sound.
    pub audio: Option<AudioSource>,
    /// The program lists an audio track, though nothing of it may have come yet.
    pub audio_announced: bool,
}

/// The picture of a [`Source`].
#[derive(Clone, Debug, PartialEq)]
pub struct VideoSource {
    /// As ffprobe names it: `h264`, `hevc`, …
    pub codec: String,
    /// Width in pixels as it is shown, after rotation.
    pub width: u32,
    /// Height in pixels as it is shown, after rotation.
    pub height: u32,
    /// Frames a second; 0 when the head does not tell.
    pub fps: f64,
    /// As ffprobe names it: `yuv420p`, …
    pub pix_fmt: String,
    /// As ffprobe names it: `High`, `Main 10`, …
    pub profile: String,
    /// Bits a sample.
    pub bit_depth: u8,
    /// The decoder has to turn it.
    pub rotated: bool,
}

/// The sound of a [`Source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioSource {
    /// As ffprobe names it: `aac`, `mp2`, …
    pub codec: String,
    /// Channels.
    pub channels: u32,
    /// Samples a second.
    pub sample_rate: u32,
}

impl VideoSource {
    /// Whether every browser plays it as it is: H.264, 8 bits, 4:2:0, upright. Whether its GOPs and
    /// its rate allow it too is `CopyRule`'s to say.
    pub fn can_be_copied(&self) -> bool {
        self.codec == "h264"
            && matches!(self.pix_fmt.as_str(), "yuv420p" | "yuvj420p")
            && self.bit_depth == 8
            && self.profile != "Extended"
            && !self.rotated
    }
}

/// Why a source cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// ffprobe cannot be run.
    #[error("ffprobe cannot be run")]
    Run(#[source] std::io::Error),
    /// It did not answer in time.
    #[error("ffprobe has not answered in time")]
    TimedOut,
    /// It refused the head; what it said.
    #[error("ffprobe refused the source: {0}")]
    Refused(String),
    /// Its answer is not understood.
    #[error("ffprobe's answer is not understood")]
    Answer(#[source] serde_json::Error),
    /// Neither picture nor sound that can be decoded.
    #[error("the source has neither video nor audio that can be decoded")]
    Nothing,
}

/// Describes a source by its head: at least 0.5 s or 256 KB from a keyframe on
/// (`SourceEvent::HeadReady`). Takes 0.2–0.7 s; ffprobe is killed at the deadline.
pub async fn probe(head: Bytes, deadline: Duration) -> Result<Source, ProbeError> {
    timeout(deadline, run(head))
        .await
        .map_err(|_| ProbeError::TimedOut)?
}

async fn run(head: Bytes) -> Result<Source, ProbeError> {
    let mut child = media_program("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_streams"])
        .args(["-probesize", "1000000", "-analyzeduration", "500000"])
        .args([
            "-protocol_whitelist",
            "pipe",
            "-f",
            "mpegts",
            "-i",
            "pipe:0",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ProbeError::Run)?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // It stops reading when it has seen enough.
            let _ = stdin.write_all(&head).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.map_err(ProbeError::Run)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("it said nothing");
        return Err(ProbeError::Refused(last.to_owned()));
    }
    source_of(&output.stdout)
}

fn source_of(answer: &[u8]) -> Result<Source, ProbeError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(ProbeError::Answer)?;
    let first = |kind: &str| {
        answer
            .streams
            .iter()
            .find(|stream| stream.codec_type == kind)
    };
    // ffmpeg's `0:v:0` and `0:a:0` are the first ones too.
    let source = Source {
        video: first("video").and_then(video_of),
        audio: first("audio").and_then(audio_of),
        audio_announced: first("audio").is_some(),
    };
    if source.video.is_none() && source.audio.is_none() {
        return Err(ProbeError::Nothing);
    }
    Ok(source)
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Stream {
    codec_type: String,
    codec_name: String,
    profile: String,
    width: u32,
    height: u32,
    pix_fmt: String,
    bits_per_raw_sample: String,
    avg_frame_rate: String,
    r_frame_rate: String,
    channels: u32,
    sample_rate: String,
    side_data_list: Vec<SideData>,
}

#[derive(Deserialize)]
struct SideData {
    #[serde(default)]
    rotation: f64,
}

/// A stream of which nothing was decoded has no size.
fn video_of(stream: &Stream) -> Option<VideoSource> {
    if stream.width == 0 || stream.height == 0 || stream.codec_name.is_empty() {
        return None;
    }
    let degrees = stream.side_data_list.iter().map(|data| data.rotation);
    let turn = degrees.sum::<f64>().rem_euclid(360.0);
    let quarter = (45.0..135.0).contains(&turn) || (225.0..315.0).contains(&turn);
    let (width, height) = if quarter {
        (stream.height, stream.width)
    } else {
        (stream.width, stream.height)
    };
    let fps = [&stream.avg_frame_rate, &stream.r_frame_rate]
        .into_iter()
        .filter_map(|rate| ratio(rate))
        .find(|fps| (0.1..=1000.0).contains(fps));
    Some(VideoSource {
        codec: stream.codec_name.clone(),
        width,
        height,
        fps: fps.unwrap_or(0.0),
        pix_fmt: stream.pix_fmt.clone(),
        profile: stream.profile.clone(),
        bit_depth: bit_depth(&stream.pix_fmt, &stream.bits_per_raw_sample),
        rotated: turn.round() != 0.0,
    })
}

/// So does one of sound: its rate is 0.
fn audio_of(stream: &Stream) -> Option<AudioSource> {
    let sample_rate = stream.sample_rate.parse().unwrap_or(0);
    if sample_rate == 0 || stream.channels == 0 || stream.codec_name.is_empty() {
        return None;
    }
    Some(AudioSource {
        codec: stream.codec_name.clone(),
        channels: stream.channels,
        sample_rate,
    })
}

fn ratio(text: &str) -> Option<f64> {
    let (over, under) = text.split_once('/')?;
    let (over, under) = (over.parse::<f64>().ok()?, under.parse::<f64>().ok()?);
    (under > 0.0).then(|| over / under)
}

/// From names like `yuv420p10le`; the field is often missing.
fn bit_depth(pix_fmt: &str, raw: &str) -> u8 {
    let in_name = pix_fmt
        .trim_end_matches("le")
        .trim_end_matches("be")
        .rsplit_once('p')
        .and_then(|(_, bits)| bits.parse().ok());
    in_name.or_else(|| raw.parse().ok()).unwrap_or(8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn source(streams: &str) -> Source {
        source_of(format!("{{\"streams\":[{streams}]}}").as_bytes()).unwrap()
    }

    const H264: &str = r#"{"codec_type":"video","codec_name":"h264","profile":"High","width":1080,
        "height":1920,"pix_fmt":"yuv420p","bits_per_raw_sample":"8","avg_frame_rate":"30/1",
        "r_frame_rate":"60/1"}"#;

    #[test]
    fn a_camera_with_sound_is_described() {
        let audio =
            r#"{"codec_type":"audio","codec_name":"aac","sample_rate":"44100","channels":1}"#;
        let source = source(&format!("{H264},{audio}"));
        let video = source.video.unwrap();
        assert_eq!(
            (video.width, video.height, video.bit_depth),
            (1080, 1920, 8)
        );
        assert!((video.fps - 30.0).abs() < f64::EPSILON);
        assert!(video.can_be_copied());
        let audio = source.audio.unwrap();
        assert_eq!((audio.channels, audio.sample_rate), (1, 44_100));
    }

    #[test]
    fn a_listed_track_of_which_nothing_came_is_only_announced() {
        let source = source(&format!(
            r#"{H264},{{"codec_type":"audio","codec_name":"aac","sample_rate":"0","channels":0}}"#
        ));
        assert_eq!(source.audio, None);
        assert!(source.audio_announced);
    }

    #[test]
    fn a_turned_picture_has_its_sides_swapped_and_is_not_copied() {
        let turned = H264.replace(
            "\"width\"",
            "\"side_data_list\":[{\"side_data_type\":\"Display Matrix\",\"rotation\":-90}],\"width\"",
        );
        let video = source(&turned).video.unwrap();
        assert_eq!((video.width, video.height), (1920, 1080));
        assert!(!video.can_be_copied());
    }

    #[test]
    fn ten_bits_other_chroma_and_other_codecs_are_not_copied() {
        for (from, to) in [
            ("yuv420p", "yuv420p10le"),
            ("yuv420p", "yuv422p"),
            ("h264", "hevc"),
            ("High", "Extended"),
        ] {
            let video = source(&H264.replace(from, to)).video.unwrap();
            assert!(!video.can_be_copied(), "{to}");
        }
        let ten = source(&H264.replace("yuv420p", "yuv420p10le"))
            .video
            .unwrap();
        assert_eq!(ten.bit_depth, 10);
    }

    #[test]
    fn nothing_that_can_be_decoded_is_an_error() {
        let answer = br#"{"streams":[{"codec_type":"data","codec_name":"klv"}]}"#;
        assert!(matches!(source_of(answer), Err(ProbeError::Nothing)));
        assert!(matches!(source_of(b"{}"), Err(ProbeError::Nothing)));
        assert!(matches!(source_of(b"<xml>"), Err(ProbeError::Answer(_))));
    }
}
