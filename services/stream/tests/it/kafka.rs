//! From the outbox to the real Kafka.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use marquee_common::{
    BoxError,
    contract::live::{LIVE_TOPIC, LiveEvent, LiveEventKind},
    kafka::{Received, consume},
};
use marquee_testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::world::{World, ended};

#[tokio::test]
async fn live_events_reach_kafka_in_order_keyed_by_stream_and_without_a_key() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let held = world.on_air(&stream, "http://t1.invalid:8086").await;
        expected.push((LiveEventKind::Started, held.broadcast_id));
        world.event(&held, 2, ended()).await;
        expected.push((LiveEventKind::Ended, held.broadcast_id));
    }

    let received: Arc<Mutex<Vec<Received>>> = Arc::default();
    let stop = CancellationToken::new();
    let group: &'static str = format!("test-{}", stream.id).leak();
    let (into, key) = (Arc::clone(&received), stream.id.to_string());
    let consumer = tokio::spawn(consume(
        world.config.kafka.clone(),
        group,
        &[LIVE_TOPIC],
        stop.clone(),
        move |message: Received| {
            if message.key.as_deref() == Some(&key) {
                into.lock().unwrap().push(message);
            }
            async { Ok::<_, BoxError>(()) }
        },
    ));
    eventually(
        "all events are in Kafka",
        Duration::from_mins(1),
        async || (received.lock().unwrap().len() >= expected.len()).then_some(()),
    )
    .await;
    stop.cancel();
    consumer.await.unwrap();

    let messages = received.lock().unwrap();
    for message in messages.iter() {
        assert!(!String::from_utf8_lossy(&message.payload).contains(&stream.key));
    }
    let mut events: Vec<LiveEvent> = messages
        .iter()
        .map(|message| message.json().unwrap())
        .collect();
    // At least once: a repetition keeps its id.
    events.dedup_by_key(|event| event.event_id);
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.broadcast_id))
        .collect();
    assert_eq!(seen, expected);
    assert!(
        events
            .iter()
            .all(|event| event.stream_id == stream.id && event.user_id == ada.id)
    );
}
