//! The accept loop, its connections, and the signals that end it.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{
    Lifecycle, Lingering,
    answer_limit::AnswerLimited,
    express::Answers,
    framing::{Doubt, Framing},
    unread::Reading,
};

/// How long a connection may idle or dawdle over a request's head. Longer than nginx (60 s) and
/// our own clients (50 s) keep idle connections, so that it is never the server that closes one
/// under a request already on its way.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a peer may acknowledge nothing of what was sent, or take nothing of what waits to be:
/// as long as nginx bears it. Without a limit a client whose host has vanished keeps its connection,
/// and what it takes here, for the quarter of an hour in which the kernel tries again, and one
/// that never reads keeps it for good.
const USER_TIMEOUT: Duration = Duration::from_mins(1);

/// Accept until the drain begins. Connections go on in tasks of `lifecycle`, each counted in
/// `connections` until it ends.
pub(super) async fn accept(
    listener: TcpListener,
    answers: &Answers,
    lifecycle: &Lifecycle,
    connections: &TaskTracker,
) {
    let draining = lifecycle.token();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve(stream, peer, answers.clone(), lifecycle.clone());
                let counted = connections.token();
                lifecycle.spawn_job("connection", async move {
                    connection.await;
                    drop(counted);
                });
            }
            Err(error) => {
                // Out of file descriptors, or a peer that left already: neither ends the server.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    Answers {
        router,
        express,
        longest,
    }: Answers,
    lifecycle: Lifecycle,
) {
    // Small answers are complete messages; waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    give_up_after(USER_TIMEOUT, &stream);
    let watched = Watched::new(AnswerLimited::new(Lingering::new(stream), longest));
    let doubt = watched.doubt();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let express = express.as_ref().filter(|_| !doubt.is_raised());
        let ready =
            express.and_then(|one| one.answer(request.method(), request.uri(), request.headers()));
        let (router, doubt) = (router.clone(), doubt.clone());
        async move {
            if let Some(ready) = ready
                && let Some(response) = ready.await
            {
                return Ok::<_, Infallible>(response);
            }
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(doubt);
            Ok(answer(router, request.map(Body::new)).await)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .serve_connection(TokioIo::new(watched), service)
            .with_upgrades()
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

/// Breaks the connection once nothing of what is sent gets through for `silence`.
fn give_up_after(silence: Duration, stream: &TcpStream) {
    // Where the system knows no such limit, its own holds.
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(silence));
}

async fn answer(router: Router, request: axum::extract::Request) -> axum::response::Response {
    let (request, reading) = Reading::of(request);
    let mut response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    reading.mark(&mut response);
    response
}

/// A connection whose bytes are followed as they are read, so that a request whose end is in doubt
/// is known before anybody acts on it.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    framing: Framing,
    doubt: Doubt,
}

impl<S> Watched<S> {
    /// Follows a connection from its first byte on.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            framing: Framing::default(),
            doubt: Doubt::default(),
        }
    }

    /// Whether its requests can be told apart, from now on.
    pub fn doubt(&self) -> Doubt {
        self.doubt.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
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
        if this.framing.is_lost() {
            this.doubt.raise();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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

/// SIGTERM or SIGINT begins the drain, a second one ends it. [`super::Service::serve`] does this by
/// itself; it is for a service that accepts its own connections.
pub async fn obey_signals(lifecycle: Lifecycle) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("cannot listen for signals");
        return;
    };
    for round in 0.. {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to end");
        lifecycle.shutdown();
        if round > 0 {
            lifecycle.hard_token().cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_client_that_never_reads_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        give_up_after(Duration::from_secs(1), &stream);
        let bytes = vec![0; 64 * 1024];
        let filled = async { while stream.write_all(&bytes).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(30), filled)
            .await
            .expect("it is given up");
    }
}
