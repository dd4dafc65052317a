//! Receiving events: one loop a group, work before commit, order kept within a partition.
//!
//! A message whose handler fails is tried again, with backoff, before any later one of its
//! partition; the partition is paused meanwhile and the others go on.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rdkafka::{
    ClientContext, Message, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance, StreamConsumer},
    error::{KafkaError as RdKafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{KafkaConfig, KafkaError, QuietContext, ensure_topics};
use crate::{BoxError, error_chain, retry::Backoff};

/// A handler that takes longer has failed. Well below `max.poll.interval.ms`, after which the
/// group would give the partition to another.
const HANDLER_TIMEOUT: Duration = Duration::from_mins(2);

/// A message, as the handler gets it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Its key, if it has one that is text.
    pub key: Option<String>,
    /// Its content.
    pub payload: Bytes,
}

impl Received {
    /// The content as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.payload)
    }

    fn from_borrowed(message: &BorrowedMessage<'_>) -> Self {
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message
                .key()
                .and_then(|key| str::from_utf8(key).ok())
                .map(str::to_owned),
            payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        }
    }
}

/// Give every message of `topics` to `handler`, in order within a partition, until `stop`; then
/// finish the one at work and leave the group.
///
/// A message counts as done when the handler returns `Ok`; after a crash the last ones come
/// again, so handlers apply each event once by its `event_id`. `Err` (or 120 s) has it tried
/// again for as long as it takes: return `Ok` for a message that no retry can help, and log it.
///
/// Waits for Kafka for as long as it takes; with `ENABLE_KAFKA=false` it only waits for `stop`.
pub async fn consume<H, F, E>(
    config: KafkaConfig,
    group: impl Into<String>,
    topics: &'static [&'static str],
    stop: CancellationToken,
    handler: H,
) where
    H: Fn(Received) -> F + Send,
    F: Future<Output = Result<(), E>> + Send,
    E: Into<BoxError>,
{
    let group: String = group.into();
    if !config.enable_kafka {
        stop.cancelled().await;
        return;
    }
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    while !stop.is_cancelled() {
        let ended = match join_group(&config, &group, topics, &stop).await {
            Ok(consumer) => {
                backoff.reset();
                let ended = Loop::new(&consumer, &group, &handler).run(&stop).await;
                // Leaving the group talks to the broker and blocks.
                let _ = tokio::task::spawn_blocking(move || drop(consumer)).await;
                ended
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(group, error = error_chain(&error), "consuming again soon");
            let wait = backoff.next().unwrap_or_default();
            let _ = timeout(wait, stop.cancelled()).await;
        }
    }
}

async fn join_group(
    config: &KafkaConfig,
    group: &str,
    topics: &[&str],
    stop: &CancellationToken,
) -> Result<StreamConsumer<GroupContext>, KafkaError> {
    tokio::select! {
        made = ensure_topics(config, topics) => made?,
        () = stop.cancelled() => {}
    }
    let consumer: StreamConsumer<GroupContext> = config
        .client()
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        // An offset is stored after the work, and what is stored is committed every second, at
        // each rebalance and at the end.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "1000")
        .set("session.timeout.ms", "10000")
        .set("max.poll.interval.ms", "300000")
        // Bounds what is read ahead: messages are small and work is not.
        .set("queued.min.messages", "100")
        .set("queued.max.messages.kbytes", "4096")
        .create_with_context(GroupContext::default())?;
    consumer.subscribe(topics)?;
    Ok(consumer)
}

type Partition = (String, i32);

/// Notes which partitions were taken away, for the loop to forget them.
#[derive(Default)]
struct GroupContext {
    quiet: QuietContext,
    revoked: Arc<Mutex<Vec<Partition>>>,
}

impl GroupContext {
    fn take_revoked(&self) -> Vec<Partition> {
        std::mem::take(&mut *self.revoked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.quiet.log(level, facility, message);
    }

    fn error(&self, error: RdKafkaError, reason: &str) {
        self.quiet.error(error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
            for partition in partitions.elements() {
                revoked.push((partition.topic().to_owned(), partition.partition()));
            }
        }
    }
}

/// A partition whose first message waits for another try.
struct Held {
    messages: VecDeque<Received>,
    backoff: Backoff,
    retry_at: Instant,
}

struct Loop<'a, H> {
    consumer: &'a StreamConsumer<GroupContext>,
    group: &'a str,
    handler: &'a H,
    held: HashMap<Partition, Held>,
}

impl<'a, H, F, E> Loop<'a, H>
where
    H: Fn(Received) -> F + Send,
    F: Future<Output = Result<(), E>> + Send,
    E: Into<BoxError>,
{
    fn new(consumer: &'a StreamConsumer<GroupContext>, group: &'a str, handler: &'a H) -> Self {
        Self {
            consumer,
            group,
            handler,
            held: HashMap::new(),
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> Result<(), KafkaError> {
        loop {
            let next_retry = self.next_retry();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                received = self.consumer.recv() => {
                    self.forget_revoked();
                    match received {
                        Ok(message) => self.take(Received::from_borrowed(&message)).await,
                        Err(error) => pause_after(error).await?,
                    }
                }
                () = sleep_until(next_retry) => {
                    self.forget_revoked();
                    self.retry_due().await;
                }
            }
        }
    }

    fn next_retry(&self) -> Instant {
        self.held
            .values()
            .map(|held| held.retry_at)
            .min()
            // Nothing to retry: far off, and any message comes first.
            .unwrap_or_else(|| Instant::now() + Duration::from_hours(1))
    }

    /// What was held of a partition that is no longer ours comes to its new owner.
    fn forget_revoked(&mut self) {
        for partition in self.consumer.context().take_revoked() {
            self.held.remove(&partition);
        }
    }

    async fn take(&mut self, message: Received) {
        let partition = (message.topic.clone(), message.partition);
        if let Some(held) = self.held.get_mut(&partition) {
            // Read ahead before the pause: it waits behind the one that failed.
            held.messages.push_back(message);
            return;
        }
        if self.work(&message).await {
            return;
        }
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let retry_at = Instant::now() + backoff.next().unwrap_or_default();
        self.pause(&partition);
        self.held.insert(
            partition,
            Held {
                messages: VecDeque::from([message]),
                backoff,
                retry_at,
            },
        );
    }

    async fn retry_due(&mut self) {
        let now = Instant::now();
        let due: Vec<Partition> = self
            .held
            .iter()
            .filter(|(_, held)| held.retry_at <= now)
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in due {
            let Some(mut held) = self.held.remove(&partition) else {
                continue;
            };
            // One message a turn, so that the loop polls in between.
            match held.messages.front() {
                Some(message) if self.work(message).await => {
                    held.messages.pop_front();
                    held.backoff.reset();
                }
                Some(_) => held.retry_at = Instant::now() + held.backoff.next().unwrap_or_default(),
                None => {}
            }
            if held.messages.is_empty() {
                self.resume(&partition);
            } else {
                self.held.insert(partition, held);
            }
        }
    }

    /// Whether the handler did it; then its offset is stored.
    async fn work(&self, message: &Received) -> bool {
        let result = match timeout(HANDLER_TIMEOUT, (self.handler)(message.clone())).await {
            Ok(result) => result.map_err(|error| error_chain(error.into().as_ref())),
            Err(_) => Err(format!("no end within {} s", HANDLER_TIMEOUT.as_secs())),
        };
        let Received {
            topic,
            partition,
            offset,
            ..
        } = message;
        match result {
            Ok(()) => {
                // Fails only when the partition is no longer ours.
                let _ = self.consumer.store_offset(topic, *partition, *offset);
                true
            }
            Err(error) => {
                let group = self.group;
                tracing::warn!(
                    group,
                    topic,
                    partition,
                    offset,
                    error,
                    "event not applied yet"
                );
                false
            }
        }
    }

    fn pause(&self, partition: &Partition) {
        if let Err(error) = self.consumer.pause(&list_of(partition)) {
            tracing::debug!(%error, "pause");
        }
    }

    fn resume(&self, partition: &Partition) {
        if let Err(error) = self.consumer.resume(&list_of(partition)) {
            tracing::debug!(%error, "resume");
        }
    }
}

fn list_of((topic, partition): &Partition) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, *partition);
    list
}

/// librdkafka heals most of what it reports; what it does not ends this consumer.
async fn pause_after(error: RdKafkaError) -> Result<(), KafkaError> {
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
        return Err(error.into());
    }
    tracing::debug!(%error, "consumer");
    sleep(Duration::from_millis(100)).await;
    Ok(())
}
