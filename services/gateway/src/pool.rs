//! Kept connections to the services, each driven by the request that uses it.
//!
//! A connection with a task of its own costs every request four more wake-ups, each of which waits
//! for a processor: they were most of what the gateway added to a call (bench/RESULTS.md). Here the
//! request's own task reads and writes; nobody watches a connection that is not in use, so one that
//! its service closed meanwhile is found out when it is taken, and replaced.

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{body::Upload, upstream::UpstreamUrl};

/// An idle connection is given up after this; services keep theirs longer, so that they are never
/// the first to close one just as a request sets out on it.
const LONGEST_IDLE: Duration = Duration::from_secs(15);
/// Idle connections that a thread keeps to one service.
const MOST_IDLE: usize = 256;

/// Connections to all services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    connect_timeout: Duration,
    idle: Arc<Mutex<Idle>>,
}

/// By thread, for a connection is moved by the runtime of the thread that opened it. Newest last: what
/// is not needed ages at the front.
type Idle = HashMap<(ThreadId, UpstreamUrl), Vec<Connection>>;

type Wire = Pin<Box<http1::Connection<TokioIo<TcpStream>, Upload>>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection stood in time.
    #[error("connecting took too long")]
    ConnectTimedOut,
    /// No connection could be made.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke before the answer's head was there, or what came was no HTTP.
    #[error(transparent)]
    BrokeOff(#[from] hyper::Error),
}

/// A connection, and the side of it that takes requests.
#[derive(Debug)]
struct Connection {
    requests: SendRequest<Upload>,
    /// `None` once it ended, so that whoever waits for an answer over it hears of that.
    wire: Option<Wire>,
    idle_since: Instant,
}

impl Pool {
    /// An empty pool, which waits `connect_timeout` for a connection to stand.
    pub fn new(connect_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            idle: Arc::default(),
        }
    }

    /// Sends a request in origin form to a service; the answer as soon as its head is there. Dropping
    /// the future, or the answer's body before its end, closes the connection.
    pub async fn call(
        &self,
        upstream: &UpstreamUrl,
        mut request: Request<Upload>,
    ) -> Result<Response<PooledBody>, CallError> {
        loop {
            let kept = self.take(upstream).await;
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(upstream).await?,
            };
            let mut error = match connection.exchange(request).await {
                Ok(answer) => return Ok(self.embody(upstream, connection, answer).await),
                Err(error) => error,
            };
            // Closed just then, and nothing of the request was sent.
            match error.take_message() {
                Some(unsent) if is_kept => request = unsent,
                _ => return Err(error.into_error().into()),
            }
        }
    }

    /// Closes connections that nobody needed for a while, until `stop` is cancelled.
    pub async fn age(self, stop: CancellationToken) {
        while timeout(LONGEST_IDLE, stop.cancelled()).await.is_err() {
            for connections in self.idle().values_mut() {
                connections.retain(|kept| kept.idle_since.elapsed() < LONGEST_IDLE);
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Nothing panics while it is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection used last, if it is still good.
    async fn take(&self, upstream: &UpstreamUrl) -> Option<Connection> {
        let key = (thread::current().id(), upstream.clone());
        loop {
            let mut kept = self.idle().get_mut(&key)?.pop()?;
            if kept.idle_since.elapsed() < LONGEST_IDLE && kept.is_usable().await {
                return Some(kept);
            }
        }
    }

    async fn connect(&self, upstream: &UpstreamUrl) -> Result<Connection, CallError> {
        let stream = timeout(self.connect_timeout, TcpStream::connect(upstream.address()))
            .await
            .map_err(|_| CallError::ConnectTimedOut)?
            .map_err(CallError::Connect)?;
        // Small requests are complete messages; waiting for more only delays them.
        let _ = stream.set_nodelay(true);
        let (requests, wire) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection {
            requests,
            wire: Some(Box::pin(wire)),
            idle_since: Instant::now(),
        })
    }

    async fn embody(
        &self,
        upstream: &UpstreamUrl,
        connection: Connection,
        answer: Response<Incoming>,
    ) -> Response<PooledBody> {
        let lease = Lease {
            connection,
            upstream: upstream.clone(),
            pool: self.clone(),
        };
        let (head, inner) = answer.into_parts();
        let mut body = PooledBody {
            inner,
            lease: Some(lease),
        };
        // Nobody asks an empty body for its end.
        if body.inner.is_end_stream() {
            poll_fn(|cx| {
                body.end(cx);
                Poll::Ready(())
            })
            .await;
        }
        Response::from_parts(head, body)
    }

    fn give_back(&self, upstream: UpstreamUrl, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle();
        let key = (thread::current().id(), upstream);
        let kept = idle.entry(key).or_default();
        if kept.len() < MOST_IDLE {
            kept.push(connection);
        }
    }
}

impl Connection {
    /// Reads and writes what can be read and written now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.wire, cx);
    }

    fn is_idle(&self) -> bool {
        self.wire.is_some() && self.requests.is_ready()
    }

    /// Whether the next request can set out on it.
    async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(self.is_idle())
        })
        .await
    }

    async fn exchange(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        let Self { requests, wire, .. } = self;
        let mut answer = pin!(requests.try_send_request(request));
        poll_fn(|cx| {
            drive(wire, cx);
            answer.as_mut().poll(cx)
        })
        .await
    }
}

fn drive(wire: &mut Option<Wire>, cx: &mut Context<'_>) {
    // How it ended, an answer that is waited for tells.
    if wire
        .as_mut()
        .is_some_and(|wire| wire.as_mut().poll(cx).is_ready())
    {
        *wire = None;
    }
}

/// An answer's body, which moves its connection and gives it back at its end.
#[derive(Debug)]
pub struct PooledBody {
    inner: Incoming,
    lease: Option<Lease>,
}

/// A connection on loan.
#[derive(Debug)]
struct Lease {
    connection: Connection,
    upstream: UpstreamUrl,
    pool: Pool,
}

impl PooledBody {
    /// Has a task of its own drive the connection until `give_up`, for a request body that is still on
    /// its way: it must not wait for whoever reads the answer, who may read only when all is sent. The
    /// connection serves no further request.
    pub fn drive_apart(&mut self, give_up: impl Future<Output = ()> + Send + 'static) {
        let Some(Lease { connection, .. }) = self.lease.take() else {
            return;
        };
        // Without the side that takes requests it ends after this one.
        drop(connection.requests);
        if let Some(wire) = connection.wire {
            // Its end, and a panic, reach both bodies.
            tokio::spawn(async move {
                tokio::select! {
                    _ = wire => {}
                    () = give_up => {}
                }
            });
        }
    }

    /// The connection serves the next request, if it can: a body that is not sent to its end yet, or
    /// a service that closes, forbids it.
    fn end(&mut self, cx: &mut Context<'_>) {
        if let Some(mut lease) = self.lease.take() {
            lease.connection.drive(cx);
            if lease.connection.is_idle() {
                lease.pool.give_back(lease.upstream, lease.connection);
            }
        }
    }
}

impl HttpBody for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_pending()
            && let Some(lease) = &mut this.lease
        {
            lease.connection.drive(cx);
            polled = Pin::new(&mut this.inner).poll_frame(cx);
        }
        let has_ended = match &polled {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(_))) => this.inner.is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => true,
        };
        if has_ended {
            this.end(cx);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
