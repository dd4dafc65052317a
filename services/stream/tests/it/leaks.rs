//! A key never leaves the service but to its owner and to ingest: the real process, its whole log.

use std::time::Duration;

use marquee_testkit::{database, eventually, free_port, spawn_process};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;

use crate::world::{
    Someone, Stream, World, answer, arguments, bootstrap, ended, interrupted, live,
};

#[tokio::test]
async fn no_key_is_ever_logged() {
    let (streams, auth) = tokio::join!(database("streams"), database("auth"));
    let db = PgPool::connect(&streams.url).await.unwrap();
    let auth_db = PgPool::connect(&auth.url).await.unwrap();
    bootstrap(&db, &streams.name, &auth_db).await;
    let port = free_port().to_string();
    let mut argv = arguments(&streams, &auth, &[]);
    env!("CARGO_BIN_EXE_stream").clone_into(&mut argv[0]);
    let at = argv
        .iter()
        .position(|argument| argument == "--port")
        .unwrap();
    argv[at + 1].clone_from(&port);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let directory = std::env::temp_dir().join(format!("marquee-{}", streams.name));
    std::fs::create_dir_all(&directory).unwrap();
    let log = directory.join("stream.log");
    let mut process = spawn_process(&argv, &[("RUST_LOG", "trace")], &log);

    // Everything that knows keys is done to this process, by the helpers of a world of its own.
    let mut world = World::start().await;
    world.url = format!("http://127.0.0.1:{port}");
    eventually("the process serves", Duration::from_secs(30), async || {
        let ready = world.http.get(format!("{}/ready", world.url)).send().await;
        ready
            .is_ok_and(|answer| answer.status() == 200)
            .then_some(())
    })
    .await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let mut keys = vec![stream.key.clone()];
    world
        .get(&format!("/api/streams/{}", stream.key), None)
        .await
        .expect(200);
    world.get("/api/streams", Some(&ada)).await.expect(200);
    world
        .get(&format!("/api/streams/{}", stream.id), Some(&ada))
        .await
        .expect(200);
    world.get("/api/streams/public", None).await.expect(200);
    let held = world.on_air(&stream, "http://t1.invalid:8086").await;
    world.event(&held, 2, interrupted()).await;
    let back = world.admit(&stream.key, "http://t2.invalid:8086").await;
    world.event(&back, 1, live()).await;
    world.event(&back, 2, ended()).await;
    let rotate = format!("/api/streams/{}/rotate-key", stream.id);
    let rotated = world.post(&rotate, &ada).await.expect(200);
    keys.push(rotated["stream_key"].as_str().unwrap().to_owned());
    refuse(&world, &ada, &stream, &keys[1]).await;
    let told = watch(&world, &ada, &stream, &keys[1]).await;

    let payloads: Vec<String> = sqlx::query_scalar("SELECT payload::text FROM outbox")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(payloads.len(), 2);
    // The whole log: nothing was dropped, and its writer has ended.
    let metrics = world.get("/metrics", None).await.text;
    assert!(
        metrics.lines().any(|line| line == "log_lines_lost_total 0"),
        "{metrics}"
    );
    let last = world
        .http
        .get(format!("{}/api/streams/{}", world.url, stream.id))
        .header("x-request-id", "the-last-request");
    answer(last).await.expect(200);
    process.signal(Signal::SIGTERM);
    let ended = process.wait().await.unwrap();
    assert!(ended.success(), "{ended}");
    let text = std::fs::read_to_string(&log).unwrap();
    for seen in [
        "the-last-request",
        "publisher admitted",
        "publisher refused",
        "/api/streams/***",
        "/api/streams/***/events",
        "/api/streams/***/viewers",
    ] {
        assert!(text.contains(seen), "nothing of {seen}");
    }
    let lines = text.lines().chain(payloads.iter().map(String::as_str));
    for line in lines.chain(told.lines()) {
        for key in &keys {
            assert!(!line.contains(key.as_str()), "{line}");
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Asks for what is refused: refusals know keys too, the old one of `stream` and the new `key`.
async fn refuse(world: &World, ada: &Someone, stream: &Stream, key: &str) {
    world
        .authorize(&stream.key, "http://t1.invalid:8086")
        .await
        .is_problem(404, "not_found");
    world
        .authorize(&stream.key, "nonsense")
        .await
        .is_problem(422, "validation_failed");
    world
        .get(&format!("/api/streams/{}", stream.key), None)
        .await
        .is_problem(404, "not_found");
    for (method, path) in [
        (Method::PATCH, format!("/api/streams/{key}")),
        (Method::POST, format!("/api/streams/{key}/stop")),
        (Method::GET, format!("/api/streams/public?q={key}")),
        (
            Method::GET,
            format!("/nowhere/{}?stream_key={}", key, stream.key),
        ),
        (Method::PUT, format!("/api/streams/{key}")),
    ] {
        world.call(method, &path, Some(ada), Some(json!({}))).await;
    }
    let broken = format!("{{\"stream_key\": \"{key}\", \"protocol\": \"pigeon\"}}");
    let request = world
        .http
        .post(format!("{}/internal/ingest/authorize", world.url))
        .header("x-internal-api-key", crate::world::INTERNAL_API_KEY)
        .header("content-type", "application/json")
        .body(broken);
    answer(request).await.is_problem(422, "validation_failed");
}

/// Opens a page that stays open and watches; what both were told.
async fn watch(world: &World, ada: &Someone, stream: &Stream, key: &str) -> String {
    let mut feed = world
        .http
        .get(format!("{}/api/streams/{}/events", world.url, stream.id))
        .bearer_auth(&ada.token)
        .send()
        .await
        .unwrap();
    let told = feed.chunk().await.unwrap().expect("an event");
    let mut told = String::from_utf8_lossy(&told).into_owned();
    let heartbeat = format!("/api/streams/{}/viewers", stream.id);
    for body in [json!({}), json!({"session_id": key})] {
        let beaten = world.call(Method::POST, &heartbeat, None, Some(body)).await;
        told.push_str(&beaten.text);
        beaten.expect(200);
    }
    for path in ["events", "viewers"] {
        let path = format!("/api/streams/{key}/{path}");
        world.call(Method::GET, &path, Some(ada), None).await;
    }
    told
}
