//! Viewers, counted by heartbeat in the real Redis.

use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use marquee_common::{contract::StreamId, redis::RedisClient};
use marquee_testkit::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World, answer};

async fn beat(world: &World, stream: StreamId, session: Option<&str>) -> Answer {
    let body = session.map(|session| json!({"session_id": session}));
    world
        .call(
            Method::POST,
            &format!("/api/streams/{stream}/viewers"),
            None,
            body,
        )
        .await
}

async fn session(world: &World, stream: StreamId, session: Option<&str>) -> (String, u64) {
    let body = beat(world, stream, session).await.expect(200);
    let session_id = body["session_id"].as_str().unwrap().to_owned();
    (session_id, body["viewer_count"].as_u64().unwrap())
}

/// The session of a viewer who came 10 s ago.
fn issued_10_s_ago(world: &World, stream: StreamId) -> String {
    let then = SystemTime::now() - Duration::from_secs(10);
    world.state.viewer_sessions.issue(stream, then).1
}

/// Somebody watches; answers with the session and the count.
async fn watch(world: &World, stream: StreamId) -> (String, u64) {
    session(world, stream, Some(&issued_10_s_ago(world, stream))).await
}

/// Lets time pass since the last heartbeats of a stream.
async fn later(world: &World, stream: StreamId, ms: i64) {
    let mut redis = RedisClient::new(&world.config.redis).unwrap();
    redis::Script::new(
        "local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
         for i = 1, #all, 2 do redis.call('ZADD', KEYS[1], all[i + 1] - ARGV[1], all[i]) end",
    )
    .key(format!("stream:viewers:{stream}"))
    .arg(ms)
    .invoke_async::<()>(&mut redis)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_viewer_counts_from_the_second_heartbeat_on_and_once_however_often_it_beats() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await.id;
    // Asking for sessions, and sending them back at once, raises no count.
    for _ in 0..3 {
        let (issued, count) = session(&world, stream, None).await;
        assert_eq!(count, 0);
        assert_eq!(session(&world, stream, Some(&issued)).await, (issued, 0));
    }
    let (first, count) = watch(&world, stream).await;
    assert_eq!(count, 1);
    for _ in 0..3 {
        later(&world, stream, 1_000).await;
        assert_eq!(
            session(&world, stream, Some(&first)).await,
            (first.clone(), 1)
        );
    }
    let (second, count) = watch(&world, stream).await;
    assert_eq!(count, 2);
    assert_ne!(first, second);
    assert_eq!(world.show(stream).await["viewer_count"], 2);
    eventually("the list counts them", Duration::from_secs(5), async || {
        let page: Value = world.get("/api/streams/public", None).await.expect(200);
        (page["items"][0]["viewer_count"] == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn viewers_at_once_are_all_counted() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await.id;
    join_all((0..50).map(|_| watch(&world, stream))).await;
    assert_eq!(world.show(stream).await["viewer_count"], 50);
}

#[tokio::test]
async fn instances_count_the_same_viewers() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await.id;
    let other = world.another_instance().await;
    let (mine, _) = watch(&world, stream).await;
    let theirs = issued_10_s_ago(&world, stream);
    let request = world
        .http
        .post(format!("{}/api/streams/{stream}/viewers", other.url))
        .json(&json!({"session_id": theirs}));
    assert_eq!(answer(request).await.expect(200)["viewer_count"], 2);
    later(&world, stream, 1_000).await;
    // A session goes on wherever it comes next.
    let request = world
        .http
        .post(format!("{}/api/streams/{stream}/viewers", other.url))
        .json(&json!({"session_id": mine}));
    assert_eq!(answer(request).await.expect(200)["viewer_count"], 2);
}

#[tokio::test]
async fn a_session_is_limited_and_an_address_is_not() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await.id;
    let (one, _) = watch(&world, stream).await;
    let refused = beat(&world, stream, Some(&one)).await;
    assert_eq!(refused.headers["retry-after"], "1");
    refused.is_problem(429, "rate_limited");
    for viewers in 2..20 {
        assert_eq!(watch(&world, stream).await.1, viewers);
    }
    later(&world, stream, 1_000).await;
    session(&world, stream, Some(&one)).await;
}

#[tokio::test]
async fn a_made_up_session_is_replaced_by_a_signed_one() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = world.user("ada").await;
    let (stream, other) = (
        world.stream_of(&ada).await.id,
        world.stream_of(&ada).await.id,
    );
    let (of_other, _) = session(&world, other, None).await;
    for made_up in ["", "0", &of_other, &"x".repeat(5_000)] {
        let (issued, _) = session(&world, stream, Some(made_up)).await;
        assert_ne!(issued, made_up);
    }
}

