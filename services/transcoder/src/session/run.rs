//! One ffmpeg run: feeds the encoder, watches it, reports how it does, and ends it in order.

use std::time::Duration;

use bytes::Bytes;
use marquee_common::contract::ingest::{
    DisconnectReason, EndData, HealthData, TranscoderEventKind,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Session,
    cutter::Cutter,
    feed::{Fed, Feed, FeedEnd},
};
use crate::{
    encode::{EncodeError, Encoder, EncoderExit},
    events::Word,
    ladder::{EncodePlan, Picture, Sound},
    registry::Command,
    source::{CopyRestart, SourceEvent},
};

/// How often it is looked whether the run can be played.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Time between health samples.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// An encoder that takes no input for so long is of no more use.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// How long the end of an encoder that takes no more input is waited for.
const EXIT_PATIENCE: Duration = Duration::from_millis(500);

/// How a run begins.
pub(super) struct RunStart {
    /// What to encode.
    pub(super) plan: EncodePlan,
    /// The source from a keyframe on, as far as it came.
    pub(super) head: Vec<Bytes>,
    /// When that keyframe came, Unix ms.
    pub(super) first_frame_ms: i64,
    /// Whether it begins where the last run ended in the source.
    pub(super) continues: bool,
}

/// Why a run ended. What it was fed is cut and handed to the output by then.
pub(super) enum RunEnd {
    /// The publisher gives nothing more.
    Left(FeedEnd),
    /// The session was told something.
    Told(Command),
    /// The source is another one from here on.
    NewHead,
    /// The passed-through rung must be encoded.
    CopyRefused(CopyRestart),
    /// The encoder ended by itself, or is of no more use.
    Fell(EndData),
}

impl Session {
    /// Runs an encoder until something ends it.
    pub(super) async fn run_encoder(&mut self, feed: &mut Feed, start: RunStart) -> RunEnd {
        let (Some(output), Some(ladder)) = (&self.output, &self.ladder) else {
            return RunEnd::NewHead;
        };
        let run_output = output.begin_run(
            self.lease.epoch(),
            start.first_frame_ms,
            start.continues,
            ladder.leader(),
            &start.plan,
        );
        let cutter = Cutter::new(
            start.plan.rungs(),
            ladder.leader(),
            self.part_target,
            run_output,
        );
        let sink = {
            let cutter = cutter.clone();
            move |rung, bytes: Option<&[u8]>| {
                if let Some(bytes) = bytes {
                    cutter.push(rung, bytes);
                }
            }
        };
        let mut encoder = match Encoder::start(&start.plan, sink) {
            Ok(encoder) => encoder,
            Err(error) => return RunEnd::Fell(fell(&error, None)),
        };
        tracing::info!(
            process = encoder.process_id(),
            outputs = ?start.plan.outputs,
            "an encoder runs"
        );
        let end = self
            .feed_encoder(feed, &mut encoder, &cutter, &start.plan, start.head)
            .await;
        self.finish_run(end, encoder, &cutter).await
    }

