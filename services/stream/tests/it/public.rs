//! The public list.

use std::time::Duration;

use marquee_common::contract::StreamId;
use marquee_testkit::eventually;
use serde_json::{Value, json};

use crate::world::{World, ended, interrupted};

async fn listed(world: &World, query: &str) -> Vec<String> {
    let page = world
        .get(&format!("/api/streams/public{query}"), None)
        .await
        .expect(200);
    names(&page)
}

fn names(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["title"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until the list, which may be a second old, is this.
async fn becomes(world: &World, query: &str, titles: &[&str]) {
    eventually(
        &format!("the list {query} is {titles:?}"),
        Duration::from_secs(5),
        async || (listed(world, query).await == titles).then_some(()),
    )
    .await;
}

#[tokio::test]
async fn the_list_has_what_is_public_and_can_be_on_the_air_the_running_first() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = world.user("ada").await;
    let _waiting = world.create(&ada, json!({"title": "waiting"})).await;
    let hidden = world
        .create(&ada, json!({"title": "hidden", "visibility": "unlisted"}))
        .await;
    let expired = world.create(&ada, json!({"title": "expired"})).await;
    let live = world.create(&ada, json!({"title": "live"})).await;
    let away = world.create(&ada, json!({"title": "away"})).await;
    let _newest = world.create(&ada, json!({"title": "newest"})).await;
    world.on_air(&hidden, "http://t1:8086").await;
    world.expire(expired.id).await;
    world.on_air(&live, "http://t1:8086").await;
    // A key that expires during its broadcast does not take it off the list.
    world.expire(live.id).await;
    let held = world.on_air(&away, "http://t1:8086").await;
    world.event(&held, 2, interrupted()).await;

    becomes(&world, "", &["away", "live", "newest", "waiting"]).await;
    becomes(&world, "?live=true", &["away", "live"]).await;
    becomes(&world, "?live=false", &["newest", "waiting"]).await;
    world.event(&held, 3, ended()).await;
    becomes(&world, "?live=true", &["live"]).await;
}

#[tokio::test]
async fn the_list_is_for_every_origin_and_never_has_a_key() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    world.on_air(&stream, "http://t1:8086").await;
    becomes(&world, "?live=true", &["ada's stream"]).await;
    let answer = world.get("/api/streams/public?live=true", Some(&ada)).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(!answer.text.contains(&stream.key));
    let item = &answer.body["items"][0];
    assert_eq!(item["id"], stream.id.to_string());
    assert_eq!(item["status"], "live");
    assert_eq!(item["username"], "ada");
    assert_eq!(item["viewer_count"], 0);
    assert_eq!(item["available_qualities"], json!(["720p", "480p", "360p"]));
    assert!(item["started_at"].is_string());
    assert!(item["hls_url"].as_str().unwrap().ends_with("/master.m3u8"));
    for hidden in ["stream_key", "rtmp_url", "srt_url", "expires_at"] {
        assert!(item.get(hidden).is_none(), "{hidden}");
    }
}

#[tokio::test]
async fn the_list_is_searched_by_text_category_and_tag() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = world.user("ada").await;
    for (title, description, category, tags) in [
        ("Chess", "blitz games", "games", json!(["lichess"])),
        ("Cooking 50%_off", "", "food", json!(["pasta"])),
        ("Go", "Слово and board", "Games", json!([])),
    ] {
        let metadata = json!({
            "title": title, "description": description, "category": category, "tags": tags,
        });
        world.create(&ada, metadata).await;
    }
    for (query, titles) in [
        ("?q=CHESS", vec!["Chess"]),
        ("?q=blitz", vec!["Chess"]),
        ("?q=pasta", vec!["Cooking 50%_off"]),
        ("?q=%25_", vec!["Cooking 50%_off"]),
        ("?q=%25%25", vec![]),
        ("?q=%D0%A1%D0%9B%D0%9E%D0%92%D0%9E", vec!["Go"]),
        ("?category=GAMES", vec!["Go", "Chess"]),
        ("?category=games&q=board", vec!["Go"]),
        ("?tag=Pasta", vec!["Cooking 50%_off"]),
        ("?tag=past", vec![]),
        ("?tag=lichess&category=games", vec!["Chess"]),
        ("?q=%20", vec!["Go", "Cooking 50%_off", "Chess"]),
    ] {
        assert_eq!(listed(&world, query).await, titles, "{query}");
    }
    let long = "x".repeat(101);
    for query in [
        &format!("q={long}"),
        "q=%00",
        "live=perhaps",
        "cursor=e30",
        "limit=-1",
    ] {
        let answer = world
            .get(&format!("/api/streams/public?{query}"), None)
            .await;
        answer.is_problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn a_forged_time_in_a_cursor_is_refused_and_costs_nobody_the_names() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    for listed_at_us in [-300_000_000_000_000_000, i64::MIN, i64::MAX] {
        let cursor = marquee_stream::cursor::encode(&json!({
            "running": false, "listed_at_us": listed_at_us, "id": stream.id,
        }));
        let path = format!("/api/streams/public?cursor={cursor}");
        let answer = world.get(&path, None).await;
        answer.is_problem(422, "validation_failed");
    }
    assert_eq!(world.show(stream.id).await["username"], "ada");
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = world.user("ada").await;
    for n in 0..7 {
        let stream = world.create(&ada, json!({"title": format!("s{n}")})).await;
        if n % 3 == 0 {
            world.on_air(&stream, "http://t1:8086").await;
        }
    }
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = world
            .get(&format!("/api/streams/public{query}"), None)
            .await
            .expect(200);
        seen.extend(names(&page));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["s6", "s3", "s0", "s5", "s4", "s2", "s1"]);
}

#[tokio::test]
async fn the_list_follows_a_change_within_about_a_second() {
    let world = World::start().await;
    assert_eq!(listed(&world, "").await, Vec::<String>::new());
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    becomes(&world, "", &["ada's stream"]).await;
    let path = format!("/api/streams/{}", stream.id);
    world
        .call(reqwest::Method::DELETE, &path, Some(&ada), None)
        .await
        .expect(204);
    becomes(&world, "", &[]).await;
    let gone: StreamId = stream.id;
    assert!(!world.state.store.stream_exists(gone).await.unwrap());
}
