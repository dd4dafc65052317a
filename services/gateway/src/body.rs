//! Bodies on their way through: never collected, counted, and never waited for without end.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use marquee_common::BoxError;
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{error::GatewayError, pool::PooledBody};

/// How far a request body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UploadState {
    /// The client's next bytes are awaited.
    AwaitingClient,
    /// The client is ahead; the upstream has yet to take what it sent.
    AwaitingUpstream,
    /// All of it was handed on.
    Done,
    /// It was larger than allowed and cut off.
    TooLarge,
    /// The client broke off.
    ClientGone,
}

impl UploadState {
    const ALL: [Self; 5] = [
        Self::AwaitingClient,
        Self::AwaitingUpstream,
        Self::Done,
        Self::TooLarge,
        Self::ClientGone,
    ];
}

/// Watches an [`Upload`] from outside, while hyper owns it.
#[derive(Clone, Debug)]
pub struct UploadWatch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    /// How many pieces came so far.
    pieces: AtomicU64,
    done: Notify,
}

impl UploadWatch {
    fn new(state: UploadState) -> Self {
        Self(Arc::new(Shared {
            state: AtomicU8::new(state as u8),
            pieces: AtomicU64::new(0),
            done: Notify::new(),
        }))
    }

    /// How far the body has come.
    pub fn state(&self) -> UploadState {
        UploadState::ALL
            .get(usize::from(self.0.state.load(Ordering::Acquire)))
            .copied()
            .unwrap_or(UploadState::Done)
    }

    /// How many pieces of the body came so far: while it rises, the client is there.
    pub fn pieces(&self) -> u64 {
        self.0.pieces.load(Ordering::Relaxed)
    }

    /// Whether the body was handed on, whole or not.
    pub fn is_done(&self) -> bool {
        !matches!(
            self.state(),
            UploadState::AwaitingClient | UploadState::AwaitingUpstream
        )
    }

    /// Waits until [`Self::is_done`].
    pub async fn done(&self) {
        while !self.is_done() {
            // One waiter: notify_one keeps a permit for it if it is not here yet.
            self.0.done.notified().await;
        }
    }

    fn set(&self, state: UploadState) {
        self.0.state.store(state as u8, Ordering::Release);
        if self.is_done() {
            self.0.done.notify_one();
        }
    }
}

/// A request body that is counted while it passes.
#[derive(Debug)]
pub struct Upload {
    inner: Body,
    left: Option<u64>,
    watch: UploadWatch,
}

/// The body is larger than its route takes.
#[derive(Debug, thiserror::Error)]
#[error("the body is too large")]
pub struct TooLarge;

