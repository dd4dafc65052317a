//! A live edge that serves a prerecorded rendition over and over, for bench/edge: what is measured is
//! the edge, without a ladder beside it.
//!
//! Parts come on time: a part is there when the wall clock has passed its end by the playlist's dates,
//! so that a client can tell how late it was told.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Parser;
use marquee_common::{
    config::{HttpConfig, LogConfig},
    contract::{BroadcastId, StreamId},
    server::Service,
    telemetry,
};
use marquee_hls::{
    BroadcastTag, CutPart, LadderSegmenter, Part, PartTarget, RenditionTimeline, Rung,
    SegmentEvent, SegmentName, SegmenterConfig,
};
use marquee_transcoder::{
    edge::{Edge, LiveStream, StreamFormat},
    output::uploader::Outcome,
    routes::LiveEdge,
};
use tokio::time::{Instant, sleep_until};

const RUNG: Rung = Rung::P360;

#[derive(Parser)]
struct Args {
    /// The rendition: an MPEG-TS file as an encoder's pipe brings it.
    file: PathBuf,
    /// Every answer goes through all layers of the server, to see what they cost.
    #[arg(long)]
    without_express: bool,
    /// Threads that serve connections; the transcoder has one a core.
    #[arg(long, default_value = "1")]
    workers: NonZeroUsize,
}

/// A segment of the recording.
struct Segment {
    duration: i64,
    parts: Vec<CutPart>,
    bytes: Bytes,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let recording = recording(&std::fs::read(&args.file).context("the recording")?)?;
    tokio::runtime::Runtime::new()?.block_on(serve(args, recording))
}

fn recording(bytes: &[u8]) -> Result<Vec<Segment>> {
    let config = SegmenterConfig::new(vec![RUNG], RUNG, PartTarget::default());
    let mut segmenter = LadderSegmenter::new(config);
    let mut events = Vec::new();
    segmenter.push(RUNG, bytes, &mut events);
    segmenter.finish(&mut events);
    let (mut segments, mut parts) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            SegmentEvent::Part(part) => parts.push(part),
            SegmentEvent::Segment(cut) => segments.push(Segment {
                duration: cut.duration,
                parts: std::mem::take(&mut parts),
                bytes: cut.bytes,
            }),
            other => anyhow::bail!("the recording cannot be cut: {other:?}"),
        }
    }
    anyhow::ensure!(!segments.is_empty(), "the recording is empty");
    Ok(segments)
}

async fn serve(args: Args, recording: Vec<Segment>) -> Result<()> {
    let edge = Edge::default();
    let (id, broadcast) = (StreamId::new(), BroadcastTag::from(BroadcastId::new().0));
    let timeline = RenditionTimeline::new(RUNG, broadcast, 0);
    let format = StreamFormat {
        part_target: PartTarget::default(),
        dvr_window: Duration::from_mins(30),
    };
    let stream = edge.open(id, broadcast, &[(RUNG, timeline)], format);
    let log = LogConfig {
        rust_log: "info".to_owned(),
        ..LogConfig::default()
    };
    let telemetry = telemetry::init("transcoder", &log);
    let http = HttpConfig::default();
    let live = LiveEdge::new(edge, "http://localhost/live-streams".to_owned());
    let service = Service::new("transcoder", telemetry, http, 0)
        .raw_routes(live.routes())
        .workers(args.workers);
    let service = if args.without_express {
        service
    } else {
        service.express(live)
    };
    let bound = service.bind().await?;
    // The last line that goes to standard error; what the layers log goes to standard output.
    eprintln!(
        "http://127.0.0.1:{}/stream/{id}/{RUNG}/playlist.m3u8",
        bound.local_addr().port()
    );
    tokio::spawn(async move { publish(&stream, broadcast, &recording).await });
    bound.run().await?;
    Ok(())
}

/// Shows part after part, each when its time is over.
async fn publish(stream: &LiveStream, broadcast: BroadcastTag, recording: &[Segment]) {
    let began = Instant::now();
    let began_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let began_ms = i64::try_from(began_ms.as_millis()).unwrap_or_default();
    let mut clock = 0_i64;
    for (msn, segment) in (1..).zip(recording.iter().cycle()) {
        let name = SegmentName {
            rung: RUNG,
            broadcast,
            epoch: 1,
            msn,
            start_ms: began_ms + clock / 90,
            duration_ms: u32::try_from(segment.duration / 90).unwrap_or_default(),
            discontinuity: false,
        };
        let mut end = clock;
        for part in &segment.parts {
            end += part.duration;
            sleep_until(began + Duration::from_micros((end * 100 / 9).unsigned_abs())).await;
            let listed = Part {
                duration: part.duration,
                independent: part.independent,
                gap: false,
            };
            stream.push_part(&name, listed, part.bytes.clone());
        }
        stream.push_segment(&name, segment.bytes.clone());
        stream.settle(&name, Outcome::Stored);
        clock += segment.duration;
    }
}
