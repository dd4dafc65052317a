//! One publisher's connection, and the task that serves it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use marquee_hls::ts::PACKET;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::listener::{Place, Shared};
use crate::session::{SessionError, Step};
use crate::wire::{MEDIA_BYTES, Wire};
use crate::{RecvError, Refusal};

/// Pieces that may wait for [`Connection::recv`]: a frame each, or some of them, or a part of a large
/// one. When it is full, nothing more is read, and TCP holds the publisher back.
const HANDOVER: usize = 16;
/// The longest piece, in whole packets.
const PIECE_BYTES: usize = (256 << 10) / PACKET * PACKET;
/// What is read of a publisher that has not been let in, to notice that it leaves. Encoders that begin
/// to send before they may have the rest held back by TCP.
const EARLY_BYTES: usize = 64 << 10;
/// Encoders start when they are told that they may.
const FIRST_DATA: Duration = Duration::from_secs(10);

/// A publisher that asks to publish, or does. Dropping it disconnects the publisher.
pub struct Connection {
    peer: SocketAddr,
    key: String,
    media: mpsc::Receiver<Bytes>,
    verdict: watch::Sender<Verdict>,
    link: Link,
}

/// What the publisher is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    /// Nothing yet.
    #[default]
    Pending,
    Admitted,
    Refused(Refusal),
}

/// What a connection, its task and its closers share.
#[derive(Clone)]
struct Link {
    closed: CancellationToken,
    end: Arc<OnceLock<End>>,
    received: Arc<AtomicU64>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// By the publisher, or by our refusal.
    Peer,
    Closed,
    NoData(Duration),
    Deaf,
    Protocol(SessionError),
}

impl Connection {
    /// Where the publisher sends from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The key it gave. A secret: for the check, not for logs.
    pub fn stream_key(&self) -> &str {
        &self.key
    }

    /// Tells the publisher to begin. Again: nothing happens.
    pub fn admit(&self) {
        self.decide(Verdict::Admitted);
    }

    /// Tells the publisher why it may not publish, and closes. After [`Connection::admit`] it is just
    /// closed.
    pub fn refuse(self, refusal: Refusal) {
        self.decide(Verdict::Refused(refusal));
    }

    fn decide(&self, verdict: Verdict) {
        self.verdict.send_if_modified(|present| {
            let undecided = *present == Verdict::Pending;
            if undecided {
                *present = verdict;
            }
            undecided
        });
    }

