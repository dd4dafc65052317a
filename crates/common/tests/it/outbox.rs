//! Events that are rows first.

use std::{collections::HashMap, time::Duration};

use marquee_common::{
    kafka::{KafkaConfig, Producer},
    outbox::{self, OUTBOX_DDL, enqueue},
};
use marquee_testkit::{TestDatabase, database, eventually};
use serde_json::json;
use sqlx::{Executor, PgPool};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    kafka::Consumer,
    setup::{PATIENCE, kafka_config, unique},
};

async fn outbox() -> (TestDatabase, PgPool) {
    let database = database("outbox").await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    pool.execute(OUTBOX_DDL).await.unwrap();
    (database, pool)
}

struct Relay {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Relay {
    fn start(pool: &PgPool) -> Self {
        Self::start_with(pool, &kafka_config())
    }

    fn start_with(pool: &PgPool, kafka: &KafkaConfig) -> Self {
        let stop = CancellationToken::new();
        let producer = Producer::new(kafka).unwrap();
        let running = tokio::spawn(outbox::relay(pool.clone(), producer, stop.clone()));
        Self { stop, running }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

async fn put(pool: &PgPool, topic: &str, key: &str, number: u32) {
    let mut transaction = pool.begin().await.unwrap();
    enqueue(&mut transaction, topic, key, &number)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

async fn unsent(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn until_all_sent(pool: &PgPool) {
    eventually("all rows are sent", PATIENCE * 2, async || {
        (unsent(pool).await == 0).then_some(())
    })
    .await;
}

/// What each key's first deliveries were, in order; at-least-once may repeat some.
fn first_deliveries(consumer: &Consumer) -> HashMap<String, Vec<u32>> {
    let mut by_key: HashMap<String, Vec<u32>> = HashMap::new();
    for message in consumer.got.lock().unwrap().iter() {
        let numbers = by_key.entry(message.key.clone().unwrap()).or_default();
        let number = message.json().unwrap();
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    by_key
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_event_is_sent_and_a_rolled_back_one_is_not() {
    let (_database, pool) = outbox().await;
    let topic = unique("live");
    let relay = Relay::start(&pool);

    let mut transaction = pool.begin().await.unwrap();
    enqueue(&mut transaction, topic, "a", &json!({"type": "never"}))
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    enqueue(
        &mut transaction,
        topic,
        "a",
        &json!({"type": "live.started"}),
    )
    .await
    .unwrap();
    transaction.commit().await.unwrap();

    let consumer = Consumer::start(unique("group"), topic);
    consumer.until_got(1).await;
    until_all_sent(&pool).await;
    assert_eq!(consumer.stop().await, [r#"{"type": "live.started"}"#]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_in_order_of_its_key_though_relays_come_and_go() {
    let (_database, pool) = outbox().await;
    let topic = unique("live");
    let keys = ["a", "b", "c"];
    let consumer = Consumer::start(unique("group"), topic);

    let writing = tokio::spawn({
        let pool = pool.clone();
        async move {
            for number in 0..100 {
                for key in keys {
                    put(&pool, topic, key, number).await;
                }
            }
        }
    });
    // Two at a time, of which one leads; each is dropped in the middle of its work.
    while !writing.is_finished() {
        let relays = [Relay::start(&pool), Relay::start(&pool)];
        let before = consumer.got.lock().unwrap().len();
        eventually("some are delivered", PATIENCE, async || {
            let more = consumer.got.lock().unwrap().len() > before;
            (more || unsent(&pool).await == 0).then_some(())
        })
        .await;
        for relay in relays {
            relay.stop().await;
        }
    }
    writing.await.unwrap();
    let relay = Relay::start(&pool);
    until_all_sent(&pool).await;

    eventually("all arrive", PATIENCE * 2, async || {
        let arrived = first_deliveries(&consumer);
        (arrived.values().map(Vec::len).sum::<usize>() == 300).then_some(())
    })
    .await;
    let in_order: Vec<u32> = (0..100).collect();
    for (key, numbers) in first_deliveries(&consumer) {
        assert_eq!(numbers, in_order, "key {key}");
    }
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_late_is_not_skipped_and_keeps_its_keys_order() {
    let (_database, pool) = outbox().await;
    let topic = unique("live");
    let relay = Relay::start(&pool);
    let consumer = Consumer::start(unique("group"), topic);

    // Key a: the first stays open while b, with a higher id, is committed and sent.
    let mut late = pool.begin().await.unwrap();
    enqueue(&mut late, topic, "a", &1).await.unwrap();
    put(&pool, topic, "b", 2).await;
    consumer.until_got(1).await;
    // A second one of key a has to wait for the first.
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { put(&pool, topic, "a", 3).await }
    });
    eventually("the second waits for the lock", PATIENCE, async || {
        sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'advisory'",
        )
        .fetch_one(&pool)
        .await
        .is_ok_and(|waiting| waiting == 1)
        .then_some(())
    })
    .await;
    late.commit().await.unwrap();
    second.await.unwrap();

    consumer.until_got(3).await;
    assert_eq!(first_deliveries(&consumer)["a"], [1, 3]);
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_kafka_delays_events_and_loses_none() {
    let (_database, pool) = outbox().await;
    let topic = unique("live");
    let nowhere = KafkaConfig {
        kafka_bootstrap_servers: "127.0.0.1:9".to_owned(),
        enable_kafka: true,
    };
    let relay = Relay::start_with(&pool, &nowhere);
    for number in 0..5 {
        put(&pool, topic, "a", number).await;
    }
    relay.stop().await;
    assert_eq!(unsent(&pool).await, 5);

    let relay = Relay::start(&pool);
    until_all_sent(&pool).await;
    let consumer = Consumer::start(unique("group"), topic);
    consumer.until_got(5).await;
    assert_eq!(first_deliveries(&consumer)["a"], [0, 1, 2, 3, 4]);
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_loses_its_connection_leads_again() {
    let (_database, pool) = outbox().await;
    let topic = unique("live");
    let relay = Relay::start(&pool);
    put(&pool, topic, "a", 1).await;
    until_all_sent(&pool).await;

    let ended: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
         WHERE locktype = 'advisory' AND granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(ended, 1, "there is one leader");
    put(&pool, topic, "a", 2).await;
    until_all_sent(&pool).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_sent_long_ago_are_pruned_and_unsent_ones_never() {
    let (_database, pool) = outbox().await;
    pool.execute(
        "INSERT INTO outbox (topic, key, payload, created_at, sent_at) VALUES
           ('t', 'old', '1', now() - interval '2 hours', now() - interval '2 hours'),
           ('t', 'new', '2', now() - interval '2 hours', now() - interval '1 minute')",
    )
    .await
    .unwrap();
    let mut waiting = pool.begin().await.unwrap();
    enqueue(&mut waiting, unique("live"), "waiting", &3)
        .await
        .unwrap();
    waiting.commit().await.unwrap();

    let nowhere = KafkaConfig {
        kafka_bootstrap_servers: "127.0.0.1:9".to_owned(),
        enable_kafka: true,
    };
    let relay = Relay::start_with(&pool, &nowhere);
    let keys = async || {
        sqlx::query_scalar::<_, String>("SELECT key FROM outbox ORDER BY id")
            .fetch_all(&pool)
            .await
            .unwrap()
    };
    eventually("the old row is gone", PATIENCE, async || {
        (keys().await == ["new", "waiting"]).then_some(())
    })
    .await;
    relay.stop().await;
}

#[tokio::test]
async fn an_event_that_kafka_would_refuse_is_refused_at_once() {
    let (_database, pool) = outbox().await;
    let mut transaction = pool.begin().await.unwrap();
    let large = "x".repeat(600 * 1024);
    let refused = enqueue(&mut transaction, "live", "a", &large).await;
    assert!(matches!(refused, Err(sqlx::Error::Encode(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_event_is_sent_within_a_second() {
    let (_database, pool) = outbox().await;
    let topic = unique("live");
    let relay = Relay::start(&pool);
    put(&pool, topic, "a", 1).await;
    until_all_sent(&pool).await;
    let started = std::time::Instant::now();
    put(&pool, topic, "a", 2).await;
    until_all_sent(&pool).await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    relay.stop().await;
}
