//! All sessions of this process: one an admitted stream, from its first publisher to the end of
//! its broadcast here.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use marquee_common::contract::{
    BroadcastId, StreamId,
    ingest::{Authorized, BroadcastState, DisconnectReason, RenewBroadcast, RenewedBroadcast},
};
use marquee_rtmp::Refusal;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{KeyHash, SlotGuard},
    events::Word,
    ingest::{Closer, Publisher, words_for},
    lease::Lease,
    session::{Session, SessionContext},
};

/// Commands that may wait for a session.
const COMMANDS: usize = 16;
/// Longest wait for a session to take a command, and for an older broadcast's session to go.
const HAND_OVER: Duration = Duration::from_secs(5);

/// What a session is told.
#[derive(Debug)]
pub enum Command {
    /// A newer authenticated publisher: it takes over at once.
    Attach(Publisher),
    /// The authority's word.
    Word(Word),
    /// The stream service sends the publisher away.
    Disconnect(DisconnectReason),
    /// A new broadcast of the stream begins here: let go without a word.
    Abandon,
    /// The process ends: store what was received, send the publisher elsewhere.
    Drain,
}

/// The numbers a session reports at each renewal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Lowest media sequence number not taken.
    pub next_msn: u64,
    /// Discontinuity number of the newest segment.
    pub discontinuity_seq: u64,
}

/// A session as others see it.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    /// The stream.
    pub stream_id: StreamId,
    /// The broadcast.
    pub broadcast_id: BroadcastId,
    key: KeyHash,
    commands: mpsc::Sender<Command>,
    lease: Lease,
    numbers: watch::Receiver<Numbers>,
    /// Cancelled when the session has left the table.
    left: CancellationToken,
    /// Closes the newest publisher.
    publisher: Arc<Mutex<Closer>>,
}

/// A place in the table, and what its session is made of.
struct Seat {
    handle: SessionHandle,
    inbox: mpsc::Receiver<Command>,
    numbers: watch::Sender<Numbers>,
    slot: SlotGuard,
}

enum Claim {
    Held(SessionHandle),
    Fresh(Box<Seat>),
}

/// A publisher cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The process ends.
    #[error("this transcoder is draining")]
    Draining,
    /// A newer publisher of the stream was admitted meanwhile.
    #[error("a newer publisher of the stream came meanwhile")]
    Replaced,
    /// The session of the stream does not answer.
    #[error("the stream's session is stuck")]
    Stuck,
}

/// All sessions.
#[derive(Debug)]
pub struct Registry {
    context: Arc<SessionContext>,
    draining: AtomicBool,
    sessions: Mutex<HashMap<StreamId, SessionHandle>>,
    tasks: TaskTracker,
}

