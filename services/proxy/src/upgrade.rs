//! Web sockets: a connection of its own to the upstream, and bytes both ways until one side ends or
//! falls silent.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::timeout,
};

use crate::{
    answer::Source,
    connections::Download,
    error::ProxyError,
    headers,
    lookup::Route,
    request_body::RequestBody,
    worker::{Client, Worker},
};

/// Passes on a request to upgrade its connection; the answer says whether the upstream did.
pub async fn pass(
    worker: &Arc<Worker>,
    client: &Client,
    route: &Route,
    mut request: Request<Incoming>,
    protocol: HeaderValue,
) -> Result<Response<Source>, ProxyError> {
    let shared = &worker.shared;
    let deadlines = shared.deadlines;
    let admitted = client.admitted.clone();
    let client = hyper::upgrade::on(&mut request);
    headers::ask_for_upgrade(request.headers_mut(), protocol.clone());
    let resolver = &shared.resolver;
    let addresses = resolver
        .addresses(&route.upstream, deadlines.connect)
        .await?;
    let connection = resolver
        .connect(&route.upstream, &addresses, deadlines.connect)
        .await?;
    let (mut sender, driver) = connection.into_upgradeable();
    worker.tasks.spawn(driver);
    shared.measurements.upstream_requests.increment(1);
    let sent = sender.send(request.map(|_| RequestBody::Empty));
    let mut response = timeout(deadlines.answer, sent)
        .await
        .map_err(|_| ProxyError::TooLate(route.upstream.clone()))?
        .map_err(|error| ProxyError::BrokeOff(route.upstream.clone(), error.into()))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        headers::prepare_answer(response.headers_mut());
        let download = |body| Source::Upstream(Download::unpooled(body, deadlines.silence));
        return Ok(response.map(download));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let draining = shared.lifecycle.token();
    let tunnel = tunnel(client, upstream, deadlines.silence);
    worker.tasks.spawn(async move {
        // A socket that would never end by itself ends with the proxy: its client comes back to
        // another one.
        draining.run_until_cancelled(tunnel).await;
        // It is a client's connection until now, though its requests are over.
        drop(admitted);
    });
    headers::prepare_answer(response.headers_mut());
    headers::ask_for_upgrade(response.headers_mut(), protocol);
    Ok(response.map(|_| Source::Own(Full::default())))
}

async fn tunnel(client: OnUpgrade, upstream: OnUpgrade, silence: Duration) {
    let Ok((client, upstream)) = tokio::try_join!(client, upstream) else {
        return;
    };
    let moved = Arc::new(AtomicU64::new(0));
    let mut client = Counted::new(client, &moved);
    let mut upstream = Counted::new(upstream, &moved);
    let silent = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(silence).await;
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    };
    tokio::select! {
        // Which side broke off, and how, is nothing that could be told to anybody.
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        () = silent => {}
    }
}

/// Counts what is read, whichever side it comes from.
struct Counted {
    stream: TokioIo<Upgraded>,
    moved: Arc<AtomicU64>,
}

impl Counted {
    fn new(stream: Upgraded, moved: &Arc<AtomicU64>) -> Self {
        Self {
            stream: TokioIo::new(stream),
            moved: moved.clone(),
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.moved.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
