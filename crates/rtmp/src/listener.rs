//! The listening socket and the task that accepts.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{self, Connection};
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
    setups: Mutex<Setups>,
}

#[derive(Default)]
struct Setups {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One of the places for connections that have not asked to publish yet.
pub(crate) struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
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
        let shared = Arc::new(Shared {
            config,
            admission,
            connections: sender,
            setups: Mutex::default(),
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
    let Some(place) = shared.place(peer.ip()) else {
        tracing::debug!(%peer, "too many RTMP connections are being set up");
        return;
    };
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    // Owned by itself: it ends by its deadlines, by its `Connection`, or by `stop` until it has one.
    tokio::spawn(connection::serve(stream, peer, place, stop.clone()));
}

impl Shared {
    fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut setups = self.setups();
        let from_there = setups.by_address.get(&address).copied().unwrap_or_default();
        if setups.all >= self.config.max_setups || from_there >= self.config.max_setups_per_address
        {
            return None;
        }
        setups.all += 1;
        setups.by_address.insert(address, from_there + 1);
        Some(Place {
            shared: self.clone(),
            address,
        })
    }

    fn setups(&self) -> MutexGuard<'_, Setups> {
        self.setups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut setups = self.shared.setups();
        setups.all -= 1;
        if let Some(count) = setups.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                setups.by_address.remove(&self.address);
            }
        }
    }
}
