//! The body of every answer that this server gives, whoever made it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use marquee_common::{BoxError, error_chain};

use crate::{access_log::Line, coalesce::JoinedBody, connections::Download};

/// A body, and the log line that is written when it is over.
#[derive(Debug)]
pub struct Answer {
    body: Source,
    line: Option<Line>,
}

/// Where a body comes from. An enum and not a box: this is the hot path.
#[derive(Debug)]
pub enum Source {
    /// An upstream.
    Upstream(Download),
    /// An upstream that several were answered by at once.
    Joined(JoinedBody),
    /// The proxy itself.
    Own(Full<Bytes>),
    /// The routes beside `/stream`, which write their own log.
    Api(axum::body::Body),
}

impl Answer {
    /// A body whose end is logged.
    pub fn new(body: Source, line: Line) -> Self {
        Self {
            body,
            line: Some(line),
        }
    }

    /// A body that somebody else logs.
    pub fn unlogged(body: Source) -> Self {
        Self { body, line: None }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = match &mut this.body {
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
            Source::Joined(body) => Pin::new(body).poll_frame(cx),
            Source::Own(body) => boxed(Pin::new(body).poll_frame(cx)),
            Source::Api(body) => boxed(Pin::new(body).poll_frame(cx)),
        };
        if let (Some(line), Poll::Ready(frame)) = (&mut this.line, &polled) {
            match frame {
                Some(Ok(frame)) => line.count(frame.data_ref().map_or(0, Bytes::len)),
                // The head is out, so the client sees a cut connection; the log says why.
                Some(Err(error)) => line.fail(error_chain(error.as_ref()).into()),
                None => line.complete(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Upstream(body) => body.is_end_stream(),
            Source::Joined(body) => body.is_end_stream(),
            Source::Own(body) => body.is_end_stream(),
            Source::Api(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Upstream(body) => body.size_hint(),
            Source::Joined(body) => body.size_hint(),
            Source::Own(body) => body.size_hint(),
            Source::Api(body) => body.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // hyper does not ask for an end that it knows from the length.
        if self.is_end_stream()
            && let Some(line) = &mut self.line
        {
            line.complete();
        }
    }
}

fn boxed<E: Into<BoxError>>(
    polled: Poll<Option<Result<Frame<Bytes>, E>>>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
}
