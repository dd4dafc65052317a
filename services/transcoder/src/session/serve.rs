//! Serving one publisher: describe its head, then one ffmpeg run after another until it leaves.

use std::time::Duration;

use marquee_common::contract::ingest::{BroadcastLadder, EndData, LiveData, TranscoderEventKind};
use marquee_hls::{PartTarget, Rung};
use tokio::{sync::watch, time::Instant};

use super::{
    Served, Session,
    feed::{Fed, Feed, FeedEnd},
    run::{RunEnd, RunStart},
    unix_ms_at,
};
use crate::{
    ingest::Publisher,
    ladder::{EncodePlan, Ladder, LadderError, TopRung},
    lease::Lease,
    output::{BroadcastNumbers, Output, OutputContext, objects::StorageError},
    registry::Numbers,
    source::{ProbeError, Source, SourceEvent, probe},
};

/// Longest wait for a keyframe to begin with and the head after it.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for ffprobe.
const PROBE_LIMIT: Duration = Duration::from_secs(8);
/// Longest wait for the names of a broadcast that began elsewhere.
const REBUILD_LIMIT: Duration = Duration::from_secs(10);
const REBUILD_PAUSE: Duration = Duration::from_millis(500);
/// An encoder that falls more often than this within [`RESTART_WINDOW`] will not do better.
const MAX_RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_mins(1);

/// What follows a head.
enum Next {
    /// Another one of the same publisher.
    Head,
    /// Nothing: it is no longer served.
    Served(Served),
}

