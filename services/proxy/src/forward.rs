//! One request to a stream's upstream and its answer back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request, Response, Uri, Version, header::CONNECTION};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::{Body as _, Incoming};
use marquee_common::{BoxError, error::ApiError, forwarding::name_one_host};

use crate::{
    access_log::Line,
    answer::{Answer, Source},
    coalesce::{self, Joined, marks::Kind},
    connections::{ConnectError, Connection, Download, ExchangeError},
    error::ProxyError,
    headers,
    lookup::Route,
    request_body::{self, RequestBody, Upload},
    stream_id::StreamIdError,
    upgrade,
    worker::{Client, Worker},
};

/// How often it is looked at whether a request's body still comes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long each phase of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the answer's head is there; from the end of the request's body.
    pub answer: Duration,
    /// Between two pieces of a body.
    pub silence: Duration,
}

/// Answers a request under `/stream`, and logs it.
pub async fn answer(
    worker: &Arc<Worker>,
    client: &Client,
    id: Result<Box<str>, StreamIdError>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let mut line = worker.log.begin(&request, client.peer.address());
    match pass(worker, client, id, request, &mut line).await {
        Ok(response) => {
            line.head_is_out(response.status().as_u16());
            response.map(|body| Answer::new(body, line))
        }
        Err(error) => refuse(error, line).await,
    }
}

async fn pass(
    worker: &Arc<Worker>,
    client: &Client,
    id: Result<Box<str>, StreamIdError>,
    mut request: Request<Incoming>,
    line: &mut Line,
) -> Result<Response<Source>, ProxyError> {
    let shared = &worker.shared;
    let request_id = headers::take_request_id(request.headers_mut(), || worker.next_request_id());
    line.set_request_id(request_id);
    if client.doubt.is_raised() {
        return Err(ProxyError::Doubtful);
    }
    let id = id?;
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(ProxyError::Method);
    }
    if !name_one_host(request.version(), request.headers()) {
        return Err(ProxyError::NoSingleHost);
    }
    if shared.loop_guard.is_loop(request.headers()) {
        return Err(ProxyError::Loop(id));
    }
    let route = shared.routes.find(&worker.tasks, &id).await?;
    line.set_route(route.clone());
    let upgrade = headers::upgrade_of(request.method(), request.headers());
    let told = headers::prepare_request(
        request.headers_mut(),
        &client.peer,
        &shared.trusted_proxies,
        &shared.loop_guard,
        &route.upstream,
    );
    line.set_client(told);
    to_origin_form(&mut request);
    // One that has a body is an ordinary request: nobody would watch over the body.
    if let Some(protocol) = upgrade.filter(|_| request.body().is_end_stream()) {
        return upgrade::pass(worker, client, &route, request, protocol).await;
    }
    let kind = Kind::of(request.uri().path());
    if route.mark.is_set(kind) && coalesce::is_joinable(&request) {
        return join(worker, &route, request).await;
    }
    let request = request.map(RequestBody::new);
    let response = exchange(worker, &route, request).await?;
    Ok(response.map(Source::Upstream))
}

/// The target as it is sent to a server that is the request's own: path and query, as they came.
fn to_origin_form<B>(request: &mut Request<B>) {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().scheme().is_none() && request.uri().authority().is_none() {
        return;
    }
    if let Some(target) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(target);
    }
}

/// Joins the request to an equal one, or lets others join it.
async fn join(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    request: Request<Incoming>,
) -> Result<Response<Source>, ProxyError> {
    let request = request.map(drop);
    let ask = |request: Request<()>| {
        let (worker, route) = (worker.clone(), route.clone());
        async move {
            let kind = Kind::of(request.uri().path());
            let request = request.map(|()| RequestBody::Empty);
            let response = exchange(&worker, &route, request).await?;
            // An error says nothing of what the upstream does with its answers.
            if response.status().is_success() && !coalesce::is_shareable(&response) {
                worker
                    .shared
                    .marks
                    .missed(&route.stream_id, &route.mark, kind);
            }
            Ok(response)
        }
    };
    let coalescer = &worker.shared.coalescer;
    match coalescer.join(&worker.tasks, route, &request, ask).await? {
        Joined::Answer(response) => Ok(response.map(Source::Joined)),
        Joined::Alone => {
            let request = request.map(|()| RequestBody::Empty);
            let response = exchange(worker, route, request).await?;
            Ok(response.map(Source::Upstream))
        }
    }
}

