//! What is left of a request when its answer is given.
//!
//! The next request of the connection begins where this one ends, so somebody has to read it to its end.
//! A little is read and forgotten; before much, the connection ends, and the answer says so: a client
//! that does not know sends its next request into a connection that is about to close (RFC 9112 section
//! 9.6).

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};
use futures::StreamExt;
use http_body::{Frame, SizeHint};
use tokio::{runtime::Handle, time::timeout};

/// Most that is read and forgotten of a request, in bytes.
const MOST_FORGOTTEN: u64 = 256 * 1024;
/// How long that may take.
const LONGEST: Duration = Duration::from_secs(2);

/// How far a request has been read.
#[derive(Debug)]
pub(super) struct Reading(Option<Arc<AtomicU64>>);

impl Reading {
    /// Watches a request being read.
    pub(super) fn of(request: Request) -> (Request, Self) {
        if request.body().is_end_stream() {
            return (request, Self(None));
        }
        // To read is to ask for it; who asks first whether to send is told by the answer.
        let is_awaiting = request.headers().contains_key(header::EXPECT);
        let left = if is_awaiting {
            u64::MAX
        } else {
            request.body().size_hint().lower()
        };
        let left = Arc::new(AtomicU64::new(left));
        let reading = Self(Some(Arc::clone(&left)));
        let request = request.map(|inner| Body::new(Watched { inner, left }));
        (request, reading)
    }

    /// Says in an answer that the connection ends with it, if it has to.
    pub(super) fn mark(&self, answer: &mut Response) {
        if let Some(left) = &self.0
            && left.load(Ordering::Relaxed) > MOST_FORGOTTEN
        {
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// A request's body, which is read to its end although nobody wants it.
struct Watched {
    inner: Body,
    /// At least so many bytes are to come.
    left: Arc<AtomicU64>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.left
            .store(self.inner.size_hint().lower(), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.inner.is_end_stream() || self.left.load(Ordering::Relaxed) > MOST_FORGOTTEN {
            return;
        }
        let rest = std::mem::take(&mut self.inner);
        if let Ok(runtime) = Handle::try_current() {
            // Its end, however it comes, is the connection's to notice.
            runtime.spawn(timeout(LONGEST, forget(rest)));
        }
    }
}

async fn forget(rest: Body) {
    let mut rest = rest.into_data_stream();
    let mut forgotten = 0;
    while forgotten <= MOST_FORGOTTEN
        && let Some(Ok(data)) = rest.next().await
    {
        forgotten += data.len() as u64;
    }
}
