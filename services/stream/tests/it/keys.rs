//! Stream keys: making, counting, rotating.

use std::collections::HashSet;

use futures::future::join_all;
use marquee_common::contract::ingest::DisconnectReason;
use reqwest::Method;

use crate::{
    transcoder::{Call, Transcoder},
    world::{World, stream_in},
};

#[tokio::test]
async fn generate_key_answers_with_the_seeds_fields_and_absolute_urls() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let body = world
        .post("/api/streams/generate-key", &ada)
        .await
        .expect(201);
    let stream = &body["stream"];
    let (id, key) = (
        stream["id"].as_str().unwrap(),
        stream["stream_key"].as_str().unwrap(),
    );
    assert_eq!(key.len(), 43);
    assert_eq!(id.len(), 36);
    assert_eq!(stream["status"], "active");
    assert_eq!(stream["title"], "ada's stream");
    assert_eq!(stream["username"], "ada");
    assert_eq!(
        stream["rtmp_url"],
        format!("rtmp://tv.example:1935/live/{key}")
    );
    assert_eq!(
        stream["srt_url"],
        format!("srt://tv.example:8890?streamid=publish:{key}")
    );
    assert_eq!(
        stream["hls_url"],
        format!("http://tv.example/live-streams/{id}/master.m3u8")
    );
    assert_eq!(
        stream["ll_hls_url"],
        format!("http://tv.example/stream/{id}/master.m3u8")
    );
    let time = |field: &str| {
        let text = stream[field].as_str().unwrap();
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap()
    };
    assert_eq!((time("expires_at") - time("created_at")).whole_hours(), 24);
}

#[tokio::test]
async fn an_answer_with_a_key_is_never_cached() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    for path in [
        "/api/streams".to_owned(),
        format!("/api/streams/{}", stream.id),
        format!("/api/streams/{}", stream.key),
    ] {
        let answer = world.get(&path, Some(&ada)).await;
        assert!(answer.text.contains(&stream.key));
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
    }
}

#[tokio::test]
async fn a_key_is_for_signed_in_users_only() {
    let world = World::start().await;
    let answer = world
        .call(Method::POST, "/api/streams/generate-key", None, None)
        .await;
    answer.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_second_active_stream_is_refused_with_the_id_of_the_first() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let first = world.stream_of(&ada).await;
    let refused = world.post("/api/streams/generate-key", &ada).await;
    assert_eq!(
        refused.headers["location"],
        format!("/api/streams/{}", first.id)
    );
    let problem = refused.is_problem(409, "active_stream_exists");
    assert_eq!(problem.errors[0].field, "stream_id");
    assert_eq!(problem.errors[0].message, first.id.to_string());
    let answer = world.post("/api/streams", &ada).await;
    answer.is_problem(409, "active_stream_exists");
    world.stream_of(&world.user("bob").await).await;
}

#[tokio::test]
async fn of_ten_generate_keys_at_once_exactly_one_wins() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let answers = join_all((0..10).map(|_| world.post("/api/streams/generate-key", &ada))).await;
    let mut statuses: Vec<u16> = answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![201], vec![409; 9]].concat());
}

#[tokio::test]
async fn how_many_active_streams_a_user_may_have_is_a_setting() {
    let two = World::with(&["--max-active-streams-per-user", "2"]).await;
    let ada = two.user("ada").await;
    two.stream_of(&ada).await;
    two.stream_of(&ada).await;
    two.post("/api/streams/generate-key", &ada)
        .await
        .is_problem(409, "active_stream_exists");

    let any = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = any.user("ada").await;
    for _ in 0..5 {
        any.stream_of(&ada).await;
    }
}

#[tokio::test]
async fn how_long_a_key_lives_is_a_setting() {
    let world = World::with(&["--stream-key-ttl-h", "2"]).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let minutes: i32 = world
        .scalar(
            "SELECT (EXTRACT(EPOCH FROM expires_at - now()) / 60)::int FROM streams WHERE id = $1",
            stream.id,
        )
        .await;
    assert!((118..=120).contains(&minutes), "{minutes}");
}

#[tokio::test]
async fn an_expired_stream_makes_room_for_a_new_one() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let old = world.stream_of(&ada).await;
    world.expire(old.id).await;
    assert_eq!(world.status(old.id).await, "expired");
    let new = world.stream_of(&ada).await;
    assert_ne!(new.id, old.id);
}

