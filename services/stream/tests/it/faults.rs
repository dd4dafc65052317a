//! Servers that go away and come back.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use marquee_common::{
    BoxError,
    contract::live::{LIVE_TOPIC, LiveEvent},
    kafka::{Received, consume},
};
use marquee_testkit::{
    eventually,
    process::kill_marked,
    servers::{ServerOptions, postgres},
    stack::{StackDir, control},
};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::world::{Instance, Someone, World, ended};

/// A PostgreSQL server of a test's own, which it may restart.
struct OwnPostgres {
    dir: StackDir,
    path: PathBuf,
    url: String,
}

impl OwnPostgres {
    async fn start() -> Self {
        let path = std::env::temp_dir().join(format!("marquee-pg-{}", uuid::Uuid::now_v7()));
        let dir = StackDir::open(&path).unwrap();
        let options = ServerOptions {
            documented_ports: false,
            durable: true,
        };
        let admin = postgres::start(&dir, options).await.unwrap();
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        sqlx::raw_sql("CREATE DATABASE streams_db")
            .execute(&mut connection)
            .await
            .unwrap();
        let (server, _) = admin.rsplit_once('/').unwrap();
        let url = format!("{server}/streams_db");
        Self { dir, path, url }
    }

    async fn stop(&self) {
        control::stop(&self.dir, postgres::NAME).await.unwrap();
    }

