//! Stopping, and the history.

use std::time::{Duration, Instant};

use marquee_common::contract::ingest::{BroadcastState, DisconnectReason};
use serde_json::{Value, json};

use crate::{
    transcoder::{Call, Transcoder},
    world::{World, ended},
};

const T1: &str = "http://t1.invalid:8086";

#[tokio::test]
async fn stopping_ends_the_broadcast_and_holds_the_key() {
    let world = World::start().await;
    let transcoder = Transcoder::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, &transcoder.url).await;
    let path = format!("/api/streams/{}/stop", stream.id);
    let stopped = world.post(&path, &ada).await.expect(200);
    assert_eq!(stopped["status"], "active");
    assert_eq!(stopped["stream_key"], stream.key);
    assert_eq!(
        transcoder.calls(),
        [Call::Disconnect {
            stream: stream.id,
            epoch: held.epoch,
            reason: DisconnectReason::Stopped
        }]
    );
    assert_eq!(
        world.announced_types(stream.id).await,
        ["live.started", "live.ended"]
    );
    let word = world.renew(&transcoder.url, &[(&held, 9, 0)]).await;
    assert_eq!(word[0].state, BroadcastState::Ended);

    let refused = world.authorize(&stream.key, &transcoder.url).await;
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    refused.is_problem(403, "held");
    let shift = "UPDATE streams SET held_until = held_until - interval '60 s' WHERE id = $1";
    world.sql(shift, stream.id).await;
    let next = world.admit(&stream.key, &transcoder.url).await;
    assert_ne!(next.broadcast_id, held.broadcast_id);
    assert_eq!(next.next_msn, 17);
}

#[tokio::test]
async fn a_rotated_key_is_not_held() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    world.on_air(&stream, T1).await;
    world
        .post(&format!("/api/streams/{}/stop", stream.id), &ada)
        .await
        .expect(200);
    let rotated = world
        .post(&format!("/api/streams/{}/rotate-key", stream.id), &ada)
        .await;
    world
        .admit(&crate::world::stream_in(&rotated.expect(200)).key, T1)
        .await;
}

#[tokio::test]
async fn only_what_is_on_the_air_is_stopped_and_only_by_owner_and_admin() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let path = format!("/api/streams/{}/stop", stream.id);
    world.post(&path, &ada).await.is_problem(409, "not_live");
    // A publisher that is admitted and not live yet is stopped too.
    world.admit(&stream.key, T1).await;
    world.post(&path, &bob).await.is_problem(403, "forbidden");
    let stopped = world.post(&path, &world.admin()).await;
    assert!(!stopped.text.contains(&stream.key));
    stopped.expect(200);
    world.post(&path, &ada).await.is_problem(409, "not_live");
}

#[tokio::test]
async fn a_transcoder_that_hangs_delays_a_stop_by_a_second_only() {
    let world = World::start().await;
    // Accepts connections, and never answers.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", deaf.local_addr().unwrap());
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    world.on_air(&stream, &url).await;
    let began = Instant::now();
    world
        .post(&format!("/api/streams/{}/stop", stream.id), &ada)
        .await
        .expect(200);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(world.status(stream.id).await, "active");
}

#[tokio::test]
async fn the_history_has_each_broadcast_that_was_live_newest_first() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let held = world.on_air(&stream, T1).await;
        world.event(&held, 2, ended()).await;
        made.push(held.broadcast_id.to_string());
    }
    let running = world.on_air(&stream, T1).await;
    made.push(running.broadcast_id.to_string());
    made.reverse();

    let base = format!("/api/streams/{}/broadcasts", stream.id);
    world
        .get(&base, Some(&bob))
        .await
        .is_problem(403, "forbidden");
    let mut seen: Vec<Value> = Vec::new();
    let mut path = format!("{base}?limit=3");
    loop {
        let page = world.get(&path, Some(&ada)).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("{base}?limit=3&cursor={cursor}");
    }
    let ids: Vec<&str> = seen
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, made);
    assert!(seen[0]["ended_at"].is_null());
    assert!(seen[0]["duration_s"].is_null());
    assert_eq!(seen[1]["end_reason"], "grace_over");
    assert!(seen[1]["duration_s"].as_f64().unwrap() >= 0.0);
    assert_eq!(
        seen[1]["available_qualities"],
        json!(["720p", "480p", "360p"])
    );
    let info = format!("/internal/broadcasts/{}", running.broadcast_id);
    let info = world.internal_get(&info).await.expect(200);
    assert_eq!(info["stream_id"], stream.id.to_string());
    assert!(info["ended_at"].is_null());
}
