//! The task that serves a connection: up to its wish to publish, to the verdict, and then what it
//! publishes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use marquee_hls::ts::PACKET;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::Refusal;
use crate::connection::{Connection, End, Link, Verdict};
use crate::listener::Shared;
use crate::places::Place;
use crate::session::{Headway, Step};
use crate::wire::{FAREWELL, MEDIA_BYTES, SHORT_FAREWELL, Wire};

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
/// Between two log lines of messages that are done without.
const DROPPED_LOG: Duration = Duration::from_secs(30);

/// Serves a connection from its first byte to its end.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let mut wire = Wire::new(stream);
    let setup = wire.until_publish(shared.config.handshake_timeout);
    let setup = place.unless_wanted_back(timeout(shared.config.setup_timeout, setup));
    let request = match stop.run_until_cancelled(setup).await {
        None => return,
        Some(None) => {
            tracing::debug!(%peer, "an RTMP connection gave way to a newer one");
            return;
        }
        Some(Some(Err(_))) => {
            tracing::info!(%peer, "an RTMP connection did not ask to publish in time");
            return;
        }
        Some(Some(Ok(Err(error)))) => {
            tracing::info!(
                %peer,
                error = &error as &dyn std::error::Error,
                "an RTMP connection came to nothing"
            );
            wire.farewell(FAREWELL).await;
            return;
        }
        Some(Some(Ok(Ok(request)))) => request,
    };
    drop(place);
    if let Err(refusal) = shared.admission.check(&request.key, peer) {
        tracing::info!(%peer, ?refusal, "an RTMP publisher was refused");
        wire.session.refuse(refusal);
        wire.farewell(FAREWELL).await;
        return;
    }
    publish(wire, peer, request.key, &shared).await;
}

/// Hands the connection to whoever accepts, and serves it.
async fn publish(mut wire: Wire, peer: SocketAddr, key: String, shared: &Shared) {
    let (sender, media) = mpsc::channel(HANDOVER);
    let (connection, link, told) = Connection::new(peer, key, media);
    if shared.connections.try_send(connection).is_err() {
        wire.session.refuse(Refusal::Busy);
        wire.farewell(FAREWELL).await;
        return;
    }
    let mut publication = Publication {
        wire,
        media: sender,
        told,
        link: link.clone(),
        peer,
        no_data_timeout: shared.config.no_data_timeout,
        furthest: Headway::default(),
        dropped_logged: None,
    };
    let end = publication.run().await;
    if let End::Protocol(error) = &end {
        publication.wire.session.fail(error);
    }
    let was_closed = end == End::Closed;
    // Told by whoever receives: an end is logged once. Cannot be set yet.
    let _ = link.end.set(end);
    let Publication {
        mut wire, media, ..
    } = publication;
    drop(media);
    if !was_closed {
        wire.farewell(FAREWELL).await;
    } else if let Some(why) = link.words.get() {
        wire.session.refuse(*why);
        wire.farewell(SHORT_FAREWELL).await;
    }
}

/// A connection that asks to publish, or does.
struct Publication {
    wire: Wire,
    media: mpsc::Sender<Bytes>,
    told: watch::Receiver<Verdict>,
    link: Link,
    peer: SocketAddr,
    no_data_timeout: Duration,
    furthest: Headway,
    dropped_logged: Option<Instant>,
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
            Ok(Verdict::Pending) => return End::Closed,
            Err(end) => return end,
        }
        self.wire.session.admit();
        let Err(end) = self.serve().await;
        end
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
                biased;
                verdict = decided => return Ok(verdict),
                () = self.link.closed.cancelled() => return Err(End::Closed),
                read = self.wire.read(room), if room > 0 => read,
            };
            self.took(&read)?;
            self.flush().await?;
        }
    }

    async fn serve(&mut self) -> Result<Infallible, End> {
        let mut patience = FIRST_DATA;
        let mut deadline = Instant::now() + patience;
        loop {
            // The first time, what came before the verdict.
            self.hand_over().await?;
            if self.came_further() {
                patience = self.no_data_timeout;
                // From now: whoever receives may have held it up.
                deadline = Instant::now() + patience;
            } else if Instant::now() >= deadline {
                // Bytes that are no media do not keep it alive, however many come.
                return Err(End::NoData(patience));
            }
            let read = tokio::select! {
                biased;
                () = self.link.closed.cancelled() => return Err(End::Closed),
                read = self.wire.read(MEDIA_BYTES) => read,
                () = tokio::time::sleep_until(deadline) => return Err(End::NoData(patience)),
            };
            self.took(&read)?;
        }
    }

    /// Whether more sound or picture is there than when this was asked last.
    fn came_further(&mut self) -> bool {
        let headway = self.wire.session.headway();
        let further = headway > self.furthest;
        if further {
            self.furthest = headway;
        }
        further
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
            self.tell_dropped();
            self.give(media).await?;
            match stepped {
                Ok(Step::Media) => {}
                // A second publish is an error of the session's own.
                Ok(Step::More | Step::Publish(_)) => break,
                Ok(Step::Ended) => return Err(End::Peer),
                Err(error) => return Err(End::Protocol(error)),
            }
        }
        self.flush().await
    }

    /// Says what is done without, now and then.
    fn tell_dropped(&mut self) {
        let dropped = self.wire.session.dropped();
        if dropped.count == self.link.dropped.swap(dropped.count, Ordering::Relaxed) {
            return;
        }
        let is_due = self
            .dropped_logged
            .is_none_or(|at| at.elapsed() >= DROPPED_LOG);
        if let Some(error) = dropped.last.as_ref().filter(|_| is_due) {
            tracing::warn!(
                peer = %self.peer,
                dropped = dropped.count,
                error = error as &dyn std::error::Error,
                "what a publisher sends by RTMP cannot all be used"
            );
            self.dropped_logged = Some(Instant::now());
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.link.closed.cancelled() => Err(End::Closed),
            flushed = self.wire.flush() => flushed.map_err(|_| End::Deaf),
        }
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
