//! One publisher's connection, as whoever accepts it has it. [`crate::publication`] serves it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::session::SessionError;
use crate::{RecvError, Refusal};

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
pub(crate) enum Verdict {
    /// Nothing yet.
    #[default]
    Pending,
    Admitted,
    Refused(Refusal),
}

/// What a connection, its task and its closers share.
#[derive(Clone, Default)]
pub(crate) struct Link {
    pub(crate) closed: CancellationToken,
    /// What the publisher is told when it is closed from this side.
    pub(crate) words: Arc<OnceLock<Refusal>>,
    pub(crate) end: Arc<OnceLock<End>>,
    pub(crate) received: Arc<AtomicU64>,
    pub(crate) dropped: Arc<AtomicU64>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// By the publisher, or by our refusal.
    Peer,
    Closed,
    NoData(Duration),
    Deaf,
    Protocol(SessionError),
}

impl Connection {
    /// A connection, and what its task needs of it.
    pub(crate) fn new(
        peer: SocketAddr,
        key: String,
        media: mpsc::Receiver<Bytes>,
    ) -> (Self, Link, watch::Receiver<Verdict>) {
        let (verdict, told) = watch::channel(Verdict::Pending);
        let link = Link::default();
        let connection = Self {
            peer,
            key,
            media,
            verdict,
            link: link.clone(),
        };
        (connection, link, told)
    }

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

    /// Messages that could not be used and were done without.
    pub fn messages_dropped(&self) -> u64 {
        self.link.dropped.load(Ordering::Relaxed)
    }

    /// A handle that ends this connection from anywhere.
    pub fn closer(&self) -> Closer {
        Closer(self.link.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match *self.verdict.borrow() {
            // Its task has something to say before it ends by itself.
            Verdict::Refused(_) => {}
            Verdict::Pending => self.link.close(Some(Refusal::Unavailable)),
            Verdict::Admitted => self.link.close(None),
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
    /// Disconnects the publisher now, or 200 ms later if it is to be told why. [`Connection::recv`]
    /// answers [`RecvError::Closed`] at once; what it has not given out by then is discarded. Again, or
    /// after the end: nothing happens.
    pub fn close(&self, why: Option<Refusal>) {
        self.0.close(why);
    }
}

impl Link {
    fn close(&self, why: Option<Refusal>) {
        if self.closed.is_cancelled() {
            return;
        }
        if let Some(why) = why {
            // The first word counts.
            let _ = self.words.set(why);
        }
        self.closed.cancel();
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer")
            .field("closed", &self.0.closed.is_cancelled())
            .finish()
    }
}