    async fn start_again(&self) {
        control::start(&self.dir, postgres::NAME).await.unwrap();
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        kill_marked(self.dir.root());
        // What is left is in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

async fn world_on(server: &OwnPostgres) -> World {
    World::configured(&[], |config| {
        config.postgres.db_url = server.url.parse().unwrap();
        // Its own server knows no users.
        config.auth_fdw.auth_fdw_password = None;
    })
    .await
}

/// How a client's requests went.
#[derive(Default)]
struct Load {
    ok: u32,
    unavailable: u32,
    longest: Duration,
}

/// Asks one thing after another until `stop`.
async fn ask(world: &World, ada: &Someone, id: &str, stop: &AtomicBool) -> Load {
    let mut load = Load::default();
    let requests = [
        (Method::GET, "/api/streams/public".to_owned(), None),
        (Method::GET, format!("/api/streams/{id}"), None),
        (Method::GET, "/api/streams".to_owned(), None),
        (
            Method::PATCH,
            format!("/api/streams/{id}"),
            Some(json!({"title": "Still here"})),
        ),
        (Method::POST, format!("/api/streams/{id}/viewers"), None),
    ];
    for (method, path, body) in requests.into_iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let began = Instant::now();
        let answer = world.call(method, &path, Some(ada), body).await;
        load.longest = load.longest.max(began.elapsed());
        match answer.status.as_u16() {
            200 => load.ok += 1,
            503 => {
                answer.is_problem(503, "unavailable");
                load.unavailable += 1;
            }
            other => panic!("{path}: {other} {}", answer.text),
        }
    }
    load
}

#[tokio::test]
async fn a_database_restarted_under_load_costs_503s_and_hangs_nobody() {
    let server = OwnPostgres::start().await;
    let world = world_on(&server).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let id = stream.id.to_string();
    let held = world.on_air(&stream, "http://t1.invalid:8086").await;
    let stop = AtomicBool::new(false);
    let asking = join_all((0..8).map(|_| ask(&world, &ada, &id, &stop)));
    let restart = async {
        world.show(stream.id).await;
        server.stop().await;
        let path = format!("/api/streams/{id}");
        eventually("its absence is told", Duration::from_secs(20), async || {
            (world.get(&path, None).await.status == 503).then_some(())
        })
        .await;
        eventually("it is not ready", Duration::from_secs(20), async || {
            (world.get("/ready", None).await.status == 503).then_some(())
        })
        .await;
        assert_eq!(world.get("/health", None).await.status, 200);
        server.start_again().await;
        eventually("it answers again", Duration::from_secs(20), async || {
            (world.get(&path, None).await.status == 200).then_some(())
        })
        .await;
        stop.store(true, Ordering::SeqCst);
    };
    let (loads, ()) = tokio::join!(asking, restart);
    for load in loads {
        assert!(load.ok > 0 && load.unavailable > 0);
        // Waiting for a connection (3 s), and for a reader of the same copy before.
        assert!(load.longest < Duration::from_secs(10), "{:?}", load.longest);
    }
    // The broadcast went on, and so do its events.
    assert_eq!(world.status(stream.id).await, "live");
    world.event(&held, 2, ended()).await;
    eventually("it is ready", Duration::from_secs(20), async || {
        (world.get("/ready", None).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn followers_wait_out_a_database_that_restarts() {
    let server = OwnPostgres::start().await;
    let world = world_on(&server).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let url = format!("{}/api/streams/{}/events", world.url, stream.id);
    let mut feed = world.http.get(&url).send().await.unwrap();
    server.stop().await;
    // A newcomer is told to come again, not kept waiting.
    let path = format!(
        "/api/streams/{}/events",
        marquee_common::contract::StreamId::new()
    );
    world.get(&path, None).await.is_problem(503, "unavailable");
    server.start_again().await;
    eventually("it answers again", Duration::from_secs(20), async || {
        let path = format!("/api/streams/{}", stream.id);
        (world.get(&path, None).await.status == 200).then_some(())
    })
    .await;
    world.on_air(&stream, "http://t1.invalid:8086").await;
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(20), async {
        while !text.contains("\"live\"") {
            let chunk = feed.chunk().await.unwrap().expect("it stayed open");
            text.push_str(str::from_utf8(&chunk).unwrap());
        }
    })
    .await
    .expect("the follower is told");
}

#[tokio::test]
async fn while_kafka_is_away_events_wait_and_arrive_in_order_per_stream() {
    let nowhere = format!("127.0.0.1:{}", marquee_testkit::free_port());
    let there = marquee_testkit::infra().kafka;
    let world = World::configured(&["--max-active-streams-per-user", "0"], |config| {
        config.kafka.kafka_bootstrap_servers = nowhere;
    })
    .await;
    let ada = world.user("ada").await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let stream = world.stream_of(&ada).await;
        let mut of_stream = Vec::new();
        for _ in 0..3 {
            let held = world.on_air(&stream, "http://t1.invalid:8086").await;
            world.event(&held, 2, ended()).await;
        }
        for event in world.announced(stream.id).await {
            let event: LiveEvent = serde_json::from_value(event).unwrap();
            of_stream.push(event.event_id);
        }
        assert_eq!(of_stream.len(), 6);
        expected.push((stream, of_stream));
    }
    // Lives go on without Kafka; readiness does not ask for it.
    assert_eq!(world.get("/ready", None).await.status, 200);

    // It is back, as another instance finds that reaches it.
    let received: Arc<Mutex<Vec<LiveEvent>>> = Arc::default();
    let mut config = world.config.clone();
    config.kafka.kafka_bootstrap_servers = there;
    world.shut_down();
    let _again = Instance::start(config.clone()).await;
    let stop = CancellationToken::new();
    let into = Arc::clone(&received);
    let group = format!("test-{}", expected[0].0.id);
    let consumer = tokio::spawn(consume(
        config.kafka,
        group,
        &[LIVE_TOPIC],
        stop.clone(),
        move |message: Received| {
            if let Ok(event) = message.json() {
                into.lock().unwrap().push(event);
            }
            async { Ok::<_, BoxError>(()) }
        },
    ));
    for (stream, wanted) in &expected {
        eventually("all its events came", Duration::from_mins(1), async || {
            let mut seen: Vec<_> = received
                .lock()
                .unwrap()
                .iter()
                .filter(|event| event.stream_id == stream.id)
                .map(|event| event.event_id)
                .collect();
            // At least once: a repetition keeps its id.
            seen.dedup();
            (seen == *wanted).then_some(())
        })
        .await;
    }
    stop.cancel();
    consumer.await.unwrap();
}