/// Why a source cannot be encoded.
#[derive(Debug, thiserror::Error)]
enum Unservable {
    #[error("the source cannot be described")]
    Probe(#[from] ProbeError),
    #[error("the source does not fit the broadcast")]
    Ladder(#[from] LadderError),
    #[error("the broadcast cannot be taken over while storage is away")]
    Storage(#[from] StorageError),
}

impl Session {
    /// Serves a publisher until it leaves or the session is told something.
    pub(super) async fn serve(&mut self, publisher: Publisher) -> Served {
        let closer = publisher.closer();
        self.lease.publisher_connected(true);
        let mut feed = Feed::new(publisher, self.context.max_passthrough_kbps);
        let mut falls = Falls::default();
        let served = loop {
            let source = match self.describe(&mut feed).await {
                Ok(source) => source,
                Err(served) => break served,
            };
            tracing::info!(?source, "described the source");
            match self.open_output(&mut feed, &source).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(served) => break served,
            }
            if !feed.rule().has_head() {
                tracing::warn!("more came than could be kept; the source begins anew");
                feed.begin_new_head();
                continue;
            }
            if let Next::Served(served) = self.encode(&mut feed, &source, &mut falls).await {
                break served;
            }
        };
        self.lease.publisher_connected(false);
        closer.close();
        served
    }

    /// Waits for a head and asks what it is. Reading goes on meanwhile.
    async fn describe(&mut self, feed: &mut Feed) -> Result<Source, Served> {
        loop {
            let deadline = Instant::now() + HEAD_LIMIT;
            loop {
                tokio::select! {
                    command = self.next_command() => return Err(Served::Told(command)),
                    () = tokio::time::sleep_until(deadline) => return Err(no_keyframe()),
                    next = feed.next() => match next {
                        Ok(Fed::Event(SourceEvent::HeadReady)) => break,
                        Ok(_) => {}
                        Err(end) => return Err(left(end)),
                    }
                }
            }
            let head = feed.rule().kept_bytes();
            if let Some(probed) = self.beside_reading(feed, probe(head, PROBE_LIMIT)).await? {
                return probed.map_err(|error| unservable(&error.into()));
            }
        }
    }

    /// Does `work` while the publisher is read and the session listens. What comes is kept with the
    /// head, also when the publisher leaves after it. `None` when the source begins anew first.
    async fn beside_reading<T>(
        &mut self,
        feed: &mut Feed,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, Served> {
        tokio::pin!(work);
        let mut has_left = false;
        loop {
            tokio::select! {
                command = self.next_command() => return Err(Served::Told(command)),
                done = &mut work => return Ok(Some(done)),
                next = feed.next(), if !has_left => match next {
                    Ok(Fed::Event(SourceEvent::NewHead(_))) => return Ok(None),
                    Ok(_) => {}
                    Err(FeedEnd::Left) => {
                        has_left = true;
                        self.lease.publisher_connected(false);
                    }
                    Err(end @ FeedEnd::Unusable(_)) => return Err(left(end)),
                }
            }
        }
    }

    /// Encodes one head and what follows it, until another head is needed.
    async fn encode(&mut self, feed: &mut Feed, source: &Source, falls: &mut Falls) -> Next {
        let plan = match self.plan(source, feed.rule().top_rung()) {
            Ok(plan) => plan,
            Err(error) => return Next::Served(unservable(&error.into())),
        };
        feed.catch_up_with(&plan);
        self.live = Some(live_data(source, &plan, self.ladder.as_ref()));
        let mut start = RunStart {
            first_frame_ms: unix_ms_at(feed.head_began()),
            continues: false,
            head: feed.rule().started(&plan),
            plan,
        };
        loop {
            match self.run_encoder(feed, start).await {
                RunEnd::Left(end) => return Next::Served(left(end)),
                RunEnd::Told(command) => return Next::Served(Served::Told(command)),
                RunEnd::NewHead => return Next::Head,
                RunEnd::CopyRefused(restart) => {
                    tracing::info!(reason = %restart.reason, "the source's own rung is encoded from here on");
                    let plan = match self.plan(source, TopRung::Encoded) {
                        Ok(plan) => plan,
                        Err(error) => return Next::Served(unservable(&error.into())),
                    };
                    start = RunStart {
                        first_frame_ms: unix_ms_at(feed.head_began()),
                        // The kept bytes begin where the last kept segment ended.
                        continues: restart.keep_segments > 0,
                        head: restart.head,
                        plan,
                    };
                }
                RunEnd::Fell(data) => {
                    metrics::counter!("transcoder_encoder_falls_total").increment(1);
                    tracing::error!(reason = data.reason, log = ?data.log, "the encoder fell");
                    if !falls.may_restart() {
                        return Next::Served(Served::Left(data));
                    }
                    self.told_live = None;
                    self.send(TranscoderEventKind::Interrupted(data));
                    feed.begin_new_head();
                    return Next::Head;
                }
            }
        }
    }

    /// How a source fills the broadcast's rungs.
    fn plan(&self, source: &Source, top: TopRung) -> Result<EncodePlan, LadderError> {
        match &self.ladder {
            Some(ladder) => EncodePlan::new(ladder, source, top),
            None => EncodePlan::new(&Ladder::for_source(source)?, source, top),
        }
    }

    /// Makes the output ready, with the rungs of this source unless the broadcast has some already.
    /// A takeover asks storage what is there, which may be away for a moment: the publisher is read
    /// meanwhile. False when the source began anew first.
    async fn open_output(&mut self, feed: &mut Feed, source: &Source) -> Result<bool, Served> {
        if self.output.is_some() {
            return Ok(true);
        }
        let ladder = match &self.ladder {
            Some(ladder) => ladder.clone(),
            None => Ladder::for_source(source).map_err(|error| unservable(&error.into()))?,
        };
        let part_target = part_target(source);
        let starting = start_output(
            self.context.output.clone(),
            self.first_numbers(),
            ladder.rungs().to_vec(),
            part_target,
            self.lease.clone(),
            self.numbers.clone(),
        );
        let Some(started) = self.beside_reading(feed, starting).await? else {
            return Ok(false);
        };
        self.output = Some(started.map_err(|error| unservable(&error.into()))?);
        self.ladder = Some(ladder);
        self.part_target = part_target;
        Ok(true)
    }
}

/// Starts an output; storage may be away for a moment.
async fn start_output(
    context: OutputContext,
    numbers: BroadcastNumbers,
    rungs: Vec<Rung>,
    part_target: PartTarget,
    lease: Lease,
    reported: watch::Sender<Numbers>,
) -> Result<Output, StorageError> {
    let deadline = Instant::now() + REBUILD_LIMIT;
    loop {
        let (lease, reported) = (lease.clone(), reported.clone());
        match Output::start(&context, numbers, &rungs, part_target, lease, reported).await {
            Err(error) if Instant::now() < deadline => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a takeover waits for storage"
                );
                tokio::time::sleep(REBUILD_PAUSE).await;
            }
            started => return started,
        }
    }
}

/// Whole frames of the broadcast's first source; of AAC at 48 kHz where it is sound alone.
fn part_target(source: &Source) -> PartTarget {
    const AAC_FRAMES_A_SECOND: f64 = 46.875;
    let rate = source
        .video
        .as_ref()
        .map_or(AAC_FRAMES_A_SECOND, |video| video.fps);
    PartTarget::for_frame_rate(rate)
}

/// Counts an encoder's falls.
#[derive(Default)]
struct Falls(Vec<Instant>);

impl Falls {
    fn may_restart(&mut self) -> bool {
        self.0.retain(|at| at.elapsed() < RESTART_WINDOW);
        self.0.push(Instant::now());
        self.0.len() <= MAX_RESTARTS
    }
}

fn left(end: FeedEnd) -> Served {
    let reason = match end {
        FeedEnd::Left => "publisher_left".to_owned(),
        FeedEnd::Unusable(error) => format!("unusable_source: {error}"),
    };
    Served::Left(EndData {
        reason,
        log: Vec::new(),
    })
}

fn no_keyframe() -> Served {
    tracing::warn!("a publisher sends no keyframe to begin with; it is sent away");
    Served::Left(EndData {
        reason: "no_keyframe".into(),
        log: Vec::new(),
    })
}

fn unservable(error: &Unservable) -> Served {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "a publisher cannot be served"
    );
    let cause = std::error::Error::source(error).map(ToString::to_string);
    Served::Left(EndData {
        reason: format!("unservable_source: {error}"),
        log: cause.into_iter().collect(),
    })
}

fn live_data(source: &Source, plan: &EncodePlan, ladder: Option<&Ladder>) -> LiveData {
    let BroadcastLadder { rungs, audio } = ladder.map_or_else(
        || BroadcastLadder {
            rungs: plan.rungs().iter().map(ToString::to_string).collect(),
            audio: source.audio.is_some(),
        },
        |ladder| BroadcastLadder {
            rungs: ladder.names(),
            audio: ladder.audio(),
        },
    );
    let video = source.video.as_ref();
    let audio_codec = || source.audio.as_ref().map(|audio| audio.codec.clone());
    LiveData {
        available_qualities: rungs,
        audio,
        width: video.map_or(0, |video| video.width),
        height: video.map_or(0, |video| video.height),
        fps: video.map_or(0.0, |video| video.fps),
        codec: video
            .map(|video| video.codec.clone())
            .or_else(audio_codec)
            .unwrap_or_default(),
    }
}
