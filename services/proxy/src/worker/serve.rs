//! One client's connection: its requests one after the other, to a stream or to the routes beside.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc};

use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use marquee_common::{
    forwarding::Peer,
    server::{Doubt, HEADER_READ_TIMEOUT, Watched},
};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::{Admitted, Worker, client_stream::ClientStream};
use crate::{
    answer::{Answer, Source},
    forward, stream_id,
};

/// Most that is read ahead, and waits to be written to a client.
const BUFFER_BYTES: usize = 128 * 1024;
/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(
    worker: Arc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
) {
    // Small answers are complete messages; waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let patience = worker.shared.deadlines.silence;
    let watched = Watched::new(ClientStream::new(stream, patience));
    let client = Arc::new(Client {
        peer: worker.peer(peer.ip()),
        address: peer,
        doubt: watched.doubt(),
        admitted: Arc::new(admitted),
    });
    let draining = worker.shared.lifecycle.token();
    // hyper keeps room for the service's future from the connection's beginning to its end: boxed, an
    // idle connection holds no room for a request.
    let service =
        service_fn(move |request| Box::pin(answer(worker.clone(), client.clone(), request)));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .max_buf_size(BUFFER_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(watched), service)
            .with_upgrades()
    );
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

/// The other end of a connection.
pub struct Client {
    /// As headers tell of it.
    pub peer: Peer,
    /// As the socket does.
    pub address: SocketAddr,
    /// Whether its requests can be told apart.
    pub doubt: Doubt,
    /// Its place among all connections, for as long as anything of this one is left.
    pub admitted: Arc<Admitted>,
}

async fn answer(
    worker: Arc<Worker>,
    client: Arc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    // A path under /stream, even one that names no stream.
    if let Some(id) = stream_id::of_path(request.uri().path()) {
        let id = id.map(|id| id.into_owned().into_boxed_str());
        return Ok(forward::answer(&worker, &client, id, request).await);
    }
    request.extensions_mut().insert(ConnectInfo(client.address));
    request.extensions_mut().insert(client.doubt.clone());
    let router = worker.shared.api.clone();
    let Ok(response) = router.oneshot(request.map(axum::body::Body::new)).await;
    Ok(response.map(|body| Answer::unlogged(Source::Api(body))))
}
