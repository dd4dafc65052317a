//! Events, sent and received.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use marquee_common::kafka::{KafkaConfig, Producer, Received, consume, ensure_topics};
use marquee_testkit::eventually;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::setup::{PATIENCE, kafka_config, unique};

/// A consumer that keeps what it got.
pub struct Consumer {
    pub got: Arc<Mutex<Vec<Received>>>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Consumer {
    pub fn start(group: &'static str, topic: &'static str) -> Self {
        Self::start_with(group, topic, |_| Ok(()))
    }

    /// `verdict` is the handler's result; what it refuses is not kept.
    pub fn start_with(
        group: &'static str,
        topic: &'static str,
        verdict: impl Fn(&Received) -> Result<(), &'static str> + Send + Sync + 'static,
    ) -> Self {
        let got = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let topics: &'static [&'static str] = vec![topic].leak();
        let kept = got.clone();
        let handler = move |message: Received| {
            let result = verdict(&message);
            if result.is_ok() {
                kept.lock().unwrap().push(message);
            }
            async move { result }
        };
        let running = tokio::spawn(consume(
            kafka_config(),
            group,
            topics,
            stop.clone(),
            handler,
        ));
        Self { got, stop, running }
    }

    pub fn payloads(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|message| String::from_utf8(message.payload.to_vec()).unwrap())
            .collect()
    }

    pub async fn until_got(&self, count: usize) {
        eventually("the messages arrive", PATIENCE * 2, async || {
            (self.got.lock().unwrap().len() >= count).then_some(())
        })
        .await;
    }

    pub async fn stop(self) -> Vec<String> {
        self.stop.cancel();
        self.running.await.unwrap();
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|message| String::from_utf8(message.payload.to_vec()).unwrap())
            .collect()
    }
}

async fn send(topic: &str, key: &str, payloads: impl IntoIterator<Item = u32>) {
    let producer = Producer::new(&kafka_config()).unwrap();
    for payload in payloads {
        let payload = payload.to_string();
        producer.send(topic, key, payload.as_bytes()).await.unwrap();
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_once_by_whoever_comes_first() {
    let topic = unique("made");
    let config = kafka_config();
    let topics = [topic];
    let both = tokio::join!(
        ensure_topics(&config, &topics),
        ensure_topics(&config, &topics)
    );
    both.0.unwrap();
    both.1.unwrap();
    Producer::new(&config).unwrap().ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_key_arrive_in_order_with_key_and_topic() {
    let topic = unique("order");
    send(topic, "stream-1", 0..20).await;
    let consumer = Consumer::start(unique("group"), topic);
    consumer.until_got(20).await;
    let first = consumer.got.lock().unwrap()[0].clone();
    assert_eq!(first.topic, topic);
    assert_eq!(first.key.as_deref(), Some("stream-1"));
    assert_eq!(first.json::<u32>().unwrap(), 0);
    assert_eq!(consumer.stop().await, numbers(0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_handler_fails_is_tried_again_before_those_behind_it() {
    let topic = unique("retry");
    send(topic, "stream-1", 0..10).await;
    let failures = Arc::new(AtomicU32::new(0));
    let failed = failures.clone();
    let consumer = Consumer::start_with(unique("group"), topic, move |message| {
        if message.payload.as_ref() == b"3" && failed.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err("the database is away");
        }
        Ok(())
    });
    consumer.until_got(10).await;
    assert_eq!(consumer.stop().await, numbers(0..10));
    assert_eq!(failures.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_waits_does_not_hold_up_the_others() {
    let topic = unique("partitions");
    // Enough keys for more than one of the six partitions.
    for key in 0..12 {
        send(topic, &format!("stream-{key}"), [key]).await;
    }
    let consumer = Consumer::start_with(unique("group"), topic, |message| {
        if message.key.as_deref() == Some("stream-0") {
            return Err("never");
        }
        Ok(())
    });
    let seen = || {
        let got = consumer.got.lock().unwrap();
        let mut partitions: Vec<i32> = got.iter().map(|message| message.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions.len()
    };
    eventually("other partitions go on", PATIENCE, async || {
        (seen() >= 2).then_some(())
    })
    .await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_comes_back_goes_on_where_the_work_ended() {
    let topic = unique("resume");
    let group = unique("group");
    send(topic, "stream-1", 0..10).await;

    let consumer = Consumer::start_with(group, topic, |message| {
        let number: u32 = message.json().unwrap();
        if number < 5 {
            Ok(())
        } else {
            Err("the database is away")
        }
    });
    consumer.until_got(5).await;
    assert_eq!(consumer.stop().await, numbers(0..5));

    let consumer = Consumer::start(group, topic);
    consumer.until_got(5).await;
    assert_eq!(consumer.stop().await, numbers(5..10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_shares_the_work_and_a_member_that_leaves_loses_nothing() {
    let topic = unique("share");
    let group = unique("group");
    let one = Consumer::start(group, topic);
    let two = Consumer::start(group, topic);
    for key in 0..20 {
        send(topic, &format!("stream-{key}"), [key]).await;
    }
    let mut got = Vec::new();
    eventually("both together get all", PATIENCE * 2, async || {
        (one.payloads().len() + two.payloads().len() >= 20).then_some(())
    })
    .await;
    got.extend(one.stop().await);
    for key in 20..30 {
        send(topic, &format!("stream-{key}"), [key]).await;
    }
    eventually("the other takes over", PATIENCE * 2, async || {
        let mut all = got.clone();
        all.extend(two.payloads());
        (20..30)
            .all(|number: u32| all.contains(&number.to_string()))
            .then_some(())
    })
    .await;
    got.extend(two.stop().await);
    for number in numbers(0..30) {
        assert!(got.contains(&number), "{number} is lost");
    }
}

#[tokio::test]
async fn without_a_broker_sending_fails_in_time() {
    let producer = Producer::new(&KafkaConfig {
        kafka_bootstrap_servers: "127.0.0.1:9".to_owned(),
        enable_kafka: true,
    })
    .unwrap();
    let sent = producer.send("live", "key", b"{}");
    let sent = tokio::time::timeout(Duration::from_secs(25), sent).await;
    sent.expect("it ends by itself").unwrap_err();
    producer.ping().await.unwrap_err();
}

#[tokio::test]
async fn not_enabled_it_drops_what_is_sent_and_receives_nothing() {
    let config = KafkaConfig {
        kafka_bootstrap_servers: "127.0.0.1:9".to_owned(),
        enable_kafka: false,
    };
    let producer = Producer::new(&config).unwrap();
    producer.send("live", "key", b"{}").await.unwrap();
    producer.ping().await.unwrap();

    let stop = CancellationToken::new();
    stop.cancel();
    let handler = async |_: Received| Ok::<_, std::io::Error>(());
    consume(config, "group", &["live"], stop, handler).await;
}
