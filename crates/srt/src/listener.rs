//! The listening socket and the thread that accepts.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use tokio::sync::mpsc;

use crate::admission::{Admission, Reject};
use crate::config::ListenerConfig;
use crate::connection::Connection;
use crate::error::SrtError;
use crate::sys::{Fault, Numeric, Socket};

/// Peers before 1.3 have another handshake, without a stream id.
const OLDEST_PEER: i32 = 0x0001_0300;

/// libsrt's own timer is set so far behind ours, so that it is always ours that ends a connection.
const PEER_IDLE_MARGIN: Duration = Duration::from_secs(5);

/// How often the accept thread looks for connections. Not by libsrt's blocking accept: a thread that
/// waits in libsrt cannot be stopped when the process ends (`sys::library`).
const ACCEPT_POLL: Duration = Duration::from_millis(10);

const STACK: usize = 256 * 1024;

/// Listens for publishers. Dropping it closes the port; connections that were accepted go on.
pub struct Listener {
    connections: mpsc::Receiver<Connection>,
    local_addr: SocketAddr,
    socket: Weak<Socket>,
    failure: Arc<OnceLock<Fault>>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Opens the port and starts accepting. Does not wait, except right after the process' last SRT
    /// socket was closed (libsrt shuts down for up to 2 s).
    pub fn bind(config: &ListenerConfig, admission: Arc<dyn Admission>) -> Result<Self, SrtError> {
        config.validate()?;
        let mut socket = Socket::new().map_err(SrtError::Startup)?;
        configure(&socket, config)?;
        let (sender, connections) = mpsc::channel(config.max_pending);
        let address = config.bind;
        let bound = |source| SrtError::Bind { address, source };
        socket.bind(address).map_err(bound)?;
        let ask = admission_hook(admission, sender.downgrade());
        socket
            .listen(config.backlog, Arc::new(ask))
            .map_err(bound)?;
        let local_addr = socket.local_address().map_err(bound)?;

        let socket = Arc::new(socket);
        let failure = Arc::new(OnceLock::new());
        let closing = Arc::new(AtomicBool::new(false));
        let acceptor = Acceptor {
            socket: Arc::clone(&socket),
            connections: sender,
            failure: Arc::clone(&failure),
            closing: Arc::clone(&closing),
            no_data_timeout: config.no_data_timeout,
        };
        let thread = thread::Builder::new()
            .name("srt-accept".to_owned())
            .stack_size(STACK)
            .spawn(move || acceptor.run())
            .map_err(SrtError::Thread)?;
        Ok(Self {
            connections,
            local_addr,
            socket: Arc::downgrade(&socket),
            failure,
            closing,
            thread: Some(thread),
        })
    }

    /// The next publisher that was let in. A caller whose handshake fails is no error here; an error
    /// is final.
    ///
    /// Cancel safe.
    pub async fn accept(&mut self) -> Result<Connection, SrtError> {
        match self.connections.recv().await {
            Some(connection) => Ok(connection),
            None => Err(match self.failure.get() {
                Some(fault) => SrtError::Broken(fault.clone()),
                None => SrtError::Died,
            }),
        }
    }

    /// Where it listens, with the port that was chosen if it was asked for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many wait for [`Listener::accept`].
    pub fn pending(&self) -> usize {
        self.connections.len()
    }

