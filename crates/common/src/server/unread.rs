//! Answers that are given before their request was read.
//!
//! What is left of such a request cannot be told from the next one's beginning unless it is read, which
//! nobody will: the connection ends after the answer. A client that is not told so sends its next request
//! into a connection that is about to close (RFC 9112 section 9.6).

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};
use http_body::{Frame, SizeHint};

/// Whether a request was read to its end.
#[derive(Debug)]
pub(super) struct Reading(Option<Arc<AtomicBool>>);

impl Reading {
    /// Watches a request being read.
    pub(super) fn of(request: Request) -> (Request, Self) {
        if request.body().is_end_stream() {
            return (request, Self(None));
        }
        let ended = Arc::new(AtomicBool::new(false));
        let reading = Self(Some(Arc::clone(&ended)));
        let request = request.map(|inner| Body::new(Watched { inner, ended }));
        (request, reading)
    }

    /// Says in an answer that the connection ends with it, if it has to.
    pub(super) fn mark(&self, answer: &mut Response) {
        if let Some(ended) = &self.0
            && !ended.load(Ordering::Acquire)
        {
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

struct Watched {
    inner: Body,
    ended: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.ended.store(true, Ordering::Release);
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
