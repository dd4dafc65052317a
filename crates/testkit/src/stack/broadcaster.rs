//! The demo's broadcaster: ffmpeg draws a test picture with a clock, adds a tone and pushes both by
//! SRT, as an encoder in the field would.

use std::{path::Path, thread::available_parallelism};

use serde::Deserialize;
use serde_json::json;

use super::{StackDir, report::Report};
use crate::{
    error::{Result, StackError},
    process::Record,
    servers::{find_program, spec},
};

const NAME: &str = "broadcaster";
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";

/// A stream that can be pushed to.
#[derive(Debug)]
pub struct Broadcast {
    /// The stream's id.
    pub stream_id: String,
    /// Where it plays.
    pub hls_url: String,
    key: String,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
}

#[derive(Deserialize)]
struct Streams {
    items: Vec<OwnStream>,
}

/// What everybody is told of a stream.
#[derive(Debug, Deserialize)]
pub struct Announced {
    /// Its title.
    pub title: String,
    /// Who is on, as the stream service reads it from `auth_db`; `None` while that is away.
    pub username: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    stream: OwnStream,
}

#[derive(Deserialize)]
struct OwnStream {
    id: String,
    stream_key: Option<String>,
    status: String,
    hls_url: String,
}

impl Broadcast {
    /// The stream of the synthetic broadcast, which belongs to the user `demo`.
    pub async fn of_the_demo(report: &Report) -> Result<Self> {
        let about = json!({"title": "Test picture", "description": "A clock and a tone."});
        Self::prepare(report, "demo", &about).await
    }

    /// A stream to try one's own encoder on, which belongs to the user `admin`; nobody finds it in
    /// the public list while nothing is pushed.
    pub async fn for_an_encoder(report: &Report) -> Result<Self> {
        let about = json!({"title": "My first broadcast", "visibility": "unlisted"});
        Self::prepare(report, "admin", &about).await
    }

    /// Asks the API as any visitor would.
    pub async fn announced(&self, report: &Report) -> Result<Announced> {
        let url = format!("{}/api/streams/{}", report.gateway_url, self.stream_id);
        ask("asking who is on", reqwest::Client::new().get(url)).await
    }

    /// What an encoder is given for RTMP: the server's URL and the key.
    pub fn rtmp(&self, report: &Report) -> (String, &str) {
        (format!("{}/live", report.rtmp_url), &self.key)
    }

    /// The URL that an encoder is given for SRT: server and key in one.
    pub fn publish_url(&self, report: &Report) -> String {
        format!("{}?streamid=publish:{}", report.srt_url, self.key)
    }

    /// Logs in through the gateway and takes the user's usable stream, or makes one.
    async fn prepare(report: &Report, username: &str, about: &serde_json::Value) -> Result<Self> {
        let client = reqwest::Client::new();
        let user = report.user(username)?;
        let api = format!("{}/api", report.gateway_url);
        let login = client
            .post(format!("{api}/auth/login"))
            .json(&json!({"username": user.username, "password": user.password}));
        let token = ask::<Tokens>(&format!("logging in as {username}"), login)
            .await?
            .access_token;

        let own = client.get(format!("{api}/streams")).bearer_auth(&token);
        let streams: Streams = ask("listing one's own streams", own).await?;
        let usable = |stream: &OwnStream| stream.status != "expired" && stream.stream_key.is_some();
        let stream = if let Some(stream) = streams.items.into_iter().find(usable) {
            stream
        } else {
            let create = client
                .post(format!("{api}/streams"))
                .bearer_auth(&token)
                .json(about);
            ask::<Created>("making a stream", create).await?.stream
        };
        let key = stream
            .stream_key
            .ok_or_else(|| StackError::Refused("one's own stream shows no key".to_owned()))?;
        Ok(Self {
            stream_id: stream.id,
            hls_url: stream.hls_url,
            key,
        })
    }
}

/// What it sends, in words.
pub fn picture() -> String {
    let (height, _, _) = size();
    format!("{height}p30 H.264 with a clock, a tone, keyframes every 2 s, by SRT")
}

/// Starts pushing.
pub async fn start(dir: &StackDir, report: &Report, broadcast: &Broadcast) -> Result<Record> {
    let ffmpeg = find_program("ffmpeg").ok_or(StackError::Missing {
        program: "ffmpeg",
        remedy: "run scripts/bootstrap, or apt-get install ffmpeg",
    })?;
    let (height, width, rate) = size();
    let picture = format!("testsrc2=size={width}x{height}:rate=30{}", clock(height));
    let url = format!(
        "{}?mode=caller&latency=120000&pkt_size=1316",
        report.srt_url
    );
    let streamid = format!("publish:{}", broadcast.key);
    let arguments = [
        ["-hide_banner", "-nostats"].as_slice(),
        &["-loglevel", "warning"],
        &["-re", "-f", "lavfi", "-i", &picture],
        &[
            "-re",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:beep_factor=4:sample_rate=48000",
        ],
        &[
            "-c:v",
            "libx264",
            "-preset",
            "superfast",
            "-tune",
            "zerolatency",
        ],
        &[
            "-profile:v",
            "high",
            "-pix_fmt",
            "yuv420p",
            "-b:v",
            rate,
            "-maxrate",
            rate,
        ],
        // Closed GOPs of 2 s and no other keyframes: the source's rung is then passed through.
        &[
            "-bufsize",
            rate,
            "-g",
            "60",
            "-keyint_min",
            "60",
            "-sc_threshold",
            "0",
        ],
        &[
            "-c:a",
            "aac",
            "-b:a",
            "128k",
            "-ac",
            "2",
            "-filter:a",
            "volume=0.2",
        ],
        // As an option and not in the URL, which ffmpeg writes into its log when it fails.
        &["-srt_streamid", &streamid],
        &["-f", "mpegts", &url],
    ];
    let argv = std::iter::once(ffmpeg.display().to_string())
        .chain(arguments.concat().into_iter().map(str::to_owned))
        .collect();
    let mut spec = spec(dir, NAME, argv);
    spec.grace_s = 3;
    dir.ensure(&spec).await
}

/// Height, width and bitrate: what the ladder behind it can take on this machine.
fn size() -> (u32, u32, &'static str) {
    if available_parallelism().map_or(1, std::num::NonZero::get) > 2 {
        (1080, 1920, "4500k")
    } else {
        (720, 1280, "2500k")
    }
}

/// The time of day and the time since the start; `testsrc2` has a timer of its own where there is no
/// font.
fn clock(height: u32) -> String {
    if !Path::new(FONT).exists() {
        return String::new();
    }
    let line = |text: &str, size: u32, y: &str| {
        format!(
            ",drawtext=fontfile={FONT}:text='{text}':fontsize={size}:fontcolor=white:\
             box=1:boxcolor=black@0.7:boxborderw={}:x=(w-tw)/2:y={y}",
            size / 5
        )
    };
    line("%{localtime\\:%T}", height / 7, "h*0.36") + &line("%{pts\\:hms}", height / 14, "h*0.58")
}

async fn ask<T: serde::de::DeserializeOwned>(
    what: &str,
    request: reqwest::RequestBuilder,
) -> Result<T> {
    let failed = |source| StackError::Http {
        what: what.to_owned(),
        source,
    };
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    if !status.is_success() {
        let body = answer.text().await.unwrap_or_default();
        return Err(StackError::failed(what, &format!("{status} {body}")));
    }
    answer.json().await.map_err(failed)
}
