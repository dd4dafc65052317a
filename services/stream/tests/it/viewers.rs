//! Viewers, counted by heartbeat in the real Redis.

use std::time::Duration;

use futures::future::join_all;
use marquee_common::{contract::StreamId, redis::RedisClient};
use marquee_testkit::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World};

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

#[tokio::test]
async fn each_session_counts_once_however_often_it_beats() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await.id;
    let (first, count) = session(&world, stream, None).await;
    assert_eq!(count, 1);
    for _ in 0..3 {
        assert_eq!(
            session(&world, stream, Some(&first)).await,
            (first.clone(), 1)
        );
    }
    let (second, count) = session(&world, stream, None).await;
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
    join_all((0..50).map(|_| session(&world, stream, None))).await;
    assert_eq!(world.show(stream).await["viewer_count"], 50);
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
    let (here, _) = session(&world, stream, None).await;
    session(&world, stream, None).await;
    assert_eq!(world.show(stream).await["viewer_count"], 2);
    // The others' last heartbeats move 30 s into the past.
    let here_id: String = here.split('.').next().unwrap().to_owned();
    let mut redis = RedisClient::new(&world.config.redis).unwrap();
    let key = format!("stream:viewers:{stream}");
    let all: Vec<(String, f64)> = redis::cmd("ZRANGE")
        .arg(&key)
        .arg(0)
        .arg(-1)
        .arg("WITHSCORES")
        .query_async(&mut redis)
        .await
        .unwrap();
    for (member, score) in all {
        if member.replace('-', "") != here_id {
            let left = score - 30_001.0;
            redis::cmd("ZADD")
                .arg(&key)
                .arg(left)
                .arg(member)
                .exec_async(&mut redis)
                .await
                .unwrap();
        }
    }
    assert_eq!(world.show(stream).await["viewer_count"], 1);
    assert_eq!(session(&world, stream, Some(&here)).await.1, 1);
    let kept: u32 = redis::cmd("ZCARD")
        .arg(&key)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn what_does_not_exist_has_no_viewers() {
    let world = World::start().await;
    beat(&world, StreamId::new(), None)
        .await
        .problem(404, "not_found");
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
    beat(&world, stream.id, None)
        .await
        .problem(503, "unavailable");
    world.on_air(&stream, "http://t1.invalid:8086").await;
    assert_eq!(world.status(stream.id).await, "live");
}
