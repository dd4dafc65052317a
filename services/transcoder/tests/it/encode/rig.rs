//! Drives source, rule, encoder and segmenter the way a session does, and looks at what comes out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use marquee_hls::ts::{PacketKind, Reader};
use marquee_hls::{CutSegment, LadderSegmenter, PartTarget, Rung, SegmentEvent, SegmenterConfig};
use marquee_transcoder::encode::{Encoder, EncoderExit};
use marquee_transcoder::ladder::{EncodePlan, Ladder, Picture, Sound, TopRung};
use marquee_transcoder::source::{
    CopyRestart, CopyRule, Source, SourceEvent, SourceInspector, probe,
};

/// What one ffmpeg run made.
pub struct Run {
    pub plan: EncodePlan,
    pub exit: EncoderExit,
    pub events: Vec<SegmentEvent>,
}

/// What became of a broadcast.
pub struct Outcome {
    pub source: Source,
    pub runs: Vec<Run>,
    pub restarts: Vec<CopyRestart>,
    /// All but the media.
    pub told: Vec<SourceEvent>,
}

struct Cutter {
    segmenter: LadderSegmenter,
    events: Vec<SegmentEvent>,
}

struct Running {
    plan: EncodePlan,
    encoder: Encoder,
    cutter: Arc<Mutex<Cutter>>,
}

impl Running {
    async fn start(ladder: &Ladder, plan: EncodePlan, head: Vec<Bytes>) -> Self {
        let config = SegmenterConfig::new(plan.rungs(), ladder.leader(), PartTarget::default());
        let cutter = Arc::new(Mutex::new(Cutter {
            segmenter: LadderSegmenter::new(config),
            events: Vec::new(),
        }));
        let sink = {
            let cutter = Arc::clone(&cutter);
            move |rung: Rung, bytes: Option<&[u8]>| {
                let mut cutter = cutter.lock().unwrap();
                let Cutter { segmenter, events } = &mut *cutter;
                if let Some(bytes) = bytes {
                    segmenter.push(rung, bytes, events);
                }
            }
        };
        let mut encoder = Encoder::start(&plan, sink).unwrap();
        for bytes in head {
            encoder.write(bytes).await.unwrap();
        }
        Self {
            plan,
            encoder,
            cutter,
        }
    }

    async fn finish(self, keep_below: Option<u64>) -> Run {
        let exit = self.encoder.finish().await;
        let mut cutter = self.cutter.lock().unwrap();
        let Cutter { segmenter, events } = &mut *cutter;
        segmenter.finish(events);
        let mut events = std::mem::take(events);
        if let Some(limit) = keep_below {
            events.retain(
                |event| matches!(event, SegmentEvent::Segment(segment) if segment.index < limit),
            );
        }
        Run {
            plan: self.plan,
            exit,
            events,
        }
    }
}

/// Sends a whole stream, as fast as it is taken.
pub async fn broadcast(bytes: &[u8]) -> Outcome {
    broadcast_into(bytes, None).await
}

/// The same, into a broadcast that goes on.
pub async fn broadcast_into(bytes: &[u8], ladder: Option<Ladder>) -> Outcome {
    let mut session = Session {
        inspector: SourceInspector::new(),
        rule: CopyRule::new(8000),
        ladder,
        source: Source::default(),
        running: None,
        outcome: Outcome {
            source: Source::default(),
            runs: Vec::new(),
            restarts: Vec::new(),
            told: Vec::new(),
        },
    };
    let mut events = Vec::new();
    for chunk in bytes.chunks(1316 * 8) {
        session.inspector.push(chunk, &mut events).unwrap();
        for event in events.drain(..) {
            session.take(event).await;
        }
    }
    session.end_run(None).await;
    session.outcome.source = session.source;
    session.outcome
}

struct Session {
    inspector: SourceInspector,
    rule: CopyRule,
    ladder: Option<Ladder>,
    source: Source,
    running: Option<Running>,
    outcome: Outcome,
}

impl Session {
    async fn take(&mut self, event: SourceEvent) {
        if let Some(restart) = self.rule.observe(&event) {
            self.end_run(Some(restart.keep_segments)).await;
            self.start(TopRung::Encoded, restart.head.clone()).await;
            self.outcome.restarts.push(restart);
            return;
        }
        match &event {
            SourceEvent::Media(bytes) => {
                if let Some(running) = &mut self.running {
                    running.encoder.write(bytes.clone()).await.unwrap();
                }
                return;
            }
            SourceEvent::HeadReady => {
                let head = self.rule.kept_bytes();
                self.source = probe(head, Duration::from_secs(10)).await.unwrap();
                let top = self.rule.top_rung();
                let plan = self.plan(top);
                let head = self.rule.started(&plan);
                self.start(top, head).await;
            }
            SourceEvent::NewHead(_) => self.end_run(None).await,
            SourceEvent::AudioStarted if self.plays(|plan| plan.sound == Sound::Silence) => {
                self.inspector.begin_new_head();
            }
            SourceEvent::VideoStarted if self.plays(|plan| plan.picture == Picture::Black) => {
                self.inspector.begin_new_head();
            }
            SourceEvent::VideoStopped if self.plays(|plan| plan.picture == Picture::Source) => {
                self.inspector.begin_new_head();
            }
            _ => {}
        }
        self.outcome.told.push(event);
    }

