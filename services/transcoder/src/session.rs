//! One admitted stream, from its first publisher to the end of its broadcast in this process.
//!
//! ```text
//!            ┌────────── Attach (return, takeover) ──────────┐
//!            ▼                                               │
//!   serving a publisher ── left, unusable ──▶ waiting (grace) ── grace over ──▶ asking the authority
//!            │                                               │                        │
//!            └────── Ended · Disconnect · Superseded · Drain ┴────────────────────────┘
//!                                     ▼
//!              concluding: ENDLIST  |  letting go  |  draining
//! ```

mod cutter;
mod feed;
mod run;
mod serve;

use std::{fmt, sync::Arc, time::Duration};

use marquee_common::contract::ingest::{
    Authorized, DisconnectReason, EndData, FinalizeRequest, LiveData, TranscoderEventKind,
};
use marquee_hls::PartTarget;
use marquee_rtmp::Refusal;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{
    authority::Authority,
    events::{Events, Word},
    finalize::finalize,
    ingest::Publisher,
    ladder::Ladder,
    lease::{Lease, PauseWatch},
    output::{BroadcastNumbers, Output, OutputContext},
    registry::{Command, Numbers},
};

/// A broadcast whose transcoder did not hear from the authority for so long is let go; another one
/// ends it.
const ASKING_LIMIT: Duration = Duration::from_mins(10);
/// How long the end of a broadcast may take (storage may be away).
const END_LIMIT: Duration = Duration::from_mins(10);
/// How long a superseded session goes on storing what it had cut.
const LET_GO_LIMIT: Duration = Duration::from_secs(20);
/// How long the last event may take.
const LAST_EVENT_LIMIT: Duration = Duration::from_secs(10);
/// Numbers that a predecessor may have announced above the last it reported.
const TAKEOVER_MARGIN: u64 = 8;

/// What all sessions share.
pub struct SessionContext {
    /// The stream service.
    pub authority: Authority,
    /// Storage.
    pub output: OutputContext,
    /// Notices that the process stood still.
    pub pause: PauseWatch,
    /// How long a publisher may be away.
    pub grace: Duration,
    /// A source above this is not passed through, in kbit/s.
    pub max_passthrough_kbps: u32,
    /// How long a drain may take to store what was received.
    pub drain_limit: Duration,
    /// Owns the tasks that deliver events.
    pub tasks: TaskTracker,
}

impl fmt::Debug for SessionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionContext")
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// One admitted stream.
pub struct Session {
    context: Arc<SessionContext>,
    authorized: Authorized,
    lease: Lease,
    commands: mpsc::Receiver<Command>,
    words: mpsc::Receiver<Word>,
    events: Events,
    numbers: watch::Sender<Numbers>,
    /// Fixed by the broadcast's first source, here or on another transcoder.
    ladder: Option<Ladder>,
    output: Option<Output>,
    /// Fixed with the output.
    part_target: PartTarget,
    /// What the present source is, for the `live` event.
    live: Option<LiveData>,
    /// The epoch under which the stream service was last told that the broadcast can be played: it
    /// drops what was told under an older one.
    told_live: Option<u64>,
}

/// Why a publisher is no longer served.
enum Served {
    /// It left; it may come back. The reason is for the operator.
    Left(EndData),
    /// It is sent away and told why; it may come back.
    SentAway(EndData, Refusal),
    /// The session was told something meanwhile.
    Told(Command),
}

/// How a session ends.
enum Conclusion {
    /// The broadcast is over: ENDLIST.
    End,
    /// Somebody else writes it now.
    LetGo,
    /// The process ends; the broadcast goes on elsewhere.
    Drain,
}

impl Session {
    /// A session for an admission just granted.
    pub fn new(
        context: Arc<SessionContext>,
        authorized: Authorized,
        lease: Lease,
        commands: mpsc::Receiver<Command>,
        numbers: watch::Sender<Numbers>,
    ) -> Self {
        let (tell, words) = mpsc::channel(4);
        let (events, delivery) = Events::new(
            context.authority.clone(),
            authorized.stream_id,
            authorized.broadcast_id,
            tell,
        );
        context.tasks.spawn(delivery);
        Self {
            ladder: authorized
                .ladder
                .as_ref()
                .and_then(|ladder| Ladder::from_names(&ladder.rungs, ladder.audio).ok()),
            context,
            authorized,
            lease,
            commands,
            words,
            events,
            numbers,
            output: None,
            part_target: PartTarget::default(),
            live: None,
            told_live: None,
        }
    }

