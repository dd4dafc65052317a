//! A request's body on its way to the upstream: as it comes, and watched from outside.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, header::TRANSFER_ENCODING};
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// Nothing, or what the client sends.
#[derive(Debug)]
pub enum RequestBody {
    /// No body.
    Empty,
    /// The client's.
    Streamed(Incoming, Upload),
}

impl RequestBody {
    /// The client's body.
    pub fn new(body: Incoming) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        Self::Streamed(body, Upload::default())
    }

    /// Whether the request can be sent again.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// How far it has come.
    pub fn upload(&self) -> Option<Upload> {
        match self {
            Self::Empty => None,
            Self::Streamed(_, upload) => Some(upload.clone()),
        }
    }
}

/// Says that a body of unknown length comes, without which a GET or HEAD would be sent without it.
pub fn announce(request: &mut Request<RequestBody>) {
    if request.body().size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

const AWAITING_CLIENT: u8 = 0;
const AWAITING_UPSTREAM: u8 = 1;
const DONE: u8 = 2;
const CLIENT_GONE: u8 = 3;

/// How far a body has come.
#[derive(Clone, Debug)]
pub struct Upload(Arc<(AtomicU8, AtomicU64)>);

impl Default for Upload {
    fn default() -> Self {
        Self(Arc::new((
            AtomicU8::new(AWAITING_UPSTREAM),
            AtomicU64::new(0),
        )))
    }
}

impl Upload {
    /// Whether all of it was handed on, or the client broke off.
    pub fn is_over(&self) -> bool {
        self.state() >= DONE
    }

    /// Whether the client broke off.
    pub fn is_client_gone(&self) -> bool {
        self.state() == CLIENT_GONE
    }

    /// Whether it is the client whose next bytes are missing.
    pub fn awaits_client(&self) -> bool {
        self.state() == AWAITING_CLIENT
    }

    /// Pieces so far: while this rises, both ends are there.
    pub fn pieces(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }

    fn state(&self) -> u8 {
        self.0.0.load(Ordering::Relaxed)
    }

    fn set(&self, state: u8) {
        self.0.0.store(state, Ordering::Relaxed);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self::Streamed(body, upload) = self.get_mut() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        upload.set(match &polled {
            Poll::Pending => AWAITING_CLIENT,
            Poll::Ready(None) => DONE,
            Poll::Ready(Some(Err(_))) => CLIENT_GONE,
            // hyper does not ask again once the announced length has passed.
            Poll::Ready(Some(Ok(_))) if body.is_end_stream() => DONE,
            Poll::Ready(Some(Ok(_))) => AWAITING_UPSTREAM,
        });
        if polled.is_ready() {
            upload.0.1.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(body, _) => body.size_hint(),
        }
    }
}