impl Upload {
    /// Passes at most `limit` bytes of `body`.
    pub fn new(body: Body, limit: Option<u64>) -> (Self, UploadWatch) {
        let state = if body.is_end_stream() {
            UploadState::Done
        } else {
            UploadState::AwaitingUpstream
        };
        let watch = UploadWatch::new(state);
        let upload = Self {
            inner: body,
            left: limit,
            watch: watch.clone(),
        };
        (upload, watch)
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), TooLarge> {
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            *left = left.checked_sub(data.len() as u64).ok_or(TooLarge)?;
        }
        Ok(())
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(polled) = Pin::new(&mut this.inner).poll_frame(cx) else {
            this.watch.set(UploadState::AwaitingClient);
            return Poll::Pending;
        };
        let (state, polled) = match polled {
            None => (UploadState::Done, None),
            Some(Err(error)) => (UploadState::ClientGone, Some(Err(error.into()))),
            Some(Ok(frame)) => match this.count(&frame) {
                Err(error) => (UploadState::TooLarge, Some(Err(error.into()))),
                // hyper does not ask again once the announced length has passed.
                Ok(()) if this.inner.is_end_stream() => (UploadState::Done, Some(Ok(frame))),
                Ok(()) => (UploadState::AwaitingUpstream, Some(Ok(frame))),
            },
        };
        this.watch.0.pieces.fetch_add(1, Ordering::Relaxed);
        this.watch.set(state);
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads a body that is needed whole: at most `limit` bytes, and no longer than `within`.
pub async fn read_whole(body: Body, limit: u64, within: Duration) -> Result<Bytes, GatewayError> {
    // An announced length is refused before a byte of it is read.
    if body.size_hint().lower() > limit {
        return Err(GatewayError::TooLarge);
    }
    let (upload, watch) = Upload::new(body, Some(limit));
    match timeout(within, upload.collect()).await {
        Err(_) => Err(GatewayError::ClientTooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) if watch.state() == UploadState::TooLarge => Err(GatewayError::TooLarge),
        Ok(Err(error)) => Err(GatewayError::ClientGone(error)),
    }
}

/// An answer's body that breaks off when its service falls silent half-way. One that would never end
/// by itself, an event stream, ends with the gateway: its client comes back to another one.
pub struct Download {
    inner: PooledBody,
    silence: Duration,
    /// Runs only while nothing comes.
    timer: Option<Pin<Box<Sleep>>>,
    /// The end of a body that broke off.
    failure: Option<BoxError>,
    /// Ends the body as if the service had.
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Nothing came for too long.
#[derive(Debug, thiserror::Error)]
#[error("the service fell silent in the middle of its answer")]
pub struct Silent;

impl Download {
    /// Passes `body` on, and breaks it off after `silence` without a byte.
    pub fn new(body: PooledBody, silence: Duration) -> Self {
        Self {
            inner: body,
            silence,
            timer: None,
            failure: None,
            end: None,
        }
    }

    /// Ends the body, cleanly, when `token` is cancelled.
    #[must_use]
    pub fn until(mut self, token: CancellationToken) -> Self {
        self.end = Some(Box::pin(token.cancelled_owned()));
        self
    }

    /// Breaks the body off at the next poll: told of a failure, hyper drops what it has yet to write,
    /// be it all of the answer that came.
    fn fail<T>(&mut self, error: BoxError, cx: &Context<'_>) -> Poll<T> {
        self.failure = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(error) = this.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Poll::Ready(polled) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.timer = None;
            return match polled {
                Some(Err(error)) => this.fail(error.into(), cx),
                frame => Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from))),
            };
        }
        if let Some(end) = &mut this.end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        let silence = this.silence;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(silence)));
        ready!(timer.as_mut().poll(cx));
        // Should it be asked again, it is not silent for good at once.
        timer.as_mut().reset(Instant::now() + silence);
        Poll::Ready(Some(Err(Silent.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use axum::body::Body;
    use bytes::Bytes;
    use futures::stream;
    use http_body_util::BodyExt;

    use super::{Upload, UploadState};

    fn chunks(sizes: &'static [usize]) -> Body {
        let chunks = sizes
            .iter()
            .map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![0; *size])));
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_passes() {
        let (upload, watch) = Upload::new(chunks(&[4, 6]), Some(10));
        assert_eq!(upload.collect().await.unwrap().to_bytes().len(), 10);
        watch.done().await;
        assert_eq!(watch.state(), UploadState::Done);
    }

    #[tokio::test]
    async fn a_body_without_announced_length_is_cut_off_at_the_limit() {
        let (upload, watch) = Upload::new(chunks(&[4, 7]), Some(10));
        assert!(upload.collect().await.is_err());
        watch.done().await;
        assert_eq!(watch.state(), UploadState::TooLarge);
    }

    #[tokio::test]
    async fn without_a_limit_everything_passes() {
        let (upload, _) = Upload::new(chunks(&[1 << 20, 1 << 20]), None);
        assert_eq!(upload.collect().await.unwrap().to_bytes().len(), 2 << 20);
    }

    #[tokio::test]
    async fn no_body_is_done_from_the_start() {
        let (_, watch) = Upload::new(Body::empty(), Some(0));
        assert_eq!(watch.state(), UploadState::Done);
    }
}