#[tokio::test]
async fn who_has_not_beaten_for_30_s_has_left() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await.id;
    watch(&world, stream).await;
    later(&world, stream, 20_000).await;
    let (here, count) = watch(&world, stream).await;
    assert_eq!(count, 2);
    later(&world, stream, 10_001).await;
    assert_eq!(world.show(stream).await["viewer_count"], 1);
    assert_eq!(session(&world, stream, Some(&here)).await.1, 1);
    let mut redis = RedisClient::new(&world.config.redis).unwrap();
    let kept: u32 = redis::cmd("ZCARD")
        .arg(format!("stream:viewers:{stream}"))
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_refuses_no_session_and_keeps_none_that_left() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await.id;
    let (here, _) = watch(&world, stream).await;
    watch(&world, stream).await;
    for back_ms in [-10_000, -3_600_000] {
        later(&world, stream, back_ms).await;
        session(&world, stream, Some(&here)).await;
    }
    // The other one has left; its last heartbeat lies an hour ahead.
    assert_eq!(world.show(stream).await["viewer_count"], 1);
}

#[tokio::test]
async fn what_does_not_exist_has_no_viewers() {
    let world = World::start().await;
    beat(&world, StreamId::new(), None)
        .await
        .is_problem(404, "not_found");
}

#[tokio::test]
async fn without_redis_viewers_are_unknown_and_everything_else_works() {
    let closed = marquee_testkit::free_port().to_string();
    let world = World::configured(&[], |config| {
        config.redis.redis_port = closed.parse().unwrap();
    })
    .await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    assert!(world.show(stream.id).await["viewer_count"].is_null());
    let list = world.get("/api/streams/public", None).await.expect(200);
    assert!(list["items"][0]["viewer_count"].is_null());
    let session = issued_10_s_ago(&world, stream.id);
    for session in [None, Some(session.as_str())] {
        let beat = beat(&world, stream.id, session).await.expect(200);
        assert!(beat["viewer_count"].is_null());
        assert!(beat["session_id"].is_string());
    }
    world.on_air(&stream, "http://t1.invalid:8086").await;
    assert_eq!(world.status(stream.id).await, "live");
}

#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_by_one_of_fifty_a_second() {
    // It accepts and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let world = World::configured(&[], |config| config.redis.redis_port = port).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await.id;
    let session = issued_10_s_ago(&world, stream);
    let viewers = &world.state.viewers;
    viewers.count(stream).await;
    let began = Instant::now();
    // It is tried again after each second, by one.
    eventually("seconds are over", Duration::from_secs(10), async || {
        let counts = (0..50).map(|_| async {
            let began = Instant::now();
            assert_eq!(viewers.count(stream).await, None);
            began.elapsed()
        });
        let waits = join_all(counts).await;
        let waited = waits
            .iter()
            .filter(|wait| **wait > Duration::from_millis(500))
            .count();
        assert!(waited <= 1, "{waits:?}");
        (began.elapsed() > Duration::from_millis(2_500)).then_some(())
    })
    .await;
    let beat = beat(&world, stream, Some(&session)).await.expect(200);
    assert!(beat["viewer_count"].is_null());
}
