//! A broadcast at the edge that a test feeds with frames, as fast as it likes.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use marquee_common::{
    config::{HttpConfig, LogConfig},
    contract::{BroadcastId, StreamId},
    server::{Lifecycle, Service},
    telemetry,
};
use marquee_hls::{
    LadderSegmenter, PartTarget, Rung, SegmentEvent, SegmenterConfig,
    ts::{AccessUnit, Muxer, Program, StreamType},
};
use marquee_transcoder::{
    ladder::{EncodePlan, Ladder, TopRung},
    lease::{Lease, PauseWatch},
    output::{BroadcastNumbers, Output, OutputContext, RunOutput},
    registry::Numbers,
    routes::LiveEdge,
    source::{Source, VideoSource},
};
use reqwest::{Client, Response, redirect::Policy};
use tokio::sync::watch;

pub const PATIENCE: Duration = Duration::from_secs(30);
/// What viewers find in storage, by what the edge says; nobody goes there.
pub const STORAGE_URL: &str = "http://tv.example/live-streams";
pub const RUNGS: [Rung; 2] = [Rung::P480, Rung::P360];
/// Frames a part, at 30 a second.
pub const PART: u32 = 6;
/// Frames a GOP, and so a segment.
pub const GOP: u32 = 60;
const FRAME: i64 = 3000;
/// An H.264 parameter set of 1280 × 720, High profile, level 3.1.
const SPS: [u8; 22] = [
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
    0x10, 0x00, 0x00, 0x03, 0x03, 0xc0,
];

/// An edge that listens.
pub struct Server {
    pub addr: SocketAddr,
    lifecycle: Lifecycle,
    client: Client,
}

impl Server {
    pub async fn start(context: &OutputContext) -> Self {
        Self::of(LiveEdge::new(context.edge.clone(), STORAGE_URL.into())).await
    }

    /// One that lets a client take so long over an answer.
    pub async fn with_longest_answer(context: &OutputContext, limit: Duration) -> Self {
        let edge = LiveEdge::new(context.edge.clone(), STORAGE_URL.into());
        Self::of(edge.longest_answer(limit)).await
    }

    async fn of(edge: LiveEdge) -> Self {
        let telemetry = telemetry::init("transcoder", &LogConfig::default());
        let service = edge.add_to(Service::new(
            "transcoder",
            telemetry,
            HttpConfig::default(),
            0,
        ));
        let lifecycle = service.lifecycle();
        let bound = service.bind().await.unwrap();
        let port = bound.local_addr().port();
        tokio::spawn(bound.run());
        Self {
            addr: ([127, 0, 0, 1], port).into(),
            lifecycle,
            client: Client::builder()
                .redirect(Policy::none())
                .timeout(PATIENCE)
                .build()
                .unwrap(),
        }
    }

    /// `path` below the stream.
    pub fn url(&self, stream_id: StreamId, path: &str) -> String {
        format!("http://{}/stream/{stream_id}/{path}", self.addr)
    }

    pub async fn get(&self, stream_id: StreamId, path: &str) -> Response {
        let request = self.client.get(self.url(stream_id, path));
        request.send().await.unwrap()
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lifecycle.shutdown();
    }
}

/// One broadcast, and the run that fills it.
pub struct Live {
    pub output: Output,
    pub lease: Lease,
    run: Option<Run>,
    /// When the next frame is shown, in frames.
    clock: i64,
    pub picture_bytes: usize,
}

struct Run {
    output: RunOutput,
    segmenter: LadderSegmenter,
    muxers: [Muxer; 2],
    frames: u32,
}

