//! One answer that several clients read, each at its own pace.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
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

use super::Reserved;
use crate::{connections::Download, error::ProxyError};

/// What is there so far. Kept until the last who reads it is gone.
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
    /// As something to be shared.
    Shared(Parts),
    /// As something that is not; the first who comes may have it.
    Declined(Arc<Mutex<Option<Response<Download>>>>),
    /// Not at all.
    Failed(Arc<ProxyError>),
}

/// The upstream broke off in the middle of an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the joined answer broke off: {0}")]
struct Broken(Arc<str>);

/// An answer in the making.
#[derive(Debug, Default)]
pub(super) struct Shared(watch::Sender<Progress>);

/// One client's place in it.
#[derive(Debug)]
pub(super) struct Follower(watch::Receiver<Progress>);

/// What a follower gets.
#[derive(Debug)]
pub enum Joined {
    /// The answer that all get.
    Answer(Response<JoinedBody>),
    /// An answer that is not for sharing, and that nobody else gets.
    Own(Response<Download>),
    /// The answer is not for sharing, and somebody else's: ask for oneself.
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
        self.begin(Head::Failed(error), None);
    }

    /// The answer is not for sharing.
    pub(super) fn decline(&self, answer: Response<Download>) {
        let answer = Arc::new(Mutex::new(Some(answer)));
        self.begin(Head::Declined(answer), None);
    }

    /// Reads an answer to its end.
    pub(super) async fn pass(&self, answer: Response<Download>, held: Reserved) {
        let (parts, mut body) = answer.into_parts();
        self.begin(Head::Shared(parts), Some(held));
        let mut end = Ok(());
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(chunk)) => self.0.send_modify(|progress| progress.chunks.push(chunk)),
                Ok(Err(_trailers)) => {}
                Err(error) => {
                    end = Err(Broken(error_chain(error.as_ref()).into()));
                    break;
                }
            }
        }
        self.0.send_modify(|progress| progress.end = Some(end));
    }

    fn begin(&self, head: Head, held: Option<Reserved>) {
        self.0.send_modify(|progress| {
            progress.head = Some(head);
            progress.head_at = Some(Instant::now());
            progress.held = held;
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
            Head::Declined(response) => {
                let own = response
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                Ok(own.map_or(Joined::Alone, Joined::Own))
            }
            Head::Shared(head) => {
                let body = JoinedBody::new(self.0, &head);
                Ok(Joined::Answer(Response::from_parts(head, body)))
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
    fn new(progress: watch::Receiver<Progress>, head: &Parts) -> Self {
        let length = progress.borrow().held.as_ref().map_or(0, |held| held.bytes);
        Self {
            chunks: chunks(progress).boxed(),
            // A 204 has none, whatever it says.
            left: if head.status.is_informational() {
                0
            } else {
                length
            },
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
