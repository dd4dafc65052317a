//! Sending events.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord, Producer as _},
};

use super::{ASK_TIMEOUT, KafkaConfig, KafkaError, QuietContext, ensure_topics};

/// How long a message is tried, its wait in the local queue included.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// For the local queue to accept a message.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends with idempotence and `acks=all`; a cheap clone. Made without I/O, so that Kafka may come
/// later than the service. With `ENABLE_KAFKA=false` every send succeeds and does nothing.
#[derive(Clone)]
pub struct Producer(Arc<Inner>);

struct Inner {
    config: KafkaConfig,
    /// `None`: Kafka is not enabled. Replaced after a fatal error, which an idempotent producer
    /// does not survive.
    producer: Option<Mutex<FutureProducer<QuietContext>>>,
    /// Topics known to exist.
    topics: Mutex<HashSet<String>>,
}

impl Producer {
    /// Fails only when librdkafka refuses the settings.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let producer = if config.enable_kafka {
            Some(Mutex::new(create(config)?))
        } else {
            None
        };
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            producer,
            topics: Mutex::default(),
        })))
    }

    /// Send one message and wait until all in-sync replicas have it, at most 10 s. The topic is
    /// made if need be. After an error it is not known whether the message arrived; sending it
    /// again may double it.
    pub async fn send(&self, topic: &str, key: &str, payload: &[u8]) -> Result<(), KafkaError> {
        let Some(producer) = self.current() else {
            return Ok(());
        };
        self.ensure_topic(topic).await?;
        let record = FutureRecord::to(topic).key(key).payload(payload);
        match producer.send(record, QUEUE_TIMEOUT).await {
            Ok(_) => Ok(()),
            Err((error, _)) => {
                self.replace_if_dead(&producer);
                Err(error.into())
            }
        }
    }

    /// Whether a broker answers, for a readiness check.
    pub async fn ping(&self) -> Result<(), KafkaError> {
        let Some(producer) = self.current() else {
            return Ok(());
        };
        let asked = tokio::task::spawn_blocking(move || {
            producer.client().fetch_metadata(None, ASK_TIMEOUT)
        });
        match asked.await {
            Ok(answer) => answer.map(|_| ()).map_err(KafkaError::Client),
            // The runtime is shutting down.
            Err(_) => Err(KafkaError::Timeout),
        }
    }

    fn current(&self) -> Option<FutureProducer<QuietContext>> {
        let producer = self.0.producer.as_ref()?;
        Some(
            producer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }

    async fn ensure_topic(&self, topic: &str) -> Result<(), KafkaError> {
        let known = |topics: &Mutex<HashSet<String>>| {
            topics
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(topic)
        };
        if known(&self.0.topics) {
            return Ok(());
        }
        ensure_topics(&self.0.config, &[topic]).await?;
        self.0
            .topics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(topic.to_owned());
        Ok(())
    }

    fn replace_if_dead(&self, used: &FutureProducer<QuietContext>) {
        let Some((code, reason)) = used.client().fatal_error() else {
            return;
        };
        let Some(slot) = &self.0.producer else {
            return;
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        // Another task may have been faster.
        if slot.client().fatal_error().is_none() {
            return;
        }
        tracing::error!(%code, reason, "the producer died; starting another");
        match create(&self.0.config) {
            Ok(producer) => *slot = producer,
            Err(error) => tracing::error!(%error, "no other producer could be started"),
        }
    }
}

fn create(config: &KafkaConfig) -> Result<FutureProducer<QuietContext>, KafkaError> {
    let mut client: ClientConfig = config.client();
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set(
            "message.timeout.ms",
            DELIVERY_TIMEOUT.as_millis().to_string(),
        )
        .set("linger.ms", "2")
        // What may wait in memory while Kafka is away; the outbox holds the rest.
        .set("queue.buffering.max.messages", "10000")
        .set("queue.buffering.max.kbytes", "16384");
    Ok(client.create_with_context(QuietContext)?)
}