#[tokio::test]
async fn a_rotated_key_opens_the_stream_and_the_old_one_does_not() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let path = format!("/api/streams/{}/rotate-key", stream.id);
    let rotated = stream_in(&world.post(&path, &ada).await.expect(200));
    assert_eq!(rotated.id, stream.id);
    assert_ne!(rotated.key, stream.key);
    world
        .authorize(&stream.key, "http://t1:8086")
        .await
        .is_problem(404, "not_found");
    world.admit(&rotated.key, "http://t1:8086").await;
}

#[tokio::test]
async fn a_key_cannot_be_rotated_twice_within_30_s() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let path = format!("/api/streams/{}/rotate-key", stream.id);
    world.post(&path, &ada).await.expect(200);
    let refused = world.post(&path, &ada).await;
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    refused.is_problem(429, "key_cooldown");
    world
        .sql(
            "UPDATE streams SET key_rotated_at = key_rotated_at - interval '30 s' WHERE id = $1",
            stream.id,
        )
        .await;
    world.post(&path, &ada).await.expect(200);
}

#[tokio::test]
async fn of_many_rotations_at_once_one_wins_and_its_key_is_the_streams() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let path = format!("/api/streams/{}/rotate-key", stream.id);
    let answers = join_all((0..6).map(|_| world.post(&path, &ada))).await;
    let keys: HashSet<String> = answers
        .into_iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| stream_in(&answer.body).key)
        .collect();
    assert_eq!(keys.len(), 1);
    world
        .admit(keys.iter().next().unwrap(), "http://t1:8086")
        .await;
}

#[tokio::test]
async fn rotating_revives_an_expired_stream_unless_another_took_its_place() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let old = world.stream_of(&ada).await;
    world.expire(old.id).await;
    world.sweep().await;
    let path = format!("/api/streams/{}/rotate-key", old.id);
    let revived = world.post(&path, &ada).await.expect(200);
    assert_eq!(revived["status"], "active");
    world
        .admit(&stream_in(&revived).key, "http://t1:8086")
        .await;

    let bob = world.user("bob").await;
    let old = world.stream_of(&bob).await;
    world.expire(old.id).await;
    let new = world.stream_of(&bob).await;
    let path = format!("/api/streams/{}/rotate-key", old.id);
    let problem = world
        .post(&path, &bob)
        .await
        .is_problem(409, "active_stream_exists");
    assert_eq!(problem.errors[0].message, new.id.to_string());
}

#[tokio::test]
async fn only_the_owner_and_an_admin_rotate_a_key() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let path = format!("/api/streams/{}/rotate-key", stream.id);
    world.post(&path, &bob).await.is_problem(403, "forbidden");
    let rotated = world.post(&path, &world.admin()).await;
    assert_eq!(rotated.headers["cache-control"], "no-store");
    let rotated = rotated.expect(200);
    // The key is the owner's, who alone sees it.
    for hidden in ["stream_key", "rtmp_url", "srt_url"] {
        assert!(rotated.get(hidden).is_none(), "{hidden}: {rotated}");
    }
    world
        .authorize(&stream.key, "http://t1:8086")
        .await
        .is_problem(404, "not_found");
    let shown = world
        .get(&format!("/api/streams/{}", stream.id), Some(&ada))
        .await
        .expect(200);
    assert!(!rotated.to_string().contains(&stream_in(&shown).key));
    world.admit(&stream_in(&shown).key, "http://t1:8086").await;
    let hidden = world
        .create(&bob, serde_json::json!({"visibility": "unlisted"}))
        .await;
    let path = format!("/api/streams/{}/rotate-key", hidden.id);
    world.post(&path, &ada).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn rotating_during_a_broadcast_ends_it_and_sends_the_publisher_away() {
    let world = World::start().await;
    let transcoder = Transcoder::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, &transcoder.url).await;
    let path = format!("/api/streams/{}/rotate-key", stream.id);
    let rotated = world.post(&path, &ada).await.expect(200);
    assert_eq!(rotated["status"], "active");
    assert_eq!(
        transcoder.calls(),
        [Call::Disconnect {
            stream: stream.id,
            epoch: held.epoch,
            reason: DisconnectReason::KeyRotated
        }]
    );
    assert_eq!(
        world.announced_types(stream.id).await,
        ["live.started", "live.ended"]
    );
    let next = world.admit(&stream_in(&rotated).key, &transcoder.url).await;
    assert!(!next.resumed);
    assert_ne!(next.broadcast_id, held.broadcast_id);
}