    /// Serves publishers until the broadcast ends here.
    #[tracing::instrument(skip_all, fields(
        stream_id = %self.authorized.stream_id,
        broadcast_id = %self.authorized.broadcast_id,
    ))]
    pub async fn run(mut self, first: Publisher) {
        tracing::info!(
            epoch = self.lease.epoch(),
            resumed = self.authorized.resumed,
            "a publisher came"
        );
        let mut publisher = Some(first);
        let conclusion = loop {
            let told = match publisher.take() {
                Some(publisher) => match self.serve(publisher).await {
                    Served::Told(command) => command,
                    Served::Left(reason) | Served::SentAway(reason, _) => {
                        tracing::info!(
                            reason = reason.reason,
                            "the publisher is gone; the grace runs"
                        );
                        self.told_live = None;
                        self.send(TranscoderEventKind::Interrupted(reason));
                        self.wait_for_publisher().await
                    }
                },
                None => self.wait_for_publisher().await,
            };
            match told {
                Command::Attach(newer) => {
                    tracing::info!(
                        epoch = self.lease.epoch(),
                        "a publisher goes on with the broadcast"
                    );
                    publisher = Some(newer);
                }
                Command::Word(Word::Ended)
                | Command::Disconnect(
                    DisconnectReason::Stopped
                    | DisconnectReason::Deleted
                    | DisconnectReason::KeyRotated,
                ) => break Conclusion::End,
                Command::Word(Word::Superseded)
                | Command::Disconnect(DisconnectReason::Replaced)
                | Command::Abandon => break Conclusion::LetGo,
                Command::Drain => break Conclusion::Drain,
            }
        };
        self.conclude(conclusion).await;
    }

    /// Waits for a command: first for the grace, then, with the authority asked to end the
    /// broadcast, for its word.
    async fn wait_for_publisher(&mut self) -> Command {
        if let Ok(command) = tokio::time::timeout(self.context.grace, self.next_command()).await {
            return command;
        }
        tracing::info!("the grace is over");
        self.send(TranscoderEventKind::Ended(EndData {
            reason: "grace_over".into(),
            log: Vec::new(),
        }));
        // Past the grace a publisher comes back under a new epoch or not at all.
        let asked_under = self.lease.epoch();
        let deadline = Instant::now() + ASKING_LIMIT;
        loop {
            match tokio::time::timeout_at(deadline, self.next_command()).await {
                Ok(Command::Attach(_)) if self.lease.epoch() == asked_under => {}
                Ok(command) => return command,
                Err(_) => return Command::Abandon,
            }
        }
    }

    /// The next command or word.
    async fn next_command(&mut self) -> Command {
        tokio::select! {
            // The registry holds a sender as long as the session runs, and so do the events.
            Some(command) = self.commands.recv() => command,
            Some(word) = self.words.recv() => Command::Word(word),
            () = self.lease.superseded() => Command::Word(Word::Superseded),
            else => Command::Abandon,
        }
    }

    async fn conclude(mut self, conclusion: Conclusion) {
        match conclusion {
            Conclusion::End => self.end().await,
            Conclusion::LetGo => {
                tracing::info!("another transcoder, or another broadcast, takes over");
                self.lease.supersede();
                if let Some(output) = self.output.take() {
                    output.give_way();
                    let stored = output.flush_segments(LET_GO_LIMIT);
                    until_abandoned(&mut self.commands, stored).await;
                    output.stop().await;
                }
            }
            Conclusion::Drain => {
                self.send(TranscoderEventKind::Interrupted(EndData {
                    reason: "draining".into(),
                    log: Vec::new(),
                }));
                if let Some(output) = self.output.take() {
                    if !output.flush(self.context.drain_limit).await {
                        tracing::error!("storage did not take all segments before the shutdown");
                    }
                    output.stop().await;
                }
                self.events.flush(LAST_EVENT_LIMIT).await;
            }
        }
    }

    async fn end(&mut self) {
        let Some(output) = self.output.take() else {
            self.end_unopened().await;
            return;
        };
        let written = until_abandoned(&mut self.commands, output.end(END_LIMIT)).await;
        output.stop().await;
        match written {
            Some(Ok(true)) => {
                tracing::info!("the broadcast ended");
                self.confirm_end("endlist_written").await;
            }
            Some(Ok(false)) => tracing::error!("storage did not keep the ended playlists"),
            Some(Err(_)) | None => tracing::info!("somebody else writes this stream now"),
        }
    }

    /// Ends a broadcast of which this process wrote nothing: another one may have.
    async fn end_unopened(&mut self) {
        if !self.authorized.resumed {
            self.confirm_end("nothing_published").await;
            return;
        }
        let request = FinalizeRequest {
            broadcast_id: self.authorized.broadcast_id,
            discontinuity_seq_first: self.authorized.discontinuity_seq_first,
            ladder: self.authorized.ladder.clone(),
        };
        let stream_id = self.authorized.stream_id;
        let written = finalize(&self.context.output, stream_id, &request);
        match until_abandoned(&mut self.commands, written).await {
            Some(Ok(())) => self.confirm_end("endlist_written").await,
            // The stream service asks another transcoder.
            Some(Err(error)) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "a broadcast taken over was not ended"
            ),
            None => tracing::info!("somebody else writes this stream now"),
        }
    }

    async fn confirm_end(&mut self, reason: &str) {
        self.send(TranscoderEventKind::Ended(EndData {
            reason: reason.into(),
            log: Vec::new(),
        }));
        self.events.flush(LAST_EVENT_LIMIT).await;
    }

    fn send(&mut self, kind: TranscoderEventKind) {
        self.events.send(self.lease.epoch(), kind);
    }

    /// Where this process's numbers begin.
    fn first_numbers(&self) -> BroadcastNumbers {
        let margin = if self.authorized.resumed {
            TAKEOVER_MARGIN
        } else {
            0
        };
        BroadcastNumbers {
            stream_id: self.authorized.stream_id,
            broadcast: self.authorized.broadcast_id.0.into(),
            next_msn: self.authorized.next_msn + margin,
            discontinuity_seq_first: self.authorized.discontinuity_seq_first,
            resumed: self.authorized.resumed,
        }
    }
}

/// Does `work` unless the session is told to make room, or the process ends; `None` then.
async fn until_abandoned<T>(
    commands: &mut mpsc::Receiver<Command>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let abandoned = async {
        loop {
            match commands.recv().await {
                Some(Command::Abandon | Command::Drain) | None => return,
                // A publisher that comes now is closed with the command; it will try again.
                Some(_) => {}
            }
        }
    };
    tokio::select! {
        done = work => Some(done),
        () = abandoned => None,
    }
}

/// A point in time on the wall clock, for the dates of segments.
fn unix_ms_at(instant: Instant) -> i64 {
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let ago = i128::try_from(instant.elapsed().as_millis()).unwrap_or(0);
    i64::try_from(now - ago).unwrap_or(i64::MAX)
}
