//! Kafka: events between services, delivered at least once.
//!
//! Producing is idempotent with `acks=all` and a deadline; consuming commits after the work.
//! What must not be lost is not sent from a request but written to the [outbox](crate::outbox).

mod consumer;
mod producer;
mod topics;

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};
use rdkafka::{
    ClientConfig, ClientContext, config::RDKafkaLogLevel, error::KafkaError as RdKafkaError,
};

pub use consumer::{Received, consume};
pub use producer::Producer;
pub use topics::ensure_topics;

/// Deadline of a question to the cluster (metadata, making topics).
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Where Kafka is.
#[derive(Clone, Debug, Args)]
pub struct KafkaConfig {
    /// Brokers to begin with, `host:port,host:port`.
    #[arg(
        long,
        env = "KAFKA_BOOTSTRAP_SERVERS",
        default_value = "localhost:9092"
    )]
    pub kafka_bootstrap_servers: String,
    /// Whether events are sent and received at all; `false` drops them.
    #[arg(
        long,
        env = "ENABLE_KAFKA",
        default_value = "true",
        action = clap::ArgAction::Set,
        value_parser = BoolishValueParser::new(),
    )]
    pub enable_kafka: bool,
}

impl KafkaConfig {
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.kafka_bootstrap_servers)
            // A broker that comes back is found within seconds, not after the default's minute.
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("socket.timeout.ms", "10000");
        client
    }
}

/// Why Kafka did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The client refused or the cluster did.
    #[error("Kafka refused or did not answer")]
    Client(#[from] RdKafkaError),
    /// A topic could not be made.
    #[error("topic {topic} could not be made")]
    Topic {
        /// The topic.
        topic: String,
        /// What the cluster said.
        source: RdKafkaError,
    },
    /// The deadline passed.
    #[error("Kafka did not answer in time")]
    Timeout,
}

/// librdkafka reports each failed connection attempt of each broker several times a second. Our
/// own callers log an outage once, so these lines are for debugging.
#[derive(Clone, Copy, Debug, Default)]
struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message);
    }

    fn error(&self, error: RdKafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct TestConfig {
        #[command(flatten)]
        kafka: KafkaConfig,
    }

    fn enabled(args: &[&str]) -> bool {
        let args = std::iter::once(&"test").chain(args);
        TestConfig::try_parse_from(args).unwrap().kafka.enable_kafka
    }

    #[test]
    fn kafka_is_enabled_unless_it_is_switched_off() {
        assert!(enabled(&[]));
        assert!(enabled(&["--enable-kafka=1"]));
        assert!(!enabled(&["--enable-kafka=false"]));
        assert!(!enabled(&["--enable-kafka=0"]));
    }
}
