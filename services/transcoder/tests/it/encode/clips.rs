//! Test sources, made when they are needed.

use std::process::{Command, Stdio};

/// What ffmpeg makes of the arguments, written as a transport stream.
pub fn ffmpeg(arguments: &str) -> Vec<u8> {
    let output = Command::new("nice")
        .args(["-n", "10", "ffmpeg", "-v", "error", "-nostdin"])
        .args(arguments.split_whitespace())
        .args(["-f", "mpegts", "pipe:1"])
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    output.stdout
}

/// A camera: H.264 with a tone.
#[derive(Clone)]
pub struct Camera {
    pub size: &'static str,
    pub fps: u32,
    pub ms: u32,
    /// Where its keyframes are: every so many frames.
    pub gop: u32,
    pub b_frames: u32,
    pub with_sound: bool,
    /// Further arguments of the video encoder.
    pub extra: &'static str,
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            size: "854x480",
            fps: 30,
            ms: 6000,
            gop: 60,
            b_frames: 0,
            with_sound: true,
            extra: "",
        }
    }
}

impl Camera {
    pub fn frames(&self) -> u32 {
        self.fps * self.ms / 1000
    }

    pub fn film(&self) -> Vec<u8> {
        let Self {
            size,
            fps,
            ms,
            gop,
            b_frames,
            extra,
            ..
        } = self;
        let sound = if self.with_sound {
            "-f lavfi -i sine=440:r=48000"
        } else {
            ""
        };
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=s={size}:r={fps} {sound} -t {ms}ms \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p -b:v 1500k -maxrate 1800k \
             -bufsize 1500k -g {gop} -keyint_min {gop} -sc_threshold 0 -bf {b_frames} {extra} \
             -c:a aac -b:a 96k"
        ))
    }
}

/// A stream with its clock set to begin at about so many seconds; nothing is encoded anew.
pub fn moved(bytes: &[u8], to: f64) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clip.ts");
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    ffmpeg(&format!("-i {path} -c copy -output_ts_offset {to}"))
}

/// Keeps the sound only where `keep` says so of its time in milliseconds since the first picture.
pub fn with_sound_where(bytes: &[u8], keep: impl Fn(i64) -> bool) -> Vec<u8> {
    use marquee_hls::ts::{PacketKind, Reader};
    let (mut reader, mut out) = (Reader::new(), Vec::new());
    let (mut first, mut kept) = (None, true);
    reader.push(bytes, &mut |packet| {
        let pts = packet.start.and_then(|start| start.pts);
        match packet.kind {
            PacketKind::Video => first = first.or(pts),
            PacketKind::Audio => {
                if let Some(pts) = pts {
                    kept = keep((pts - first.unwrap_or(pts)) / 90);
                }
                if !kept {
                    return;
                }
            }
            PacketKind::Psi | PacketKind::Other => {}
        }
        out.extend_from_slice(packet.bytes);
    });
    out
}
