//! What happens to an account, as the other services learn it from the real Kafka.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use marquee_common::{
    BoxError,
    contract::account::{
        SUBSCRIPTION_CHANGED_TOPIC, SubscriptionChanged, USER_DELETED_TOPIC, USER_DISABLED_TOPIC,
        UserDeleted, UserDisabled,
    },
    kafka::{KafkaConfig, Received, consume},
};
use marquee_testkit::{eventually, infra};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Auth, PASSWORD};

/// What Kafka has of a topic about a user, as soon as it is `count` events; repetitions once.
async fn received<T: serde::de::DeserializeOwned + Send + 'static>(
    topic: &'static str,
    user_id: &str,
    count: usize,
) -> Vec<T> {
    let messages: Arc<Mutex<Vec<Received>>> = Arc::default();
    let stop = CancellationToken::new();
    let group: &'static str = format!("auth-test-{topic}-{user_id}").leak();
    let topics: &'static [&'static str] = vec![topic].leak();
    let config = KafkaConfig {
        kafka_bootstrap_servers: infra().kafka,
        enable_kafka: true,
    };
    let (into, key) = (Arc::clone(&messages), user_id.to_owned());
    let consumer = tokio::spawn(consume(
        config,
        group,
        topics,
        stop.clone(),
        move |message: Received| {
            let mut messages = into.lock().unwrap();
            let known = messages
                .iter()
                .any(|other| other.payload == message.payload);
            if message.key.as_deref() == Some(&key) && !known {
                messages.push(message);
            }
            async { Ok::<_, BoxError>(()) }
        },
    ));
    eventually(
        "the events are in Kafka",
        Duration::from_mins(1),
        async || (messages.lock().unwrap().len() >= count).then_some(()),
    )
    .await;
    stop.cancel();
    consumer.await.unwrap();
    let messages = messages.lock().unwrap();
    messages
        .iter()
        .map(|message| message.json().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_and_a_disabled_account_are_told_once() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    let (ann, bob) = (auth.register("ann").await, auth.register("bob").await);
    let gone = auth
        .write(
            Method::DELETE,
            "/api/auth/me",
            &ann,
            json!({"password": PASSWORD}),
        )
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    // Disabling what is disabled is no event.
    for _ in 0..2 {
        let path = format!("/api/auth/users/{}", bob.id);
        auth.write(Method::PATCH, &path, &admin, json!({"disabled": true}))
            .await;
    }
    let deleted: Vec<UserDeleted> = received(USER_DELETED_TOPIC, &ann.id, 1).await;
    assert_eq!(deleted[0].user_id.to_string(), ann.id);
    let disabled: Vec<UserDisabled> = received(USER_DISABLED_TOPIC, &bob.id, 1).await;
    assert_eq!(disabled[0].user_id.to_string(), bob.id);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox")
        .fetch_one(&auth.pool().await)
        .await
        .unwrap();
    assert_eq!(rows, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_events_wait_and_arrive_later_in_order() {
    let nowhere = format!(
        "--kafka-bootstrap-servers=127.0.0.1:{}",
        marquee_testkit::free_port()
    );
    let auth = Auth::start_with(&[&nowhere]).await;
    let admin = auth.admin().await;
    let ann = auth.register("ann").await;
    let path = format!("/api/auth/users/{}/subscription", ann.id);
    let mut plans: Vec<Option<String>> = Vec::new();
    for n in 0..5 {
        let plan = format!("plan {n}");
        let granted = auth
            .write(Method::PUT, &path, &admin, json!({"plan": plan}))
            .await;
        assert_eq!(granted.status, StatusCode::OK, "nobody waits for Kafka");
        plans.push(Some(plan));
    }
    auth.write(Method::DELETE, &path, &admin, json!({})).await;
    plans.push(None);

    // Another instance, which reaches Kafka; the first gives up leading when it ends.
    let url = auth.database.url.clone();
    let database = auth.end();
    let _auth = Auth::start_on(database, &url, &[]).await;
    let changes: Vec<SubscriptionChanged> =
        received(SUBSCRIPTION_CHANGED_TOPIC, &ann.id, plans.len()).await;
    let seen: Vec<_> = changes.iter().map(|change| change.plan.clone()).collect();
    assert_eq!(seen, plans);
    let active: Vec<_> = changes.iter().map(|change| change.active).collect();
    assert_eq!(active, [true, true, true, true, true, false]);
}
