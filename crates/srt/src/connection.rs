//! One publisher's connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::sys::Socket;
use crate::{RecvError, Stats, reader};

/// A publisher that was let in. Dropping it disconnects the publisher.
pub struct Connection {
    peer: SocketAddr,
    stream_id: String,
    packets: mpsc::Receiver<Bytes>,
    link: Link,
}

/// How a connection's thread ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The publisher left, and its last packet was given out.
    Peer,
    /// Nothing came for so long.
    NoData(Duration),
    /// Closed on this side.
    Closed,
}

/// What a connection, its thread and its closers share. The socket itself belongs to the thread: a
/// socket may be the last one, which shuts libsrt down, and that must not block an async task.
#[derive(Clone)]
pub(crate) struct Link {
    pub socket: Weak<Socket>,
    pub closed: CancellationToken,
    pub end: Arc<OnceLock<End>>,
    pub stats: Arc<Mutex<Stats>>,
    pub latency: Duration,
}

impl Link {
    /// libsrt's counters now; those last read once it has none.
    pub fn stats(&self) -> Stats {
        let fresh = self
            .socket
            .upgrade()
            .and_then(|socket| socket.counters().ok());
        let mut kept = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = fresh {
            let latency_ms = u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX);
            *kept = Stats::new(&counters, latency_ms);
        }
        *kept
    }

    fn close(&self) {
        self.closed.cancel();
        if let Some(socket) = self.socket.upgrade() {
            socket.close();
        }
    }
}

impl Connection {
    /// Starts the thread that reads `socket`.
    pub(crate) fn start(
        socket: Socket,
        peer: SocketAddr,
        stream_id: String,
        latency: Duration,
        no_data_timeout: Duration,
    ) -> std::io::Result<Self> {
        let socket = Arc::new(socket);
        let (sender, packets) = mpsc::channel(reader::HANDOVER_PACKETS);
        let link = Link {
            socket: Arc::downgrade(&socket),
            closed: CancellationToken::new(),
            end: Arc::default(),
            stats: Arc::default(),
            latency,
        };
        reader::spawn(socket, sender, link.clone(), no_data_timeout)?;
        Ok(Self {
            peer,
            stream_id,
            packets,
            link,
        })
    }

    /// Where the publisher sends from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What it sent as its stream id. Contains its key: for [`crate::parse_stream_id`], not for logs.
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// The payload of the next packet (1316 bytes of MPEG-TS as a rule, 1456 at most), in the order
    /// sent. `None` when the publisher has ended and everything it sent was given out.
    ///
    /// Cancel safe: nothing is lost if the future is dropped.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        let packet = tokio::select! {
            biased;
            () = self.link.closed.cancelled() => return Err(RecvError::Closed),
            packet = self.packets.recv() => packet,
        };
        match packet {
            Some(packet) => Ok(Some(packet)),
            None => match self.link.end.get() {
                Some(End::Peer) => Ok(None),
                Some(End::NoData(time)) => Err(RecvError::NoData(*time)),
                Some(End::Closed) => Err(RecvError::Closed),
                None => Err(RecvError::Died),
            },
        }
    }

    /// How the connection does now.
    pub fn stats(&self) -> Stats {
        self.link.stats()
    }

    /// A handle that ends this connection from anywhere.
    pub fn closer(&self) -> Closer {
        Closer(self.link.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.close();
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
        self.0.close();
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer")
            .field("closed", &self.0.closed.is_cancelled())
            .finish()
    }
}
