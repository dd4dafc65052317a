//! Streams: metadata, lists, look-ups, deletion.

use marquee_common::contract::{StreamId, ingest::DisconnectReason};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    transcoder::{Call, Transcoder},
    world::{World, answer},
};

fn ids(page: &Value) -> Vec<&str> {
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_stream_is_made_with_its_metadata() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let metadata = json!({
        "title": " Chess at noon ", "description": "Blitz", "category": "Games",
        "tags": ["Chess", "chess", "Blitz"], "visibility": "unlisted",
    });
    let stream = world.create(&ada, metadata).await;
    let shown = world.show(stream.id).await;
    assert_eq!(shown["title"], "Chess at noon");
    assert_eq!(shown["description"], "Blitz");
    assert_eq!(shown["category"], "games");
    assert_eq!(shown["tags"], json!(["chess", "blitz"]));
    assert_eq!(shown["visibility"], "unlisted");
    assert_eq!(shown["user_id"], ada.id.to_string());
}

#[tokio::test]
async fn bad_bodies_are_problems_that_name_the_field() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let post = |body: &'static str, content_type: &'static str| {
        answer(
            world
                .http
                .post(format!("{}/api/streams", world.url))
                .bearer_auth(&ada.token)
                .header("content-type", content_type)
                .body(body),
        )
    };
    post("{", "application/json")
        .await
        .is_problem(400, "bad_json");
    post("{}", "text/plain")
        .await
        .is_problem(415, "unsupported_media_type");
    for (body, field) in [
        (r#"{"title": ""}"#, "title"),
        (r#"{"title": 7}"#, "title"),
        ("{\"title\": \"a\\u0000b\"}", "title"),
        (r#"{"tags": "chess"}"#, "tags"),
        (r#"{"tags": [""]}"#, "tags"),
        (r#"{"visibility": "secret"}"#, "visibility"),
    ] {
        let problem = post(body, "application/json")
            .await
            .is_problem(422, "validation_failed");
        assert_eq!(problem.errors[0].field, field, "{body}");
    }
    let long = json!({"description": "x".repeat(2_000_000)});
    world
        .call(Method::POST, "/api/streams", Some(&ada), Some(long))
        .await
        .is_problem(413, "body_too_large");
    // No body at all is fine.
    world.post("/api/streams", &ada).await.expect(201);
}

#[tokio::test]
async fn ones_own_list_pages_through_all_of_ones_streams_newest_first() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.stream_of(&ada).await.id.to_string());
    }
    world.stream_of(&bob).await;
    made.reverse();

    let mut seen = Vec::new();
    let mut path = "/api/streams?limit=2".to_owned();
    loop {
        let page = world.get(&path, Some(&ada)).await.expect(200);
        assert!(page["items"].as_array().unwrap().len() <= 2);
        assert!(page["items"][0]["stream_key"].is_string());
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/streams?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, made);
    world
        .get("/api/streams", None)
        .await
        .is_problem(401, "unauthenticated");
    for query in ["cursor=nonsense", "limit=many", "scope=mine"] {
        let answer = world
            .get(&format!("/api/streams?{query}"), Some(&ada))
            .await;
        answer.is_problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn an_admin_lists_everybodys_streams_without_their_keys() {
    let world = World::start().await;
    let (ada, admin) = (world.user("ada").await, world.admin());
    let stream = world.stream_of(&ada).await;
    let own = world.stream_of(&admin).await;
    let page = world
        .get("/api/streams?scope=all", Some(&admin))
        .await
        .expect(200);
    assert_eq!(ids(&page), [own.id.to_string(), stream.id.to_string()]);
    assert_eq!(page["items"][0]["stream_key"], own.key);
    assert!(!page.to_string().contains(&stream.key));
    world
        .get("/api/streams?scope=all", Some(&ada))
        .await
        .is_problem(403, "forbidden");
}

#[tokio::test]
async fn only_the_owner_sees_the_key_of_a_stream() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let path = format!("/api/streams/{}", stream.id);
    let own = world.get(&path, Some(&ada)).await.expect(200);
    assert_eq!(own["stream_key"], stream.key);
    for somebody in [None, Some(&bob), Some(&world.admin())] {
        let public = world.get(&path, somebody).await;
        assert!(!public.text.contains(&stream.key));
        let public = public.expect(200);
        for hidden in ["stream_key", "rtmp_url", "srt_url", "expires_at"] {
            assert!(public.get(hidden).is_none(), "{hidden}");
        }
    }
}

#[tokio::test]
async fn whoever_holds_a_key_finds_its_stream_until_the_key_expires() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let path = format!("/api/streams/{}", stream.key);
    let found = world.get(&path, None).await.expect(200);
    assert_eq!(found["id"], stream.id.to_string());
    assert_eq!(found["stream_key"], stream.key);
    world
        .get(&format!("/api/streams/{}", "A".repeat(43)), None)
        .await
        .is_problem(404, "not_found");

    let held = world.on_air(&stream, "http://t1:8086").await;
    world.expire(stream.id).await;
    // On the air it still opens: its publisher may return.
    assert_eq!(world.get(&path, None).await.expect(200)["status"], "live");
    world.event(&held, 2, crate::world::ended()).await;
    world
        .get(&path, None)
        .await
        .is_problem(410, "stream_key_expired");
    assert_eq!(world.status(stream.id).await, "expired");
}

#[tokio::test]
async fn what_is_no_stream_is_not_found() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    for id in [
        StreamId::new().to_string(),
        "7".to_owned(),
        "%F0%9F%8E%AC".to_owned(),
    ] {
        let path = format!("/api/streams/{id}");
        world.get(&path, None).await.is_problem(404, "not_found");
        world
            .call(Method::DELETE, &path, Some(&ada), None)
            .await
            .is_problem(404, "not_found");
        let patch = world
            .call(Method::PATCH, &path, Some(&ada), Some(json!({})))
            .await;
        patch.is_problem(404, "not_found");
        for action in ["rotate-key", "stop"] {
            let answer = world.post(&format!("{path}/{action}"), &ada).await;
            answer.is_problem(404, "not_found");
        }
        for list in ["broadcasts", "health"] {
            let answer = world.get(&format!("{path}/{list}"), Some(&ada)).await;
            answer.is_problem(404, "not_found");
        }
    }
    world
        .call(Method::PUT, "/api/streams", None, None)
        .await
        .is_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_its_running_broadcast_follows() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world
        .create(
            &ada,
            json!({"title": "One", "description": "d", "category": "music"}),
        )
        .await;
    let held = world.on_air(&stream, "http://t1:8086").await;
    let patch = json!({"title": "Two", "description": null, "visibility": "unlisted"});
    let path = format!("/api/streams/{}", stream.id);
    let changed = world
        .call(Method::PATCH, &path, Some(&ada), Some(patch))
        .await
        .expect(200);
    assert_eq!(changed["title"], "Two");
    assert!(changed["description"].is_null());
    assert_eq!(changed["category"], "music");
    assert_eq!(changed["visibility"], "unlisted");
    assert_eq!(changed["status"], "live");
    let info = format!("/internal/broadcasts/{}", held.broadcast_id);
    let info = world.internal_get(&info).await.expect(200);
    assert_eq!(
        (&info["title"], &info["visibility"]),
        (&json!("Two"), &json!("unlisted"))
    );

    let empty = world
        .call(Method::PATCH, &path, Some(&ada), Some(json!({})))
        .await
        .expect(200);
    assert_eq!(empty["title"], "Two");
    let bad = world
        .call(
            Method::PATCH,
            &path,
            Some(&ada),
            Some(json!({"title": " "})),
        )
        .await;
    bad.is_problem(422, "validation_failed");
}

