//! One request on a connection and its answer, driven by whoever waits for them.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use marquee_common::BoxError;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::Pool;
use crate::request_body::RequestBody;

/// Largest head of an answer, and most that is read ahead of a slow client.
const BUFFER_BYTES: usize = 128 * 1024;
/// Largest head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;

type Driver = http1::Connection<TokioIo<TcpStream>, RequestBody>;

/// A connection to an upstream. Nobody reads or writes it but the exchange that it is used for.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: http1::SendRequest<RequestBody>,
    /// `None` once it has ended.
    driver: Option<Box<Driver>>,
}

/// Why an exchange brought no answer.
#[derive(Debug)]
pub struct ExchangeError {
    /// What happened.
    pub error: hyper::Error,
    /// The upstream cannot have seen the whole request, or closed the connection instead of
    /// answering, as one does whose idle time is over.
    pub is_closed: bool,
}

impl Connection {
    /// HTTP/1.1 on a new connection.
    pub(super) async fn handshake(
        stream: TcpStream,
        address: SocketAddr,
    ) -> Result<Self, hyper::Error> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            // Most requests are a head alone, and a plain write costs less.
            .writev(false)
            .max_header_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self {
            address,
            sender,
            driver: Some(Box::new(driver)),
        })
    }

    /// Where it leads.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the upstream has left an idle connection open, as far as the system knows.
    pub(super) fn is_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let answered = poll_fn(|cx| {
            drive(driver, cx);
            answer.as_mut().poll(cx)
        });
        answered.await.map_err(|mut error| {
            let was_not_sent = error.take_message().is_some();
            let error = error.into_error();
            ExchangeError {
                is_closed: was_not_sent
                    || error.is_canceled()
                    || error.is_incomplete_message()
                    || is_reset(&error),
                error,
            }
        })
    }

    /// Gives the connection a task of its own, which ends with the upgraded connection.
    pub fn into_upgradeable(self) -> (UpgradeSender, impl Future<Output = ()> + Send) {
        let driver = self.driver;
        let drive = async move {
            if let Some(driver) = driver {
                // An error reaches whoever uses the upgraded connection.
                let _ = driver.with_upgrades().await;
            }
        };
        (UpgradeSender(self.sender), drive)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }

    /// Whether it can be used for another request.
    fn is_reusable(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// The sending half of a connection that may be upgraded.
#[derive(Debug)]
pub struct UpgradeSender(http1::SendRequest<RequestBody>);

impl UpgradeSender {
    /// Sends the request that asks for the upgrade.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        self.0.send_request(request).await
    }
}

/// Reads and writes what can be. An error reaches the exchange by way of its answer.
fn drive(driver: &mut Option<Box<Driver>>, cx: &mut Context<'_>) {
    let ended = driver
        .as_mut()
        .is_some_and(|driver| Pin::new(&mut **driver).poll(cx).is_ready());
    if ended {
        *driver = None;
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            );
        }
        source = cause.source();
    }
    false
}

/// An answer's body. Its connection goes back to the pool with its last byte, and is closed when it
/// is dropped before that.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
    /// Where it is driven, and put back; `None` once that is done, or if a task of its own does.
    connection: Option<(Connection, Arc<Pool>)>,
    silence: Duration,
    /// Runs only while nothing comes.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Nothing came for too long.
#[derive(Debug, thiserror::Error)]
#[error("the upstream fell silent in the middle of its answer")]
pub struct Silent;

impl Download {
    /// The body that comes on `connection`; broken off after `silence` without a byte.
    pub fn new(body: Incoming, connection: Connection, pool: Arc<Pool>, silence: Duration) -> Self {
        let mut download = Self {
            connection: Some((connection, pool)),
            ..Self::unpooled(body, silence)
        };
        if download.body.is_end_stream() {
            download.release(&mut Context::from_waker(Waker::noop()));
        }
        download
    }

    /// The body that comes on a connection that a task of its own drives.
    pub fn unpooled(body: Incoming, silence: Duration) -> Self {
        Self {
            body,
            connection: None,
            silence,
            timer: None,
        }
    }

    /// Puts the connection back; one that is not done with the request yet is closed.
    fn release(&mut self, cx: &mut Context<'_>) {
        if let Some((mut connection, pool)) = self.connection.take()
            && connection.is_reusable(cx)
        {
            pool.put(connection);
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Asking tells the connection that there is room; then it reads.
        if let Poll::Ready(polled) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(polled);
        }
        if let Some((connection, _)) = &mut self.connection {
            connection.drive(cx);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match this.poll_body(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                if this.body.is_end_stream() {
                    this.release(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.connection = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                this.release(cx);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let silence = this.silence;
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(silence)));
                std::task::ready!(timer.as_mut().poll(cx));
                // Should it be asked again, it is not silent for good at once.
                timer.as_mut().reset(Instant::now() + silence);
                this.connection = None;
                Poll::Ready(Some(Err(Silent.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
