//! A line for every request to a stream, written off the hot path.
//!
//! A worker puts its lines together in memory of its own; a thread writes what has come together,
//! several times a second. Whoever reads the log slowly holds up no viewer: what does not fit into
//! the queue is counted and dropped.

mod format;
mod writer;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, TrySendError},
    },
    time::Instant,
};

use http::{
    HeaderMap, HeaderValue, Method, Version,
    header::{REFERER, USER_AGENT},
    uri::PathAndQuery,
};

pub use format::Format;
pub use writer::LogWriter;

use self::format::Clock;
use crate::{lookup::Route, measurements::Measurements};

/// Lines are handed over when they are so many bytes, or [`AccessLog::flush`] is called.
const HANDOVER_BYTES: usize = 32 * 1024;

/// One worker's lines. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: Format,
    lines: Arc<Mutex<Lines>>,
    writer: SyncSender<Vec<u8>>,
    measurements: Measurements,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
    clock: Clock,
}

/// A request's line in the making; written, and measured, when it is dropped.
#[derive(Debug)]
pub struct Line {
    log: AccessLog,
    request: LoggedRequest,
    route: Option<Arc<Route>>,
    /// Logged for a client that left before the answer began (nginx' number for it).
    status: u16,
    head_ms: u64,
    bytes: u64,
    is_complete: bool,
    cause: Option<Arc<str>>,
}

/// What of a request is logged.
#[derive(Debug)]
struct LoggedRequest {
    began: Instant,
    client: IpAddr,
    method: Method,
    target: PathAndQuery,
    version: Version,
    request_id: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

const CLIENT_CLOSED_REQUEST: u16 = 499;

impl AccessLog {
    /// Lines in `format`, handed to `writer`.
    pub fn new(format: Format, writer: &LogWriter, measurements: Measurements) -> Self {
        Self {
            format,
            lines: Arc::default(),
            writer: writer.sender(),
            measurements,
        }
    }

    /// Begins a request's line.
    pub fn begin<B>(&self, request: &http::Request<B>, client: IpAddr) -> Line {
        let header = |name| {
            self.format
                .names_agents()
                .then(|| value(request.headers(), name))
        };
        Line {
            log: self.clone(),
            request: LoggedRequest {
                began: Instant::now(),
                client,
                method: request.method().clone(),
                target: request
                    .uri()
                    .path_and_query()
                    .cloned()
                    .unwrap_or(PathAndQuery::from_static("/")),
                version: request.version(),
                request_id: None,
                referer: header(&REFERER).flatten(),
                user_agent: header(&USER_AGENT).flatten(),
            },
            route: None,
            status: CLIENT_CLOSED_REQUEST,
            head_ms: 0,
            bytes: 0,
            is_complete: false,
            cause: None,
        }
    }

    /// Hands over what has come together.
    pub fn flush(&self) {
        self.hand_over(&mut self.lines());
    }

    fn write(&self, line: &Line) {
        if self.format == Format::Off {
            return;
        }
        let mut lines = self.lines();
        let Lines { text, count, clock } = &mut *lines;
        self.format.write(text, clock, line);
        *count += 1;
        if text.len() >= HANDOVER_BYTES {
            self.hand_over(&mut lines);
        }
    }

    fn hand_over(&self, lines: &mut Lines) {
        if lines.text.is_empty() {
            return;
        }
        let room = Vec::with_capacity(HANDOVER_BYTES + HANDOVER_BYTES / 8);
        let text = std::mem::replace(&mut lines.text, room);
        let count = std::mem::take(&mut lines.count);
        match self.writer.try_send(text) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.measurements.lost_lines.increment(count);
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value(headers: &HeaderMap, name: &http::HeaderName) -> Option<HeaderValue> {
    headers.get(name).cloned()
}

impl Line {
    /// Whose request it is, as the proxies in front have told.
    pub fn set_client(&mut self, client: IpAddr) {
        self.request.client = client;
    }

    /// The id under which it is known here and at the upstream.
    pub fn set_request_id(&mut self, id: HeaderValue) {
        self.request.request_id = Some(id);
    }

    /// The id as text.
    pub fn request_id(&self) -> Option<&str> {
        self.request.request_id.as_ref()?.to_str().ok()
    }

    /// Where it goes.
    pub fn set_route(&mut self, route: Arc<Route>) {
        self.route = Some(route);
    }

    /// The answer has begun.
    pub fn head_is_out(&mut self, status: u16) {
        self.status = status;
        let took = self.request.began.elapsed();
        self.head_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // Answers that have no body to be read to its end.
        self.is_complete = self.request.method == Method::HEAD || matches!(status, 101 | 204 | 304);
        self.log.measurements.answered(status, took);
    }

    /// So many bytes of its body are out.
    pub fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Why it is an error, or was broken off.
    pub fn fail(&mut self, cause: Arc<str>) {
        self.cause.get_or_insert(cause);
    }

    /// All of the body is out.
    pub fn complete(&mut self) {
        self.is_complete = true;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.status == CLIENT_CLOSED_REQUEST {
            let took = self.request.began.elapsed();
            self.log.measurements.answered(self.status, took);
        }
        self.log.write(self);
    }
}
