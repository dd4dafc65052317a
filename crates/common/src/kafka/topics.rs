//! Topics are made by whoever needs them first.

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::{KafkaError as RdKafkaError, RDKafkaErrorCode},
};

use super::{ASK_TIMEOUT, KafkaConfig, KafkaError, QuietContext};

/// How many consumers of a group can share a topic.
const PARTITIONS: i32 = 6;
/// The broker's own default (KIP-464).
const BROKER_DEFAULT_REPLICATION: i32 = -1;

/// Make the topics that are not there yet. Any number of instances may do so at once.
pub async fn ensure_topics(config: &KafkaConfig, topics: &[&str]) -> Result<(), KafkaError> {
    if !config.enable_kafka {
        return Ok(());
    }
    let admin: AdminClient<QuietContext> = config.client().create_with_context(QuietContext)?;
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let replication = TopicReplication::Fixed(BROKER_DEFAULT_REPLICATION);
            NewTopic::new(topic, PARTITIONS, replication)
        })
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(ASK_TIMEOUT))
        .operation_timeout(Some(ASK_TIMEOUT));
    let made = tokio::time::timeout(ASK_TIMEOUT * 2, admin.create_topics(&wanted, &options))
        .await
        .map_err(|_| KafkaError::Timeout)
        .and_then(|made| made.map_err(KafkaError::Client));
    // Joins its thread and closes its connections, which blocks.
    tokio::task::spawn_blocking(move || drop(admin));
    for result in made? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let source = RdKafkaError::AdminOp(code);
                return Err(KafkaError::Topic { topic, source });
            }
        }
    }
    Ok(())
}