    /// Closes the port, disconnects publishers nobody has accepted yet, and waits for the accept
    /// thread. The UDP port itself is given back when the last connection is gone too.
    pub async fn close(mut self) {
        self.stop();
        self.connections.close();
        while self.connections.recv().await.is_some() {}
        if let Some(thread) = self.thread.take() {
            // Joining blocks, up to libsrt's shut-down; a panic in there was reported by itself.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn stop(&self) {
        self.closing.store(true, Ordering::Release);
        if let Some(socket) = self.socket.upgrade() {
            socket.close();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

fn configure(socket: &Socket, config: &ListenerConfig) -> Result<(), SrtError> {
    let set = |name: &'static str, option: Numeric, value: i32| {
        socket
            .set(option, value)
            .map_err(|source| SrtError::Option {
                option: name,
                source,
            })
    };
    let packets = receive_buffer_packets(config.latency);
    set("waiting", Numeric::Waits, 0)?;
    set("latency", Numeric::Latency, milliseconds(config.latency))?;
    set("receive buffer", Numeric::FlowWindow, packets)?;
    // Counted in bytes of whole packets, headers of UDP and IP not included.
    set("receive buffer", Numeric::ReceiveBuffer, packets * 1472)?;
    set("oldest peer", Numeric::OldestPeer, OLDEST_PEER)?;
    set("encryption", Numeric::EnforcedEncryption, 1)?;
    set(
        "no_data_timeout",
        Numeric::PeerIdle,
        milliseconds(config.no_data_timeout + PEER_IDLE_MARGIN),
    )?;
    if let Some(passphrase) = &config.passphrase {
        set(
            "key length",
            Numeric::KeyLength,
            passphrase.key_length().bytes(),
        )?;
        socket
            .set_passphrase(passphrase.expose())
            .map_err(|source| SrtError::Option {
                option: "passphrase",
                source,
            })?;
    }
    if let IpAddr::V6(ip) = config.bind.ip() {
        let only = i32::from(!ip.is_unspecified());
        set("bind", Numeric::Ipv6Only, only)?;
    }
    Ok(())
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// See [`ListenerConfig::latency`]. Packets carry 1316 bytes.
fn receive_buffer_packets(latency: Duration) -> i32 {
    let held = u64::try_from((latency + Duration::from_secs(1)).as_millis()).unwrap_or(u64::MAX);
    let bytes = held.saturating_mul(100_000_000 / 8 / 1000);
    i32::try_from((bytes / 1316).clamp(8192, 32768)).unwrap_or(8192)
}

/// What libsrt's receive thread asks for each caller.
fn admission_hook(
    admission: Arc<dyn Admission>,
    pending: mpsc::WeakSender<Connection>,
) -> impl Fn(&[u8], SocketAddr) -> Result<(), i32> + Send + Sync {
    move |stream_id, peer| {
        let verdict = match str::from_utf8(stream_id) {
            Err(_) => Err(Reject::Malformed),
            Ok(_) if !has_room(&pending) => Err(Reject::Busy),
            Ok(stream_id) => admission.check(stream_id, peer),
        };
        verdict.map_err(|reject| {
            // Debug: some publishers (OBS) try again for ever, whatever they are told.
            tracing::debug!(%peer, reason = ?reject, "publisher refused");
            reject.code()
        })
    }
}

fn has_room(pending: &mpsc::WeakSender<Connection>) -> bool {
    pending
        .upgrade()
        .is_some_and(|pending| pending.capacity() > 0)
}

struct Acceptor {
    socket: Arc<Socket>,
    connections: mpsc::Sender<Connection>,
    failure: Arc<OnceLock<Fault>>,
    closing: Arc<AtomicBool>,
    no_data_timeout: Duration,
}

impl Acceptor {
    fn run(self) {
        loop {
            match self.socket.accept() {
                Ok((socket, peer)) => self.take(socket, peer),
                Err(_) if self.closing.load(Ordering::Acquire) => return,
                Err(fault) if !self.socket.is_listening() => {
                    let _ = self.failure.set(fault);
                    return;
                }
                Err(fault) => {
                    if !fault.is_not_yet() {
                        tracing::debug!(error = %fault, "a caller was lost before it was accepted");
                    }
                    thread::sleep(ACCEPT_POLL);
                }
            }
        }
    }

    /// Makes a connection of an accepted socket, or closes it.
    fn take(&self, socket: Socket, peer: SocketAddr) {
        let connection = match self.open(socket, peer) {
            Ok(connection) => connection,
            Err(refusal) => {
                let error = refusal.source().map(tracing::field::display);
                tracing::info!(%peer, reason = %refusal, error, "an SRT publisher was disconnected");
                return;
            }
        };
        if self.connections.try_send(connection).is_err() {
            let reason = "too many wait to be served";
            tracing::info!(%peer, reason, "an SRT publisher was disconnected");
        }
    }

    fn open(&self, socket: Socket, peer: SocketAddr) -> Result<Connection, Refusal> {
        if socket.has_packet_filter()? {
            return Err(Refusal::PacketFilter);
        }
        let stream_id = String::from_utf8(socket.stream_id()?).map_err(|_| Refusal::StreamId)?;
        let latency = u64::try_from(socket.get(Numeric::AgreedLatency)?).unwrap_or(0);
        Connection::start(
            socket,
            peer,
            stream_id,
            Duration::from_millis(latency),
            self.no_data_timeout,
        )
        .map_err(Refusal::Thread)
    }
}

/// Why an accepted socket does not become a connection.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it asked for a packet filter")]
    PacketFilter,
    #[error("its stream id is no text")]
    StreamId,
    #[error("it left at once")]
    Gone(#[from] Fault),
    #[error("there is no thread for it")]
    Thread(#[source] io::Error),
}