    fn plays(&self, what: impl Fn(&EncodePlan) -> bool) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| what(&running.plan))
    }

    fn plan(&mut self, top: TopRung) -> EncodePlan {
        let source = &self.source;
        let ladder = self
            .ladder
            .get_or_insert_with(|| Ladder::for_source(source).unwrap());
        EncodePlan::new(ladder, source, top).unwrap()
    }

    async fn start(&mut self, top: TopRung, head: Vec<Bytes>) {
        let plan = self.plan(top);
        let ladder = self.ladder.as_ref().unwrap();
        self.running = Some(Running::start(ladder, plan, head).await);
    }

    async fn end_run(&mut self, keep_below: Option<u64>) {
        if let Some(running) = self.running.take() {
            self.outcome.runs.push(running.finish(keep_below).await);
        }
    }
}

impl Outcome {
    /// The only run, which ended well.
    pub fn only_run(&self) -> &Run {
        assert_eq!(self.runs.len(), 1, "{:?} {:?}", self.restarts, self.told);
        let run = &self.runs[0];
        assert!(run.exit.success, "{:?}", run.exit);
        run
    }
}

/// What a segment really holds.
#[derive(Debug, Default)]
pub struct Content {
    pub first_video_pts: Option<i64>,
    pub keyframes: Vec<i64>,
    pub frames: usize,
    pub audio: Vec<i64>,
    /// Audio frames that were made up where the source had none.
    pub silent: usize,
    pub discontinuous_counters: usize,
}

impl Content {
    pub fn of(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        let mut counters = BTreeMap::new();
        let mut reader = Reader::new();
        reader.push(bytes, &mut |packet| {
            if packet.bytes[3] & 0x10 != 0 {
                let counter = packet.bytes[3] & 0x0f;
                let last = counters.insert(packet.pid, counter);
                if last.is_some_and(|last| (last + 1) & 0x0f != counter) {
                    content.discontinuous_counters += 1;
                }
            }
            let Some(start) = packet.start else {
                return;
            };
            match packet.kind {
                PacketKind::Video => {
                    content.frames += 1;
                    content.first_video_pts = content.first_video_pts.or(start.pts);
                    if start.random_access {
                        content.keyframes.extend(start.pts);
                    }
                }
                PacketKind::Audio => {
                    for (pts, length) in audio_frames(start.pts, start.payload) {
                        content.audio.push(pts);
                        content.silent += usize::from(length == SILENT_FRAME);
                    }
                }
                PacketKind::Psi | PacketKind::Other => {}
            }
        });
        content
    }
}

/// Bytes of a silent frame as the encoder's reader makes it; one of real sound has more.
const SILENT_FRAME: usize = 16;

/// Times and lengths of the AAC frames that begin in a PES packet's first transport packet (silence
/// has many).
fn audio_frames(pts: Option<i64>, payload: &[u8]) -> Vec<(i64, usize)> {
    let (mut frames, mut at) = (Vec::new(), 0);
    let Some(mut pts) = pts else {
        return frames;
    };
    while let Some([0xff, 0xf1, _, high, middle, low, _]) = payload.get(at..at + 7) {
        let length =
            usize::from(high & 3) << 11 | usize::from(*middle) << 3 | usize::from(low >> 5);
        frames.push((pts, length));
        pts += 1920;
        at += length;
    }
    frames
}

impl Run {
    /// Segments by number and rung. Fails if a rung lacks one, or holds anything else than the
    /// others: another first frame, another number of frames, other keyframes than allowed.
    pub fn aligned(&self) -> Vec<BTreeMap<Rung, (CutSegment, Content)>> {
        let mut numbers: BTreeMap<u64, BTreeMap<Rung, (CutSegment, Content)>> = BTreeMap::new();
        for event in &self.events {
            let SegmentEvent::Segment(segment) = event else {
                panic!("a rung is not in step: {event:?}");
            };
            let content = Content::of(&segment.bytes);
            let rungs = numbers.entry(segment.index).or_default();
            rungs.insert(segment.rung, (segment.clone(), content));
        }
        for (index, rungs) in &numbers {
            let present: Vec<_> = rungs.keys().copied().collect();
            assert_eq!(present, self.plan.rungs(), "number {index}");
            let (leader, first) = &rungs[&self.plan.rungs()[0]];
            assert_eq!(
                first.first_video_pts.is_some(),
                self.plan.picture != Picture::None
            );
            for (segment, content) in rungs.values() {
                let what = format!("number {index} of {}", segment.rung);
                assert_eq!(content.first_video_pts, first.first_video_pts, "{what}");
                assert_eq!(content.keyframes, first.keyframes, "{what}");
                assert_eq!(content.frames, first.frames, "{what}");
                assert_eq!(content.discontinuous_counters, 0, "{what}");
                assert_eq!(segment.duration, leader.duration, "{what}");
                if let Some(first) = content.first_video_pts {
                    assert_eq!(content.keyframes.first(), Some(&first), "{what}");
                    assert_eq!(segment.start_pts, first, "{what}");
                }
            }
        }
        assert!(numbers.keys().copied().eq(0..numbers.len() as u64));
        numbers.into_values().collect()
    }

    /// Frames of each rung (the same in all).
    pub fn frames(&self) -> usize {
        let leader = self.plan.rungs()[0];
        self.aligned()
            .iter()
            .map(|rungs| rungs[&leader].1.frames)
            .sum()
    }

    /// Durations of its segments in milliseconds.
    pub fn durations_ms(&self) -> Vec<i64> {
        let leader = self.plan.rungs()[0];
        let duration = |rungs: &BTreeMap<Rung, (CutSegment, _)>| rungs[&leader].0.duration / 90;
        self.aligned().iter().map(duration).collect()
    }

    /// Times of a rung's audio frames over the whole run, in the order they came.
    pub fn audio(&self, rung: Rung) -> Vec<i64> {
        let numbers = self.aligned();
        let frames = numbers
            .iter()
            .flat_map(|rungs| rungs[&rung].1.audio.clone());
        frames.collect()
    }
}
