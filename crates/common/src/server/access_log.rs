//! One log line and one measurement for every request, whatever becomes of it.
//!
//! The line is written when the answer's last byte has left (or the client has), so that its
//! duration and size are true for streams too. It is also the only place where the cause of a
//! 5xx is logged.

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use http_body::{Frame, SizeHint};

use super::{
    context::{RequestContext, X_REQUEST_ID},
    lifecycle::panic_text,
    redact,
};
use crate::error::{ApiError, ErrorCause};

/// Logged for a client that left before the answer began (nginx' number for it).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What the middleware knows beforehand.
#[derive(Clone)]
pub(super) struct AccessLog {
    histogram: Arc<str>,
}

impl AccessLog {
    pub(super) fn new(service: &str) -> Self {
        let histogram = format!("{service}_http_request_duration_seconds");
        metrics::describe_histogram!(
            histogram.clone(),
            metrics::Unit::Seconds,
            "Time from a request's head to its answer's head, by route."
        );
        Self {
            histogram: histogram.into(),
        }
    }
}

/// Give the request its ids, answer panics, log and measure.
pub(super) async fn access_log(
    State(log): State<AccessLog>,
    mut request: Request,
    next: Next,
) -> Response {
    let context = RequestContext::from_headers(request.headers());
    // A route that forwards its request's headers passes the ids on without knowing of them.
    context.write_headers(request.headers_mut());
    let mut line = Line::new(&log, &context, &request);

    let answered = context
        .clone()
        .scope(async {
            match AssertUnwindSafe(next.run(request)).catch_unwind().await {
                Ok(response) => response,
                Err(panic) => {
                    let text = format!("panic: {}", panic_text(panic.as_ref()));
                    ApiError::internal(text).into_response()
                }
            }
        })
        .await;

    let (mut head, body) = answered.into_parts();
    if let Ok(id) = HeaderValue::from_str(context.request_id()) {
        head.headers.insert(X_REQUEST_ID, id);
    }
    line.head_is_out(
        head.status,
        head.extensions.remove::<ErrorCause>().map(|cause| cause.0),
    );
    Response::from_parts(head, Body::new(LoggedBody { body, line }))
}

/// A request's line in the making; written when it is dropped.
struct Line {
    log: AccessLog,
    context: RequestContext,
    method: Method,
    path: String,
    query: Option<String>,
    route: Option<MatchedPath>,
    peer: Option<SocketAddr>,
    started: Instant,
    head_ms: f64,
    status: u16,
    cause: Option<Arc<str>>,
    bytes: u64,
    complete: bool,
}

impl Line {
    fn new(log: &AccessLog, context: &RequestContext, request: &Request) -> Self {
        let extensions = request.extensions();
        Self {
            log: log.clone(),
            context: context.clone(),
            method: request.method().clone(),
            path: redact::path(request.uri().path()).into_owned(),
            query: request.uri().query().map(redact::query),
            route: extensions.get::<MatchedPath>().cloned(),
            peer: extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|peer| peer.0),
            started: Instant::now(),
            head_ms: 0.0,
            status: CLIENT_CLOSED_REQUEST,
            cause: None,
            bytes: 0,
            complete: false,
        }
    }

    fn head_is_out(&mut self, status: StatusCode, cause: Option<Arc<str>>) {
        self.head_ms = milliseconds(self.started.elapsed());
        self.status = status.as_u16();
        self.cause = cause;
        // Answers that have no body to be read to its end.
        self.complete = self.method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.measure();
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or("", MatchedPath::as_str)
    }

    fn measure(&self) {
        metrics::histogram!(
            self.log.histogram.to_string(),
            "method" => method_label(&self.method),
            "route" => self.route().to_owned(),
            "status" => self.status.to_string(),
        )
        .record(self.started.elapsed().as_secs_f64());
    }

    /// Probes ask every few seconds and say nothing.
    fn is_probe(&self) -> bool {
        self.status < 500 && matches!(self.route(), "/health" | "/ready" | "/metrics")
    }
}

/// Methods are the client's text; a label may take only so many values.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// To the microsecond: most answers take less than a millisecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

macro_rules! write_line {
    ($level:ident, $line:expr) => {{
        let line = $line;
        tracing::$level!(
            target: "access",
            method = %line.method,
            path = line.path,
            query = line.query,
            route = line.route(),
            status = line.status,
            head_ms = line.head_ms,
            duration_ms = milliseconds(line.started.elapsed()),
            bytes = line.bytes,
            complete = line.complete,
            peer = line.peer.map(tracing::field::display),
            request_id = line.context.request_id(),
            trace_id = line.context.trace_id(),
            cause = line.cause.as_deref(),
            "request"
        )
    }};
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.status == CLIENT_CLOSED_REQUEST {
            self.measure();
        }
        if self.status >= 500 {
            write_line!(error, self);
        } else if self.is_probe() {
            write_line!(debug, self);
        } else {
            write_line!(info, self);
        }
    }
}

/// An answer's body that counts what leaves; its line is written when it is dropped.
struct LoggedBody {
    body: Body,
    line: Line,
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame) = &polled {
            match frame {
                Some(Ok(frame)) => {
                    let len = frame.data_ref().map_or(0, Bytes::len);
                    self.line.bytes += u64::try_from(len).unwrap_or(u64::MAX);
                }
                // The head is out, so the client sees a cut connection; the log says why.
                Some(Err(error)) => {
                    let cause = crate::error_chain(error);
                    self.line.cause.get_or_insert_with(|| cause.into());
                }
                None => self.line.complete = true,
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        // hyper does not ask for an end it knows from the length.
        if self.body.is_end_stream() {
            self.line.complete = true;
        }
    }
}