impl Registry {
    /// No sessions yet.
    pub fn new(context: Arc<SessionContext>) -> Arc<Self> {
        Arc::new(Self {
            context,
            draining: AtomicBool::new(false),
            sessions: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Gives an admitted publisher to its broadcast's session, which is started when there is none.
    pub async fn attach(
        self: &Arc<Self>,
        key: KeyHash,
        slot: SlotGuard,
        authorized: Authorized,
        asked_at: Instant,
        publisher: Publisher,
    ) -> Result<(), AttachError> {
        let mut slot = Some(slot);
        loop {
            let held = match self.claim(key, &mut slot, &authorized, asked_at, &publisher)? {
                Claim::Held(held) => held,
                Claim::Fresh(seat) => {
                    self.start(*seat, authorized, publisher);
                    return Ok(());
                }
            };
            // Epochs rise over all broadcasts of a stream.
            if authorized.epoch < held.lease.epoch() {
                return Err(AttachError::Replaced);
            }
            let same = held.broadcast_id == authorized.broadcast_id;
            // Had another transcoder held it meanwhile, it would have reported other numbers.
            let unbroken = authorized.next_msn <= held.numbers.borrow().next_msn;
            if same && unbroken && !held.lease.is_superseded() {
                held.lease.regranted(authorized.epoch, asked_at);
                return held.attach(publisher).await;
            }
            // Two sessions of a stream share its playlists' names: the older lets go first.
            held.tell(Command::Abandon).await?;
            held.gone().await?;
        }
    }

    /// The session that holds the stream, or else its place in the table, taken.
    fn claim(
        &self,
        key: KeyHash,
        slot: &mut Option<SlotGuard>,
        authorized: &Authorized,
        asked_at: Instant,
        publisher: &Publisher,
    ) -> Result<Claim, AttachError> {
        let mut sessions = self.sessions();
        // Looked at under the lock: a drain either finds the session or is seen here.
        if self.draining.load(Ordering::Relaxed) {
            return Err(AttachError::Draining);
        }
        if let Some(held) = sessions.get(&authorized.stream_id) {
            return Ok(Claim::Held(held.clone()));
        }
        let slot = slot.take().ok_or(AttachError::Stuck)?;
        let lease = Lease::granted(authorized.epoch, asked_at, self.context.pause.clone());
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (numbers, reported) = watch::channel(Numbers {
            next_msn: authorized.next_msn,
            discontinuity_seq: authorized.discontinuity_seq,
        });
        let handle = SessionHandle {
            stream_id: authorized.stream_id,
            broadcast_id: authorized.broadcast_id,
            key,
            commands,
            lease,
            numbers: reported,
            left: CancellationToken::new(),
            publisher: Arc::new(Mutex::new(publisher.closer())),
        };
        sessions.insert(handle.stream_id, handle.clone());
        Ok(Claim::Fresh(Box::new(Seat {
            handle,
            inbox,
            numbers,
            slot,
        })))
    }

    fn start(self: &Arc<Self>, seat: Seat, authorized: Authorized, publisher: Publisher) {
        let Seat {
            handle,
            inbox,
            numbers,
            slot,
        } = seat;
        let session = Session::new(
            self.context.clone(),
            authorized,
            handle.lease.clone(),
            inbox,
            numbers,
        );
        let registry = self.clone();
        self.tasks.spawn(async move {
            // A session that panics must leave the table too; the panic is reported here, once.
            if let Err(error) = tokio::spawn(session.run(publisher)).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    stream_id = %handle.stream_id,
                    "a session died"
                );
            }
            registry.remove(&handle);
            drop(slot);
        });
    }

    /// Gives back a publisher whose key this process holds, while the stream service is away.
    pub async fn reattach(&self, key: KeyHash, publisher: Publisher) -> bool {
        let held = self
            .sessions()
            .values()
            .find(|session| session.key == key)
            .cloned();
        match held {
            Some(session) => session.attach(publisher).await.is_ok(),
            None => false,
        }
    }

    /// Sends the publisher of a stream away; `false` when it is not held here under `epoch` or an
    /// older one. Returns when the publisher is gone.
    pub async fn disconnect(
        &self,
        stream_id: StreamId,
        epoch: u64,
        reason: DisconnectReason,
    ) -> bool {
        match self.find(stream_id) {
            Some(session) if session.lease.epoch() <= epoch => {
                // At once; the session may be busy ending its encoder.
                if reason == DisconnectReason::Replaced {
                    session.lease.supersede();
                }
                session.close_publisher(words_for(reason));
                session.tell(Command::Disconnect(reason)).await.is_ok()
            }
            _ => false,
        }
    }

    /// Passes on the answer to a renewal that was asked for at `asked_at`.
    pub fn renewed(&self, renewed: RenewedBroadcast, asked_at: Instant) {
        let session = self
            .sessions()
            .values()
            .find(|session| session.broadcast_id == renewed.broadcast_id)
            .cloned();
        let Some(session) = session else { return };
        let word =
            if renewed.state == BroadcastState::Ended && renewed.epoch <= session.lease.epoch() {
                session.lease.renewed(asked_at);
                Some(Word::Ended)
            } else if renewed.epoch <= session.lease.epoch() {
                session.lease.renewed(asked_at);
                None
            } else if renewed.granted_to_you {
                session.lease.regranted(renewed.epoch, asked_at);
                None
            } else {
                // Before anything else: not one more playlist, even if the session is slow to hear.
                session.lease.supersede();
                Some(Word::Superseded)
            };
        if let Some(word) = word {
            // A full inbox loses nothing: the next renewal repeats that it ended, and the session
            // watches its lease for being superseded.
            let _ = session.commands.try_send(Command::Word(word));
        }
    }

    /// What is held here, for the renewal.
    pub fn holdings(&self) -> Vec<RenewBroadcast> {
        self.sessions()
            .values()
            .filter(|session| !session.lease.is_superseded())
            .map(|session| {
                let numbers = *session.numbers.borrow();
                RenewBroadcast {
                    broadcast_id: session.broadcast_id,
                    epoch: session.lease.epoch(),
                    next_msn: numbers.next_msn,
                    discontinuity_seq: numbers.discontinuity_seq,
                }
            })
            .collect()
    }

    /// Whether a broadcast is held here.
    pub fn holds(&self, broadcast_id: BroadcastId) -> bool {
        self.sessions()
            .values()
            .any(|session| session.broadcast_id == broadcast_id)
    }

    /// Drains all sessions, at most for `limit`.
    pub async fn drain(&self, limit: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        let sessions: Vec<_> = self.sessions().values().cloned().collect();
        for session in sessions {
            if session.tell(Command::Drain).await.is_err() {
                tracing::warn!(stream_id = %session.stream_id, "a session does not drain");
            }
        }
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!("sessions did not drain in time");
        }
    }

    fn find(&self, stream_id: StreamId) -> Option<SessionHandle> {
        self.sessions().get(&stream_id).cloned()
    }

    fn remove(&self, handle: &SessionHandle) {
        let mut sessions = self.sessions();
        if sessions
            .get(&handle.stream_id)
            .is_some_and(|present| present.broadcast_id == handle.broadcast_id)
        {
            sessions.remove(&handle.stream_id);
        }
        handle.left.cancel();
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<StreamId, SessionHandle>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "a handful of sessions")]
        metrics::gauge!("transcoder_sessions").set(sessions.len() as f64);
        sessions
    }
}

impl SessionHandle {
    async fn attach(&self, publisher: Publisher) -> Result<(), AttachError> {
        let closer = publisher.closer();
        self.tell(Command::Attach(publisher)).await?;
        *self
            .publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = closer;
        Ok(())
    }

    fn close_publisher(&self, why: Refusal) {
        let publisher = self.publisher.lock();
        let publisher = publisher.unwrap_or_else(PoisonError::into_inner);
        publisher.close(Some(why));
    }

    async fn tell(&self, command: Command) -> Result<(), AttachError> {
        self.commands
            .send_timeout(command, HAND_OVER)
            .await
            .map_err(|_| AttachError::Stuck)
    }

    /// Waits until the session is gone, from the table too.
    async fn gone(&self) -> Result<(), AttachError> {
        tokio::time::timeout(HAND_OVER, self.left.clone().cancelled_owned())
            .await
            .map_err(|_| AttachError::Stuck)
    }
}
