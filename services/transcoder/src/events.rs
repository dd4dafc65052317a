//! The webhook: one broadcast's events to the stream service, in order, tried again until they
//! are answered; each answer is the authority's word on the broadcast.

use std::time::Duration;

use marquee_common::{
    contract::{
        BroadcastId, EventId, StreamId,
        ingest::{BroadcastState, EventReceipt, TranscoderEvent, TranscoderEventKind},
    },
    retry::Backoff,
};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

use crate::authority::Authority;

/// Events that may wait for the stream service.
const QUEUE: usize = 256;
/// Health samples are dropped when fewer places than this are left: the next one says more.
const KEPT_FOR_STATUS: usize = QUEUE - 16;
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// The authority's word on a broadcast that this process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is over: write `#EXT-X-ENDLIST` and let go.
    Ended,
    /// Another transcoder holds it: let go and write nothing more.
    Superseded,
}

/// Sends one broadcast's events.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Sender<Item>,
    broadcast_id: BroadcastId,
    seq: u64,
}

#[derive(Debug)]
enum Item {
    Event(Box<TranscoderEvent>),
    Flush(oneshot::Sender<()>),
}

impl Events {
    /// A sender and the task that delivers; the task ends when the sender is dropped and the queue
    /// is empty. Words go to `words`.
    pub fn new(
        authority: Authority,
        stream_id: StreamId,
        broadcast_id: BroadcastId,
        words: mpsc::Sender<Word>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, items) = mpsc::channel(QUEUE);
        let events = Self {
            queue,
            broadcast_id,
            seq: 0,
        };
        (events, deliver(authority, stream_id, items, words))
    }

    /// Queues an event that happened now under `epoch`.
    pub fn send(&mut self, epoch: u64, kind: TranscoderEventKind) {
        let is_sample = matches!(kind, TranscoderEventKind::Health(_));
        if is_sample && self.queue.capacity() < KEPT_FOR_STATUS {
            return;
        }
        self.seq += 1;
        let event = TranscoderEvent {
            event_id: EventId::new(),
            broadcast_id: self.broadcast_id,
            epoch,
            seq: self.seq,
            at: OffsetDateTime::now_utc(),
            kind,
        };
        if self.queue.try_send(Item::Event(Box::new(event))).is_err() {
            tracing::error!("the stream service has been away so long that an event is dropped");
        }
    }

    /// Waits until all events so far are answered, at most `limit`; tells whether they are.
    pub async fn flush(&self, limit: Duration) -> bool {
        let (done, answered) = oneshot::channel();
        let flushed =
            async { self.queue.send(Item::Flush(done)).await.is_ok() && answered.await.is_ok() };
        tokio::time::timeout(limit, flushed).await.unwrap_or(false)
    }
}

async fn deliver(
    authority: Authority,
    stream_id: StreamId,
    mut items: mpsc::Receiver<Item>,
    words: mpsc::Sender<Word>,
) {
    while let Some(item) = items.recv().await {
        match item {
            Item::Flush(done) => {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
            Item::Event(event) => {
                let Some(receipt) = deliver_one(&authority, stream_id, &event, &words).await else {
                    continue;
                };
                // Whether a higher epoch was granted elsewhere or here, the next renewal tells.
                if receipt.broadcast == BroadcastState::Ended && receipt.epoch <= event.epoch {
                    // The session is gone: nobody needs the word.
                    let _ = words.send(Word::Ended).await;
                }
            }
        }
    }
}

/// Delivers one event; `None` when it cannot be, for good or because nobody waits any more.
async fn deliver_one(
    authority: &Authority,
    stream_id: StreamId,
    event: &TranscoderEvent,
    words: &mpsc::Sender<Word>,
) -> Option<EventReceipt> {
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    loop {
        let error = match authority.deliver(stream_id, event).await {
            Ok(receipt) => return Some(receipt),
            Err(error) => error,
        };
        match error.status().map(|status| status.as_u16()) {
            // The stream or its broadcast is gone: there is nothing left to write for. Without a
            // code it is not the stream service that says so, but something in between.
            Some(404 | 410) if !error.code().is_empty() => {
                return Some(EventReceipt {
                    epoch: event.epoch,
                    broadcast: BroadcastState::Ended,
                });
            }
            Some(400..=428 | 430..=499) if !error.code().is_empty() => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the stream service does not take an event"
                );
                return None;
            }
            _ => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "an event waits for the stream service"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next().unwrap_or(LAST_RETRY)) => {}
            () = words.closed() => return None,
        }
    }
}
