//! The listening socket and the task that accepts.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Connection;
use crate::places::Places;
use crate::publication;
use crate::{Admission, ListenerConfig, RtmpError};

/// How long accepting rests after the system refused (it is out of descriptors, as a rule).
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Listens for publishers. Dropping it closes the port; connections that were accepted go on.
pub struct Listener {
    connections: mpsc::Receiver<Connection>,
    local_addr: SocketAddr,
    stop: CancellationToken,
    accepting: TaskTracker,
}

/// What connections that are being set up share.
pub(crate) struct Shared {
    pub(crate) config: ListenerConfig,
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) connections: mpsc::Sender<Connection>,
    places: Arc<Places>,
}

impl Listener {
    /// Opens the port and starts accepting.
    pub async fn bind(
        config: ListenerConfig,
        admission: Arc<dyn Admission>,
    ) -> Result<Self, RtmpError> {
        let address = config.bind;
        let bound = |source| RtmpError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(bound)?;
        let local_addr = socket.local_addr().map_err(bound)?;
        let (sender, connections) = mpsc::channel(config.max_pending.max(1));
        let places = Places::new(config.max_setups, config.max_setups_per_network);
        let shared = Arc::new(Shared {
            config,
            admission,
            connections: sender,
            places: Arc::new(places),
        });
        let stop = CancellationToken::new();
        let accepting = TaskTracker::new();
        accepting.spawn(accept(socket, shared, stop.clone()));
        accepting.close();
        Ok(Self {
            connections,
            local_addr,
            stop,
            accepting,
        })
    }

    /// The next publisher that asks to publish and that the admission did not refuse. It waits to be
    /// told [`Connection::admit`] or [`Connection::refuse`]. An error is final.
    ///
    /// Cancel safe.
    pub async fn accept(&mut self) -> Result<Connection, RtmpError> {
        self.connections.recv().await.ok_or(RtmpError::Died)
    }

    /// Where it listens, with the port that was chosen if it was asked for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Closes the port, and whatever has not been accepted.
    pub async fn close(mut self) {
        self.stop.cancel();
        self.connections.close();
        while self.connections.recv().await.is_some() {}
        self.accepting.wait().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

async fn accept(socket: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                open(stream, peer, &shared, &stop);
            }
            Err(error) => {
                tracing::warn!(%error, "an RTMP connection cannot be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Begins to serve a connection, unless there is no place for it. Whoever is turned away here is not
/// worth a line in the log: there may be thousands.
fn open(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, stop: &CancellationToken) {
    if let Err(refusal) = shared.admission.knock(peer) {
        tracing::debug!(%peer, ?refusal, "an RTMP connection was closed at once");
        return;
    }
    let Some(place) = shared.places.take(peer.ip()) else {
        tracing::debug!(%peer, "too many RTMP connections are being set up");
        return;
    };
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    // Owned by itself: it ends by its deadlines, by its `Connection`, or by `stop` until it has one.
    let (shared, stop) = (shared.clone(), stop.clone());
    tokio::spawn(publication::serve(stream, peer, place, shared, stop));
}