#[tokio::test]
async fn strangers_change_nothing() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let path = format!("/api/streams/{}", stream.id);
    let patch = json!({"title": "mine"});
    world
        .call(Method::PATCH, &path, Some(&bob), Some(patch.clone()))
        .await
        .is_problem(403, "forbidden");
    world
        .call(Method::DELETE, &path, Some(&bob), None)
        .await
        .is_problem(403, "forbidden");
    world
        .call(Method::DELETE, &path, None, None)
        .await
        .is_problem(401, "unauthenticated");
    let admin = world.admin();
    let changed = world
        .call(Method::PATCH, &path, Some(&admin), Some(patch))
        .await;
    assert!(!changed.text.contains(&stream.key));
    assert_eq!(changed.expect(200)["title"], "mine");
}

#[tokio::test]
async fn deleting_a_stream_ends_its_broadcast_which_stays_known() {
    let world = World::start().await;
    let transcoder = Transcoder::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, &transcoder.url).await;
    let path = format!("/api/streams/{}", stream.id);
    world
        .call(Method::DELETE, &path, Some(&ada), None)
        .await
        .expect(204);
    assert_eq!(
        transcoder.calls(),
        [Call::Disconnect {
            stream: stream.id,
            epoch: held.epoch,
            reason: DisconnectReason::Deleted
        }]
    );
    world
        .get(&path, Some(&ada))
        .await
        .is_problem(404, "not_found");
    world
        .authorize(&stream.key, &transcoder.url)
        .await
        .is_problem(404, "not_found");
    assert_eq!(
        world.announced_types(stream.id).await,
        ["live.started", "live.ended"]
    );
    let info = format!("/internal/broadcasts/{}", held.broadcast_id);
    let info = world.internal_get(&info).await.expect(200);
    assert_eq!(info["user_id"], ada.id.to_string());
    assert!(info["ended_at"].is_string());
    // Its transcoder still confirms the end.
    world.event(&held, 2, crate::world::ended()).await;
    let finalized: bool = world
        .scalar(
            "SELECT finalized_at IS NOT NULL FROM broadcasts WHERE id = $1",
            held.broadcast_id,
        )
        .await;
    assert!(finalized);
}
