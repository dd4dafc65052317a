//! One request to a service and its answer back.

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE, request};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use marquee_common::{BoxError, forwarding::strip_hop_by_hop, retry::Backoff};
use tokio_util::sync::CancellationToken;

use crate::{
    body::{Download, Upload, UploadState, UploadWatch},
    error::GatewayError,
    route_table::{Route, ServiceName, Treatment},
    upstream::UpstreamUrl,
};

/// An idle connection is given up after this; services keep theirs longer, so that they are never
/// the first to close one just as a request sets out on it.
const POOL_IDLE: Duration = Duration::from_secs(15);
/// Idle connections kept to one service.
const POOL_SIZE: usize = 256;
/// A request that no connection could be made for is tried again so often.
const RETRIES: u32 = 3;

/// How long each phase of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the client has sent the body of an API request.
    pub upload: Duration,
    /// From the end of an API request to the head of the answer.
    pub answer: Duration,
    /// The same of a media server, which may hold an answer back.
    pub media_answer: Duration,
    /// Between two pieces of an answer's body, or of a body for a media server.
    pub silence: Duration,
}

/// Passes requests on over pooled connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Forwarder {
    client: Client<HttpConnector, Upload>,
    deadlines: Deadlines,
    draining: CancellationToken,
}

impl Forwarder {
    /// A forwarder with an empty pool. When `draining` is cancelled, event streams end.
    pub fn new(deadlines: Deadlines, draining: CancellationToken) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(deadlines.connect));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .build(connector);
        Self {
            client,
            deadlines,
            draining,
        }
    }

    /// How long each phase may take.
    pub fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    /// Sends a request, whose headers are already what the service shall see, and returns the answer
    /// as soon as its head is there.
    ///
    /// A request without a body is tried again while no connection can be made (idempotent methods,
    /// RFC 9110 section 9.2.2), so that a service that restarts is not noticed; and once when its
    /// connection broke before the answer began (safe methods), for a service may have closed a
    /// kept one just then.
    pub async fn forward(
        &self,
        route: &Route,
        upstream: &UpstreamUrl,
        request: Request<Body>,
        body_limit: Option<u64>,
    ) -> Result<Response<Body>, GatewayError> {
        let service = route.service;
        let (head, body) = request.into_parts();
        let head = readdress(head, upstream)
            .map_err(|error| GatewayError::Unreachable(service, error.into()))?;
        let bodiless = hyper::body::Body::is_end_stream(&body);
        let mut waits = Backoff::new(Duration::from_millis(50), Duration::from_millis(400))
            .attempts(RETRIES)
            .within(self.deadlines.connect);
        let mut body = Some(body);
        let mut broke_off = false;
        loop {
            let attempt = Request::from_parts(head.clone(), body.take().unwrap_or_default());
            let started = Instant::now();
            let answer = self.attempt(route, attempt, body_limit).await;
            measure(service, started, &answer);
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_repeat = match &error {
                GatewayError::Unreachable(..) => head.method.is_idempotent(),
                // A second DELETE would find nothing, and say so to a client whose first one
                // worked; a request that kills its service would kill the next one.
                GatewayError::BrokeOff(..) => {
                    head.method.is_safe() && !std::mem::replace(&mut broke_off, true)
                }
                _ => false,
            };
            if !(bodiless && may_repeat) {
                return Err(error);
            }
            let Some(wait) = waits.next() else {
                return Err(error);
            };
            metrics::counter!("gateway_retries_total", "upstream" => service.as_str()).increment(1);
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(
        &self,
        route: &Route,
        request: Request<Body>,
        body_limit: Option<u64>,
    ) -> Result<Response<Body>, GatewayError> {
        let (head, body) = request.into_parts();
        let (upload, watch) = Upload::new(body, body_limit);
        let answer = self.client.request(Request::from_parts(head, upload));
        let answer = tokio::select! {
            answer = answer => answer.map_err(|error| blame(route.service, &watch, error))?,
            error = self.patience(route, &watch) => return Err(error),
        };
        let (mut head, body) = answer.into_parts();
        strip_hop_by_hop(&mut head.headers);
        let mut body = Download::new(body, self.deadlines.silence);
        if is_event_stream(&head.headers) {
            body = body.until(self.draining.clone());
        }
        Ok(Response::from_parts(head, Body::new(body)))
    }

    /// Ends when the answer is overdue, and says who is to blame.
    async fn patience(&self, route: &Route, watch: &UploadWatch) -> GatewayError {
        let (uploaded, answer) = match route.treatment {
            Treatment::Api { .. } => (self.within_upload(watch).await, self.deadlines.answer),
            Treatment::Media => (
                self.while_it_flows(watch).await,
                self.deadlines.media_answer,
            ),
        };
        if !uploaded && watch.state() == UploadState::AwaitingClient {
            return GatewayError::ClientTooSlow;
        }
        tokio::time::sleep(answer).await;
        GatewayError::TooLate(route.service)
    }

    /// Whether the whole body was passed on in time.
    async fn within_upload(&self, watch: &UploadWatch) -> bool {
        let upload = tokio::time::timeout(self.deadlines.upload, watch.done());
        upload.await.is_ok()
    }

    /// Whether the body was passed on without a break that was too long.
    async fn while_it_flows(&self, watch: &UploadWatch) -> bool {
        loop {
            let before = watch.pieces();
            let done = tokio::time::timeout(self.deadlines.silence, watch.done());
            if done.await.is_ok() {
                return true;
            }
            if watch.pieces() == before {
                return false;
            }
        }
    }
}

/// Server-sent events, which never end by themselves.
fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next();
        essence.is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    })
}

/// The access log's measurement is of all services together; this one tells them apart.
fn measure(service: ServiceName, started: Instant, answer: &Result<Response<Body>, GatewayError>) {
    let status = answer
        .as_ref()
        .map_or("none", |answer| match answer.status().as_u16() / 100 {
            1 | 2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        });
    metrics::histogram!(
        "gateway_upstream_duration_seconds",
        "upstream" => service.as_str(),
        "status" => status,
    )
    .record(started.elapsed().as_secs_f64());
}

fn readdress(
    mut head: request::Parts,
    upstream: &UpstreamUrl,
) -> Result<request::Parts, http::Error> {
    let target = head
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or(http::uri::PathAndQuery::from_static("/"));
    head.uri = upstream.join(&target)?;
    head.version = http::Version::HTTP_11;
    Ok(head)
}

fn blame(
    service: ServiceName,
    watch: &UploadWatch,
    error: hyper_util::client::legacy::Error,
) -> GatewayError {
    match watch.state() {
        UploadState::TooLarge => GatewayError::TooLarge,
        UploadState::ClientGone => GatewayError::ClientGone(BoxError::from(error)),
        _ if error.is_connect() && timed_out(&error) => GatewayError::TooLate(service),
        _ if error.is_connect() => GatewayError::Unreachable(service, error.into()),
        _ => GatewayError::BrokeOff(service, error.into()),
    }
}

fn timed_out(error: &(dyn Error + 'static)) -> bool {
    let is_time_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    error.downcast_ref().is_some_and(is_time_out) || error.source().is_some_and(timed_out)
}