    async fn feed_encoder(
        &mut self,
        feed: &mut Feed,
        encoder: &mut Encoder,
        cutter: &Cutter,
        plan: &EncodePlan,
        head: Vec<Bytes>,
    ) -> RunEnd {
        let exited = encoder.exited();
        tokio::pin!(exited);
        let mut misaligned = cutter.misaligned();
        let mut thumbnails = encoder.thumbnails();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_health = Instant::now() + HEALTH_INTERVAL;
        let mut input = Input {
            head: head.into_iter(),
            writing_since: None,
            written_at: None,
        };
        loop {
            let step = input.step(feed, encoder);
            tokio::select! {
                command = self.next_command() => {
                    return RunEnd::Told(command);
                }
                exit = &mut exited => return RunEnd::Fell(exit_data(&exit)),
                () = turns_true(&mut misaligned) => {
                    return RunEnd::Fell(EndData {
                        reason: "rungs_out_of_step".into(),
                        log: Vec::new(),
                    });
                }
                _ = look.tick() => {
                    let takes_nothing =
                        input.writing_since.is_some_and(|since| since.elapsed() > STALL_LIMIT);
                    if takes_nothing || input.is_unanswered(cutter.last_output()) {
                        return RunEnd::Fell(fell(&EncodeError::Stalled, None));
                    }
                    self.tell_live();
                    self.show_thumbnail(&mut thumbnails);
                    if Instant::now() >= next_health {
                        next_health += HEALTH_INTERVAL;
                        self.tell_health(feed, encoder);
                    }
                }
                stepped = step => match stepped {
                    Ok(None) => {}
                    Ok(Some(Fed::CopyRefused(restart))) => return RunEnd::CopyRefused(restart),
                    Ok(Some(Fed::Event(event))) => {
                        if let Some(end) = note(&event, plan, feed) {
                            return end;
                        }
                    }
                    Err(StepError::Feed(end)) => return RunEnd::Left(end),
                    Err(StepError::Encoder(error)) => {
                        // Its end, if that is what it is, tells more.
                        let exit = tokio::time::timeout(EXIT_PATIENCE, exited).await.ok();
                        return RunEnd::Fell(fell(&error, exit.as_ref()));
                    }
                }
            }
        }
    }

    /// Ends the encoder as the reason asks, so that what it was fed is cut.
    async fn finish_run(&mut self, end: RunEnd, encoder: Encoder, cutter: &Cutter) -> RunEnd {
        if let RunEnd::Told(command) = &end
            && lets_go(command)
            && let Some(output) = &self.output
        {
            output.give_way();
        }
        match &end {
            RunEnd::CopyRefused(restart) => {
                cutter.keep_below(restart.keep_segments);
                if restart.keep_segments == 0 {
                    encoder.abort().await;
                } else {
                    encoder.finish().await;
                }
            }
            // Nothing of it will be listed.
            RunEnd::Told(Command::Word(Word::Superseded) | Command::Abandon) => {
                self.lease.publisher_connected(false);
                encoder.abort().await;
            }
            RunEnd::Fell(_) => {
                encoder.abort().await;
            }
            RunEnd::Left(_) | RunEnd::Told(_) | RunEnd::NewHead => {
                let exit = encoder.finish().await;
                if !exit.success {
                    tracing::warn!(?exit, "the encoder did not end in order");
                }
            }
        }
        cutter.finish();
        end
    }

    /// Tells the stream service once the run can be played.
    fn tell_live(&mut self) {
        let Some(output) = &self.output else { return };
        let epoch = self.lease.epoch();
        if self.told_live == Some(epoch)
            || output.listed_in_run() == 0
            || !*output.playable().borrow()
        {
            return;
        }
        if let Some(live) = self.live.clone() {
            tracing::info!(qualities = ?live.available_qualities, "live");
            self.told_live = Some(epoch);
            self.send(TranscoderEventKind::Live(live));
        }
    }

    fn show_thumbnail(&self, pictures: &mut watch::Receiver<Option<Bytes>>) {
        let Some(output) = &self.output else { return };
        // An error: the encoder is gone, and what it showed was seen.
        if pictures.has_changed().unwrap_or(false)
            && let Some(jpeg) = pictures.borrow_and_update().clone()
        {
            output.show(jpeg);
        }
    }

    fn tell_health(&mut self, feed: &Feed, encoder: &Encoder) {
        let source = feed.inspector().stats();
        let transport = feed.publisher().stats();
        let progress = encoder.progress();
        let behind = self
            .output
            .as_ref()
            .map_or(Duration::ZERO, crate::output::Output::behind);
        metrics::gauge!("transcoder_storage_behind_seconds").set(behind.as_secs_f64());
        metrics::gauge!("transcoder_encode_speed").set(progress.speed);
        self.send(TranscoderEventKind::Health(HealthData {
            bitrate_bps: source.bitrate_bps,
            fps: progress.fps,
            rtt_ms: transport.rtt_ms,
            packets_lost: transport.packets_lost,
            packets_dropped: transport.packets_dropped,
            encode_speed: progress.speed,
            storage_behind_s: behind.as_secs_f64(),
            keyframe_interval_ms: source.keyframe_interval_ms,
        }));
    }
}

