//! One answer that several clients read, each at its own pace.

use std::{
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use http::{Response, response::Parts};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use marquee_common::{BoxError, error_chain};
use tokio::{sync::watch, time::Instant};

use super::budget::Reserved;
use crate::error::ProxyError;

/// What is there so far. Kept until the last who reads it is gone, or was cut off.
#[derive(Debug, Default)]
struct Progress {
    head: Option<Head>,
    head_at: Option<Instant>,
    chunks: Vec<Bytes>,
    end: Option<Result<(), Broken>>,
    /// Given back with the chunks.
    held: Option<Reserved>,
}

/// How an answer began.
#[derive(Clone, Debug)]
enum Head {
    /// As something to be shared, of so many bytes.
    Shared(Parts, u64),
    /// As something that is not.
    Declined,
    /// Not at all.
    Failed(Arc<ProxyError>),
}

/// Why an answer ends in its middle.
#[derive(Clone, Debug, thiserror::Error)]
enum Broken {
    #[error("the joined answer broke off: {0}")]
    Upstream(Arc<str>),
    #[error("the joined answer was read too slowly")]
    TooSlow,
}

/// An answer in the making.
#[derive(Debug, Default)]
pub(super) struct Shared(watch::Sender<Progress>);

/// One client's place in it.
#[derive(Debug)]
pub(super) struct Follower(watch::Receiver<Progress>);

/// What a request gets.
#[derive(Debug)]
pub enum Joined {
    /// The answer that all get.
    Answer(Response<JoinedBody>),
    /// The answer is not for sharing, or there is no room for it: ask for oneself.
    Alone,
}

impl Shared {
    /// Takes part.
    pub(super) fn follow(&self) -> Follower {
        Follower(self.0.subscribe())
    }

    /// Whether it has not come, or so lately that it still is what the upstream would say.
    pub(super) fn is_joinable(&self, within: Duration) -> bool {
        let progress = self.0.borrow();
        progress.end.is_none() && progress.head_at.is_none_or(|at| at.elapsed() < within)
    }

    /// How many take part.
    pub(super) fn followers(&self) -> usize {
        self.0.receiver_count()
    }

    /// Waits until nobody takes part.
    pub(super) async fn deserted(&self) {
        self.0.closed().await;
    }

    /// There is no answer.
    pub(super) fn fail(&self, error: Arc<ProxyError>) {
        self.end_at(Head::Failed(error));
    }

    /// The answer is not for sharing.
    pub(super) fn decline(&self) {
        self.end_at(Head::Declined);
    }

    /// Reads an answer to its end.
    pub(super) async fn pass<B>(&self, answer: Response<B>, held: Reserved)
    where
        B: Body<Data = Bytes, Error = BoxError>,
    {
        let (parts, body) = answer.into_parts();
        self.0.send_modify(|progress| {
            progress.head = Some(Head::Shared(parts, held.bytes()));
            progress.head_at = Some(Instant::now());
            progress.held = Some(held);
        });
        let mut body = pin!(body);
        let mut ended = Ok(());
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(chunk)) => self.0.send_modify(|progress| progress.chunks.push(chunk)),
                Ok(Err(_trailers)) => {}
                Err(error) => {
                    ended = Err(Broken::Upstream(error_chain(error.as_ref()).into()));
                    break;
                }
            }
        }
        self.0.send_modify(|progress| progress.end = Some(ended));
    }

    /// Lets go of what has come; who has not read it to its end gets no more of it.
    pub(super) fn cut_off(&self) {
        self.0.send_modify(|progress| {
            progress.chunks = Vec::new();
            progress.held = None;
            progress.end = Some(Err(Broken::TooSlow));
        });
    }

    fn end_at(&self, head: Head) {
        self.0.send_modify(|progress| {
            progress.head = Some(head);
            progress.end = Some(Ok(()));
        });
    }
}

impl Follower {
    /// Waits for the answer's head.
    pub(super) async fn answer(mut self) -> Result<Joined, Arc<ProxyError>> {
        let begun = self.0.wait_for(|progress| progress.head.is_some()).await;
        // Who carries it died: an error that the log has.
        let Some(head) = begun.ok().and_then(|progress| progress.head.clone()) else {
            return Ok(Joined::Alone);
        };
        match head {
            Head::Failed(error) => Err(error),
            Head::Declined => Ok(Joined::Alone),
            Head::Shared(parts, bytes) => {
                let body = JoinedBody::new(self.0, bytes);
                Ok(Joined::Answer(Response::from_parts(parts, body)))
            }
        }
    }
}

/// One client's reading of a shared answer.
pub struct JoinedBody {
    chunks: BoxStream<'static, Result<Bytes, BoxError>>,
    /// Bytes to come.
    left: u64,
}

impl fmt::Debug for JoinedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedBody")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl JoinedBody {
    fn new(progress: watch::Receiver<Progress>, bytes: u64) -> Self {
        Self {
            chunks: chunks(progress).boxed(),
            left: bytes,
        }
    }
}

fn chunks(progress: watch::Receiver<Progress>) -> impl Stream<Item = Result<Bytes, BoxError>> {
    futures::stream::try_unfold((progress, 0), async |(mut progress, next)| {
        let chunk = {
            let came = progress
                .wait_for(|progress| progress.chunks.len() > next || progress.end.is_some())
                .await?;
            match (came.chunks.get(next), &came.end) {
                (Some(chunk), _) => Some(chunk.clone()),
                (None, Some(Err(broken))) => return Err(broken.clone().into()),
                (None, _) => None,
            }
        };
        Ok::<_, BoxError>(chunk.map(|chunk| (chunk, (progress, next + 1))))
    })
}

impl Body for JoinedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = self.chunks.poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            self.left = self.left.saturating_sub(chunk.len() as u64);
        }
        polled.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
