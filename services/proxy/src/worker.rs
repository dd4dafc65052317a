//! A thread that passes requests on: its own runtime, its own connections, its own log.
//!
//! Workers share the listening socket, the routes and the joined requests, and nothing else: a
//! request is read, passed on, answered and logged without another thread being woken.

mod client_stream;
mod serve;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use http::HeaderValue;
use marquee_common::{
    forwarding::{Peer, TrustedProxies},
    server::Lifecycle,
};
use tokio::{net::TcpListener, runtime, sync::oneshot, time::MissedTickBehavior};
use tokio_util::task::TaskTracker;

use crate::{
    access_log::AccessLog,
    coalesce::{Coalescer, marks::Marks},
    connections::{MAX_LOOKUPS, Pool, Resolver},
    forward::Deadlines,
    headers::LoopGuard,
    lookup::Routes,
    measurements::Measurements,
};

pub use serve::Client;

/// How often lines that have come together are handed to the log's thread.
const LOG_EVERY: Duration = Duration::from_millis(100);
/// How often idle connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// What all workers share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// Where streams are.
    pub routes: Routes,
    /// What is known of their upstreams.
    pub marks: Marks,
    /// Equal requests.
    pub coalescer: Coalescer,
    /// Names of upstreams.
    pub resolver: Resolver,
    /// How long each phase of a request may take.
    pub deadlines: Deadlines,
    /// Whom to believe about a client's address.
    pub trusted_proxies: TrustedProxies,
    /// This process among all proxies.
    pub loop_guard: LoopGuard,
    /// Everything that is not `/stream`.
    pub api: Router,
    /// The life of the process.
    pub lifecycle: Lifecycle,
    /// Open connections of clients, and how many there may be.
    pub connections: Arc<Connections>,
    /// What is measured.
    pub measurements: Measurements,
}

/// Open connections of clients.
#[derive(Debug)]
pub struct Connections {
    open: AtomicUsize,
    max: usize,
}

impl Connections {
    /// None yet, and at most `max`.
    pub fn up_to(max: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max,
        }
    }

    fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        // Counted out again when it is dropped.
        let admitted = Admitted(self.clone());
        (open < self.max).then_some(admitted)
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Admitted(Arc<Connections>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One worker, as its requests see it.
pub struct Worker {
    /// What it shares with the others.
    pub shared: Shared,
    /// Its connections to upstreams.
    pub pool: Arc<Pool>,
    /// Its lines.
    pub log: AccessLog,
    /// Its tasks: connections of clients, and what outlives a request.
    pub tasks: TaskTracker,
    request_ids: RequestIds,
}

impl Worker {
    fn new(shared: Shared, log: AccessLog) -> Self {
        Self {
            shared,
            pool: Arc::default(),
            log,
            tasks: TaskTracker::new(),
            request_ids: RequestIds::default(),
        }
    }

    /// What is to be known of a client, once for all its requests.
    fn peer(&self, address: IpAddr) -> Peer {
        self.shared.trusted_proxies.peer(address)
    }

    /// An id that no other request has.
    pub fn next_request_id(&self) -> HeaderValue {
        self.request_ids.next()
    }
}

/// Ids for requests that came without one: random for the worker, counted within it.
#[derive(Debug)]
struct RequestIds {
    worker: u64,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self {
            worker: rand::random(),
            next: AtomicU64::new(0),
        }
    }
}

impl RequestIds {
    fn next(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:016x}-{number:x}", self.worker);
        // Hexadecimal digits and a hyphen are a legal value.
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// Starts a worker on a thread of its own; the receiver hears of its end, however it came.
pub fn start(
    number: usize,
    listener: std::net::TcpListener,
    shared: Shared,
    log: AccessLog,
) -> io::Result<oneshot::Receiver<()>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        // A thread for each look-up of a name that may be under way, so that none waits for
        // those whose name servers are silent.
        .max_blocking_threads(MAX_LOOKUPS)
        .build()?;
    let (alive, end) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name(format!("worker {number}"))
        .spawn(move || {
            let _alive = alive;
            let worker = Arc::new(Worker::new(shared, log));
            runtime.block_on(run(&worker, listener));
            // Names that are still being looked up are nobody's any more.
            runtime.shutdown_background();
        })?;
    Ok(end)
}

/// Accepts until the drain begins, then waits for the connections, at most until the grace is over.
async fn run(worker: &Arc<Worker>, listener: std::net::TcpListener) {
    let lifecycle = worker.shared.lifecycle.clone();
    let work = async {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let draining = lifecycle.token();
                tokio::select! {
                    () = accept(worker, listener) => {}
                    () = draining.cancelled() => {}
                }
            }
            Err(error) => tracing::error!(%error, "cannot accept connections"),
        }
        worker.tasks.close();
        worker.tasks.wait().await;
    };
    let hard = lifecycle.hard_token();
    tokio::select! {
        () = work => {}
        () = hard.cancelled() => {}
        () = upkeep(worker) => {}
    }
    worker.log.flush();
}

/// What has to be done now and then, for as long as the worker works.
async fn upkeep(worker: &Worker) {
    let mut log = tokio::time::interval(LOG_EVERY);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    log.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = log.tick() => worker.log.flush(),
            _ = sweep.tick() => worker.pool.sweep(),
        }
    }
}

async fn accept(worker: &Arc<Worker>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(admitted) = worker.shared.connections.admit() else {
                    worker.shared.measurements.refused_connections.increment(1);
                    continue;
                };
                let connection = serve::serve(worker.clone(), stream, peer, admitted);
                worker.tasks.spawn(connection);
            }
            Err(error) => {
                // Out of file descriptors, or a peer that left already: neither ends the server.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The listening socket that all workers share: a connection goes to whichever is free first.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Deep enough for all viewers of a stream to come at once.
    socket.listen(4_096)?.into_std()
}