impl Live {
    pub async fn start(
        context: &OutputContext,
        stream_id: StreamId,
        broadcast: BroadcastId,
        epoch: u64,
        next_msn: u64,
    ) -> Self {
        let lease = Lease::granted(epoch, tokio::time::Instant::now(), PauseWatch::default());
        lease.publisher_connected(true);
        let numbers = BroadcastNumbers {
            stream_id,
            broadcast: broadcast.0.into(),
            next_msn,
            discontinuity_seq_first: 0,
            resumed: epoch > 1,
        };
        let (reported, _) = watch::channel(Numbers::default());
        let output = Output::start(
            context,
            numbers,
            &RUNGS,
            PartTarget::default(),
            lease.clone(),
            reported,
        )
        .await
        .unwrap();
        // The authority answers, as it does every 2 s.
        let renewed = lease.clone();
        tokio::spawn(async move {
            while !renewed.is_superseded() {
                renewed.renewed(tokio::time::Instant::now());
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let mut live = Self {
            output,
            lease,
            run: None,
            clock: 300,
            picture_bytes: 600,
        };
        live.begin_run(TopRung::Encoded);
        live
    }

    pub fn begin_run(&mut self, top: TopRung) {
        let source = Source {
            video: Some(VideoSource {
                codec: "h264".into(),
                width: 854,
                height: 480,
                fps: 30.0,
                pix_fmt: "yuv420p".into(),
                profile: "High".into(),
                bit_depth: 8,
                rotated: false,
            }),
            audio: None,
            audio_announced: false,
        };
        let ladder = Ladder::for_source(&source).unwrap();
        let plan = EncodePlan::new(&ladder, &source, top).unwrap();
        let (epoch, now) = (self.lease.epoch(), 1_795_000_000_000);
        let output = self.output.begin_run(epoch, now, false, RUNGS[0], &plan);
        let program = Program {
            video: Some(StreamType::H264),
            audio: None,
        };
        self.run = Some(Run {
            output,
            segmenter: LadderSegmenter::new(SegmenterConfig::new(
                RUNGS.to_vec(),
                RUNGS[0],
                PartTarget::default(),
            )),
            muxers: [Muxer::new(program), Muxer::new(program)],
            frames: 0,
        });
    }

    /// So many frames come out of both pipes.
    pub fn frames(&mut self, count: u32) {
        let run = self.run.as_mut().unwrap();
        let mut events = Vec::new();
        for _ in 0..count {
            let is_key = run.frames.is_multiple_of(GOP);
            let pts = self.clock * FRAME;
            for (rung, muxer) in RUNGS.into_iter().zip(&mut run.muxers) {
                let bytes = picture(muxer, pts, is_key, self.picture_bytes);
                run.segmenter.push(rung, &bytes, &mut events);
            }
            run.frames += 1;
            self.clock += 1;
        }
        run.hand_over(events);
    }

    /// So many parts are told: the frames of each, and once the first of the part after the last.
    pub fn parts(&mut self, count: u32) {
        let begins = self.run.as_ref().unwrap().frames == 0;
        // A follower is certain of a frame when the leader is one ahead.
        self.frames(count * PART + if begins { 2 } else { 0 });
    }

    /// The encoder ends in order.
    pub fn end_run(&mut self) {
        let mut run = self.run.take().unwrap();
        let mut events = Vec::new();
        run.segmenter.finish(&mut events);
        run.hand_over(events);
        run.output.finish();
    }

    /// The encoder is stopped, and what it was in the middle of is made again.
    pub fn abandon_run(&mut self) {
        self.run.take().unwrap().output.finish();
    }
}

impl Run {
    fn hand_over(&mut self, events: Vec<SegmentEvent>) {
        for event in events {
            if let SegmentEvent::Segment(cut) = &event {
                let params = self.segmenter.params(cut.rung).unwrap();
                self.output.measured(cut.rung, params);
            }
            self.output.take(event);
        }
    }
}

fn picture(muxer: &mut Muxer, pts: i64, is_key: bool, size: usize) -> Bytes {
    let mut data = vec![0, 0, 0, 1, 9, 0xf0];
    if is_key {
        data.extend([0, 0, 0, 1]);
        data.extend(SPS);
    }
    data.extend([0, 0, 1, if is_key { 0x65 } else { 0x41 }]);
    data.resize(data.len() + size, 0x55);
    let unit = AccessUnit {
        pts,
        dts: pts,
        random_access: is_key,
        data: &data,
    };
    let mut packets = BytesMut::new();
    if is_key {
        muxer.tables(&mut packets);
    }
    muxer.video(&unit, &mut packets);
    packets.freeze()
}