    /// More of the publisher's MPEG-TS, in whole packets. `None` when it has ended and everything it
    /// sent was given out.
    ///
    /// Cancel safe: nothing is lost if the future is dropped.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        let piece = tokio::select! {
            biased;
            () = self.link.closed.cancelled() => return Err(RecvError::Closed),
            piece = self.media.recv() => piece,
        };
        match piece {
            Some(piece) => Ok(Some(piece)),
            None => match self.link.end.get() {
                Some(End::Peer) => Ok(None),
                Some(End::Closed) => Err(RecvError::Closed),
                Some(End::NoData(time)) => Err(RecvError::NoData(*time)),
                Some(End::Deaf) => Err(RecvError::Deaf),
                Some(End::Protocol(error)) => Err(RecvError::Protocol(error.clone())),
                None => Err(RecvError::Died),
            },
        }
    }

    /// Bytes that came so far, RTMP's own included.
    pub fn bytes_received(&self) -> u64 {
        self.link.received.load(Ordering::Relaxed)
    }

    /// A handle that ends this connection from anywhere.
    pub fn closer(&self) -> Closer {
        Closer(self.link.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Refused, its task has something to say before it ends by itself.
        if !matches!(*self.verdict.borrow(), Verdict::Refused(_)) {
            self.link.closed.cancel();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Ends a [`Connection`]; keeps nothing alive.
#[derive(Clone)]
pub struct Closer(Link);

impl Closer {
    /// Disconnects the publisher now. [`Connection::recv`] answers [`RecvError::Closed`] at once; what
    /// it has not given out by then is discarded. Again, or after the end: nothing happens.
    pub fn close(&self) {
        self.0.closed.cancel();
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer")
            .field("closed", &self.0.closed.is_cancelled())
            .finish()
    }
}

/// Serves a connection from its first byte to its end.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    stop: CancellationToken,
) {
    let mut wire = Wire::new(stream);
    let shared = place.shared();
    let setup = timeout(shared.config.setup_timeout, wire.until_publish());
    let request = match stop.run_until_cancelled(setup).await {
        None => return,
        Some(Err(_)) => {
            tracing::info!(%peer, "an RTMP connection did not ask to publish in time");
            return;
        }
        Some(Ok(Err(error))) => {
            tracing::info!(
                %peer,
                error = &error as &dyn std::error::Error,
                "an RTMP connection came to nothing"
            );
            wire.farewell().await;
            return;
        }
        Some(Ok(Ok(request))) => request,
    };
    drop(place);
    if let Err(refusal) = shared.admission.check(&request.key, peer) {
        tracing::info!(%peer, ?refusal, "an RTMP publisher was refused");
        wire.session.refuse(refusal);
        wire.farewell().await;
        return;
    }
    publish(wire, peer, request.key, &shared).await;
}

/// Hands the connection to whoever accepts, and serves it.
async fn publish(mut wire: Wire, peer: SocketAddr, key: String, shared: &Shared) {
    let (sender, media) = mpsc::channel(HANDOVER);
    let (verdict, told) = watch::channel(Verdict::Pending);
    let link = Link {
        closed: CancellationToken::new(),
        end: Arc::default(),
        received: Arc::default(),
    };
    let connection = Connection {
        peer,
        key,
        media,
        verdict,
        link: link.clone(),
    };
    if shared.connections.try_send(connection).is_err() {
        wire.session.refuse(Refusal::Busy);
        wire.farewell().await;
        return;
    }
    let mut publication = Publication {
        wire,
        media: sender,
        told,
        link: link.clone(),
        no_data_timeout: shared.config.no_data_timeout,
    };
    let end = publication.run().await;
    if let End::Protocol(error) = &end {
        publication.wire.session.fail(error);
    }
    let at_once = end == End::Closed;
    // Told by whoever receives: an end is logged once. Cannot be set yet.
    let _ = link.end.set(end);
    let Publication { wire, media, .. } = publication;
    drop(media);
    if !at_once {
        wire.farewell().await;
    }
}

/// A connection that asks to publish, or does.
struct Publication {
    wire: Wire,
    media: mpsc::Sender<Bytes>,
    told: watch::Receiver<Verdict>,
    link: Link,
    no_data_timeout: Duration,
}

impl Publication {
    async fn run(&mut self) -> End {
        match self.wait_for_verdict().await {
            Ok(Verdict::Admitted) => {}
            Ok(Verdict::Refused(refusal)) => {
                self.wire.session.refuse(refusal);
                return End::Peer;
            }
            // Dropped without a word.
            Ok(Verdict::Pending) => {
                self.wire.session.refuse(Refusal::Unavailable);
                return End::Peer;
            }
            Err(end) => return end,
        }
        self.wire.session.admit();
        if self.wire.flush().await.is_err() {
            return End::Deaf;
        }
        self.serve().await
    }

    /// Reads on meanwhile, to notice a publisher that leaves; but not much, and looks at nothing.
    async fn wait_for_verdict(&mut self) -> Result<Verdict, End> {
        loop {
            let decided = async {
                let told = self.told.wait_for(|verdict| *verdict != Verdict::Pending);
                told.await.map_or(Verdict::Pending, |verdict| *verdict)
            };
            let room = EARLY_BYTES.saturating_sub(self.wire.session.unread());
            let read = tokio::select! {
                verdict = decided => return Ok(verdict),
                read = self.wire.read(room), if room > 0 => read,
            };
            self.took(&read)?;
            self.wire.flush().await.map_err(|_| End::Deaf)?;
        }
    }

    async fn serve(&mut self) -> End {
        // What came before the verdict.
        if let Err(end) = self.hand_over().await {
            return end;
        }
        let mut patience = FIRST_DATA;
        loop {
            let deadline = Instant::now() + patience;
            let read = tokio::select! {
                biased;
                () = self.link.closed.cancelled() => return End::Closed,
                read = self.wire.read(MEDIA_BYTES) => read,
                () = tokio::time::sleep_until(deadline) => return End::NoData(patience),
            };
            if let Err(end) = self.took(&read) {
                return end;
            }
            patience = self.no_data_timeout;
            if let Err(end) = self.hand_over().await {
                return end;
            }
        }
    }

    fn took(&self, read: &std::io::Result<usize>) -> Result<(), End> {
        match read {
            // Reset or closed: it is gone, and may come back.
            Ok(0) | Err(_) => Err(End::Peer),
            Ok(bytes) => {
                let bytes = u64::try_from(*bytes).unwrap_or(u64::MAX);
                self.link.received.fetch_add(bytes, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Looks at what came, answers it, and hands its media over.
    async fn hand_over(&mut self) -> Result<(), End> {
        loop {
            let stepped = self.wire.session.step();
            // What came before the end, or the error, counts.
            let media = self.wire.session.take_media();
            self.give(media).await?;
            match stepped {
                Ok(Step::Media) => {}
                // A second publish is an error of the session's own.
                Ok(Step::More | Step::Publish(_)) => break,
                Ok(Step::Ended) => return Err(End::Peer),
                Err(error) => return Err(End::Protocol(error)),
            }
        }
        self.wire.flush().await.map_err(|_| End::Deaf)
    }

    /// Gives media to whoever receives, waiting while it lags.
    async fn give(&mut self, mut media: Bytes) -> Result<(), End> {
        while !media.is_empty() {
            let piece = media.split_to(media.len().min(PIECE_BYTES));
            tokio::select! {
                biased;
                () = self.link.closed.cancelled() => return Err(End::Closed),
                sent = self.media.send(piece) => if sent.is_err() { return Err(End::Closed) },
            }
        }
        Ok(())
    }
}