/// Whether somebody else writes the broadcast from now on.
fn lets_go(command: &Command) -> bool {
    matches!(
        command,
        Command::Word(Word::Superseded)
            | Command::Disconnect(DisconnectReason::Replaced)
            | Command::Abandon
    )
}

/// Resolves when a flag is set; never when it cannot be any more.
async fn turns_true(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|set| *set).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What is fed to one encoder.
struct Input {
    head: std::vec::IntoIter<Bytes>,
    /// Since when the encoder has not taken what it was given.
    writing_since: Option<Instant>,
    /// When it last took something.
    written_at: Option<Instant>,
}

/// Why nothing more can be fed.
enum StepError {
    Feed(FeedEnd),
    Encoder(EncodeError),
}

impl Input {
    /// Feeds the encoder the next piece, or gives back what else the source did. Cancel safe: what
    /// the encoder did not take yet goes first next time, so a busy encoder holds the publisher
    /// back.
    async fn step(
        &mut self,
        feed: &mut Feed,
        encoder: &mut Encoder,
    ) -> Result<Option<Fed>, StepError> {
        if self.writing_since.is_some() {
            return self.write(encoder, Bytes::new()).await;
        }
        if let Some(bytes) = self.head.next() {
            return self.write(encoder, bytes).await;
        }
        match feed.next().await.map_err(StepError::Feed)? {
            Fed::Event(SourceEvent::Media(bytes)) => self.write(encoder, bytes).await,
            other => Ok(Some(other)),
        }
    }

    async fn write(
        &mut self,
        encoder: &mut Encoder,
        bytes: Bytes,
    ) -> Result<Option<Fed>, StepError> {
        self.writing_since.get_or_insert_with(Instant::now);
        encoder.write(bytes).await.map_err(StepError::Encoder)?;
        self.writing_since = None;
        self.written_at = Some(Instant::now());
        Ok(None)
    }

    /// Whether the encoder goes on taking input long after its last output.
    fn is_unanswered(&self, last_output: Instant) -> bool {
        self.written_at
            .is_some_and(|written| written.saturating_duration_since(last_output) > STALL_LIMIT)
    }
}

/// What an event of the source means for the run.
fn note(event: &SourceEvent, plan: &EncodePlan, feed: &mut Feed) -> Option<RunEnd> {
    match event {
        SourceEvent::NewHead(reason) => {
            tracing::info!(?reason, "the source begins anew");
            return Some(RunEnd::NewHead);
        }
        SourceEvent::AudioStarted if plan.sound == Sound::Silence => feed.begin_new_head(),
        SourceEvent::VideoStarted if plan.picture == Picture::Black => feed.begin_new_head(),
        // Without pictures nothing can be cut: the next run has black ones.
        SourceEvent::VideoStopped if plan.picture == Picture::Source => feed.begin_new_head(),
        SourceEvent::ClockJump { by_ms } => tracing::info!(by_ms, "the source's clock was set"),
        SourceEvent::Hole { ms } => tracing::warn!(ms, "media of the source is missing"),
        SourceEvent::AudioStarted
        | SourceEvent::AudioStopped
        | SourceEvent::VideoStarted
        | SourceEvent::VideoStopped => tracing::info!(?event, "a track came or went"),
        SourceEvent::Media(_)
        | SourceEvent::Keyframe(_)
        | SourceEvent::HeadReady
        | SourceEvent::GopOverdue => {}
    }
    None
}

/// Why an encoder fell, with its last lines if it ended.
fn fell(error: &EncodeError, exit: Option<&EncoderExit>) -> EndData {
    exit.map_or_else(
        || EndData {
            reason: format!("ffmpeg_failed: {error}"),
            log: Vec::new(),
        },
        exit_data,
    )
}

fn exit_data(exit: &EncoderExit) -> EndData {
    let how = match (exit.signal, exit.code) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("code {code}"),
        (None, None) => "unknown".to_owned(),
    };
    EndData {
        reason: format!("ffmpeg_exited: {how}"),
        log: exit.log.clone(),
    }
}