/// Sends a request, whose headers are already what the upstream shall see, and returns the answer as
/// soon as its head is there.
async fn exchange(
    worker: &Worker,
    route: &Route,
    mut request: Request<RequestBody>,
) -> Result<Response<Download>, ProxyError> {
    let deadline = worker.shared.deadlines.connect;
    let resolver = &worker.shared.resolver;
    let addresses = resolver.addresses(&route.upstream, deadline).await?;
    request_body::announce(&mut request);
    let began = Instant::now();
    let mut idle = addresses.as_slice().iter();
    if let Some(connection) = idle.find_map(|address| worker.pool.take(*address)) {
        // It may be one that the upstream is closing at this moment. What can be sent again is sent
        // again once, on a new connection (RFC 9110 section 9.2.2).
        let again = copy_of(&request);
        match attempt(worker, route, connection, request, began).await {
            Err(Failure::Closed(error)) => match again {
                Some(copy) => request = copy,
                None => return Err(broke_off(route, error.error)),
            },
            Err(Failure::Final(error)) => return Err(error),
            Ok(response) => return Ok(response),
        }
    }
    let connection = resolver
        .connect(&route.upstream, &addresses, deadline)
        .await?;
    match attempt(worker, route, connection, request, began).await {
        Ok(response) => Ok(response),
        Err(Failure::Closed(error)) => Err(broke_off(route, error.error)),
        Err(Failure::Final(error)) => Err(error),
    }
}

/// The same request once more, if sending it twice does what sending it once does.
fn copy_of(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !request.body().is_empty() {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

enum Failure {
    /// The upstream closed the connection before it answered.
    Closed(ExchangeError),
    /// It is not to be tried again.
    Final(ProxyError),
}

async fn attempt(
    worker: &Worker,
    route: &Route,
    mut connection: Connection,
    request: Request<RequestBody>,
    began: Instant,
) -> Result<Response<Download>, Failure> {
    let deadlines = worker.shared.deadlines;
    worker.shared.measurements.upstream_requests.increment(1);
    let kind = Kind::of(request.uri().path());
    let upload = request.body().upload();
    let answered = tokio::select! {
        // The answer first: the deadline is looked at when there is none.
        biased;
        answered = connection.send(request) => answered,
        error = patience(route, deadlines, upload.as_ref(), began) => return Err(Failure::Final(error)),
    };
    let response = answered.map_err(|error| match &upload {
        Some(upload) if upload.is_client_gone() => {
            Failure::Final(ProxyError::ClientGone(error.error.into()))
        }
        _ if error.is_closed => Failure::Closed(error),
        _ => Failure::Final(broke_off(route, error.error)),
    })?;
    let (mut head, body) = response.into_parts();
    if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
        let unasked = BoxError::from("it switched protocols unasked");
        let error = ProxyError::BrokeOff(route.upstream.clone(), unasked);
        return Err(Failure::Final(error));
    }
    headers::prepare_answer(&mut head.headers);
    head.version = Version::HTTP_11;
    let body = Download::new(body, connection, worker.pool.clone(), deadlines.silence);
    let response = Response::from_parts(head, body);
    if coalesce::is_shareable(&response) {
        let marks = &worker.shared.marks;
        marks.seen(&route.stream_id, &route.upstream, &route.mark, kind);
    }
    Ok(response)
}

fn broke_off(route: &Route, error: hyper::Error) -> ProxyError {
    ProxyError::BrokeOff(route.upstream.clone(), error.into())
}

/// Ends when the answer to what began to be sent at `began` is overdue, and says who is to blame.
async fn patience(
    route: &Route,
    deadlines: Deadlines,
    upload: Option<&Upload>,
    began: Instant,
) -> ProxyError {
    let mut sent = began;
    if let Some(upload) = upload {
        let (mut pieces, mut since) = (upload.pieces(), Instant::now());
        while !upload.is_over() {
            tokio::time::sleep(LOOK_EVERY).await;
            if upload.pieces() != pieces {
                (pieces, since) = (upload.pieces(), Instant::now());
            } else if since.elapsed() >= deadlines.silence {
                return if upload.awaits_client() {
                    ProxyError::ClientTooSlow
                } else {
                    ProxyError::TooLate(route.upstream.clone())
                };
            }
        }
        sent = Instant::now();
    }
    tokio::time::sleep_until((sent + deadlines.answer).into()).await;
    ProxyError::TooLate(route.upstream.clone())
}

/// The problem that a client gets in an answer's place.
async fn refuse(error: ProxyError, mut line: Line) -> Response<Answer> {
    if let Some(reason) = error.upstream_failure() {
        metrics::counter!("proxy_upstream_failures_total", "reason" => reason).increment(1);
    }
    // A client that leaves half a request behind has to be told nothing more.
    let closes = matches!(error, ProxyError::Doubtful | ProxyError::ClientTooSlow);
    let id = line.request_id().map(str::to_owned);
    let (response, cause) = ApiError::from(error).response_to(id.as_deref());
    let (mut head, body) = response.into_parts();
    if closes {
        head.headers
            .insert(CONNECTION, http::HeaderValue::from_static("close"));
    }
    if let Some(id) = id.and_then(|id| id.try_into().ok()) {
        head.headers
            .insert(marquee_common::server::X_REQUEST_ID, id);
    }
    if let Some(cause) = cause {
        line.fail(cause);
    }
    line.head_is_out(head.status.as_u16());
    // It is in memory already.
    let body = body.collect().await.map(Collected::to_bytes);
    let body = Source::Own(Full::new(body.unwrap_or_default()));
    Response::from_parts(head, Answer::new(body, line))
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Final(error.into())
    }
}
