//! The gateway's connections.
//!
//! Around the common server's routes, log and drain, the gateway accepts by itself, because two
//! things have to be done before those: watch the raw bytes ([`crate::framing`]), and answer
//! `/openapi.json`, where every service shows its own document, with that of all services.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, Response, Uri};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use marquee_common::{
    config::HttpConfig,
    server::{Lifecycle, ServeError, Service},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tower::ServiceExt;

use crate::{framing::Framing, routes::MERGED_DOCUMENT};

/// How long a connection may idle or dawdle over a request's head; longer than nginx keeps its own
/// (60 s), so that none is closed under a request that is on its way.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);

/// The gateway with an address, about to serve.
#[must_use = "an edge does nothing until it runs"]
pub struct Edge {
    listener: TcpListener,
    address: SocketAddr,
    grace: Duration,
    lifecycle: Lifecycle,
    router: Router,
}

/// Whether a request's connection is one on which requests may be told apart (a request extension).
#[derive(Clone, Debug, Default)]
pub struct Ambiguity(Arc<AtomicBool>);

impl Ambiguity {
    /// Whether the connection's requests say two things about their length.
    pub fn is_found(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Edge {
    /// Takes the address; port 0 takes a free one.
    pub async fn bind(service: Service, http: &HttpConfig, port: u16) -> Result<Self, ServeError> {
        let wanted = SocketAddr::new(http.bind_addr, port);
        let refused = |source| ServeError::Bind {
            addr: wanted,
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self {
            listener,
            address,
            grace: http.shutdown_grace(),
            lifecycle: service.lifecycle(),
            router: service.into_router(),
        })
    }

    /// The address it has.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The life of the process.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.clone()
    }

    /// Serves until SIGTERM, SIGINT or [`Lifecycle::shutdown`], then finishes what runs within the
    /// grace. A second signal cuts that short.
    pub async fn run(self) -> Result<(), ServeError> {
        let signals = tokio::spawn(obey_signals(self.lifecycle.clone()));
        tracing::info!(addr = %self.address, "serving");
        accept(self.listener, &self.router, &self.lifecycle).await;
        tracing::info!(grace_s = self.grace.as_secs(), "draining");
        self.lifecycle.drain(self.grace).await;
        signals.abort();
        match self.lifecycle.dead_task() {
            Some(task) => Err(ServeError::TaskDied(task)),
            None => Ok(()),
        }
    }
}

async fn obey_signals(lifecycle: Lifecycle) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("cannot listen for signals");
        return;
    };
    for round in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        lifecycle.shutdown();
        if round > 0 {
            lifecycle.hard_token().cancel();
        }
    }
}

async fn accept(listener: TcpListener, router: &Router, lifecycle: &Lifecycle) {
    let draining = lifecycle.token();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve(stream, peer, router.clone(), lifecycle.clone());
                lifecycle.spawn_job("connection", connection);
            }
            Err(error) => {
                // Out of file descriptors, or a peer that left already: neither ends the gateway.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, lifecycle: Lifecycle) {
    // Small answers are complete messages; waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let ambiguity = Ambiguity::default();
    let watched = Watched {
        stream,
        framing: Framing::default(),
        ambiguity: ambiguity.clone(),
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(ambiguity.clone());
        let router = router.clone();
        async move { Ok::<_, Infallible>(answer(router, request.map(Body::new)).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .serve_connection(TokioIo::new(watched), service)
    );
    let draining = lifecycle.token();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client broke off or sent no HTTP; requests that had begun are in the access log.
        tracing::debug!(%peer, %error, "connection ended");
    }
}

async fn answer(router: Router, mut request: Request<Body>) -> Response<Body> {
    if request.uri().path() == "/openapi.json" {
        *request.uri_mut() = Uri::from_static(MERGED_DOCUMENT);
    }
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A connection whose bytes are looked at as they are read.
struct Watched {
    stream: TcpStream,
    framing: Framing,
    ambiguity: Ambiguity,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.framing.read(&buffer.filled()[before..]);
        // Known before hyper makes a request of the bytes, and so before anybody acts on it.
        if this.framing.is_ambiguous() {
            this.ambiguity.0.store(true, Ordering::Release);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
