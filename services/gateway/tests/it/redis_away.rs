//! Redis is away, or hangs: requests are counted by each gateway alone, and nobody waits for it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use axum::http::{Method, StatusCode};
use marquee_testkit::{TestProcess, eventually, free_port, spawn_process};
use nix::sys::signal::Signal;
use redis::AsyncCommands;
use tempfile::TempDir;

use crate::fixture::{Gateway, answer, echo, nobody};

const SOON: Duration = Duration::from_secs(20);
const FEW: [&str; 2] = ["--rate-limit-address=1/h", "--rate-limit-address-burst=3"];

async fn gateway(redis_port: u16, args: &[&str]) -> Gateway {
    let auth = format!("--auth-service-url={}", echo("auth").await);
    let port = format!("--redis-port={redis_port}");
    let base = [
        "--enable-rate-limits=true",
        "--redis-host=127.0.0.1",
        auth.as_str(),
        &port,
    ];
    Gateway::start(&[&base[..], args].concat())
        .await
        .with_own_address()
}

/// A Redis of this test's own, that it may stop.
struct OwnRedis {
    port: u16,
    process: TestProcess,
    _folder: TempDir,
}

async fn own_redis(port: u16) -> OwnRedis {
    let folder = tempfile::tempdir().unwrap();
    let (port_text, dir) = (port.to_string(), folder.path().display().to_string());
    let argv = [
        "redis-server",
        "--port",
        &port_text,
        "--bind",
        "127.0.0.1",
        "--dir",
        &dir,
        "--save",
        "",
    ];
    let process = spawn_process(&argv, &[], &folder.path().join("redis.log"));
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    eventually("Redis answers", SOON, async || {
        client.get_multiplexed_async_connection().await.ok()
    })
    .await;
    OwnRedis {
        port,
        process,
        _folder: folder,
    }
}

async fn passes_three_and_no_more(gateway: &Gateway) {
    for _ in 0..3 {
        assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    }
    let limited = gateway.get("/api/auth/me").await;
    limited.is_problem(429, "rate_limited");
    assert!(limited.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn without_redis_the_same_figures_hold() {
    let gateway = gateway(free_port(), &FEW).await;
    passes_three_and_no_more(&gateway).await;
    passes_three_and_no_more(&gateway.at_another_address()).await;
}

#[tokio::test]
async fn without_redis_the_gateway_is_ready_and_says_that_it_is_degraded() {
    let ready = axum::Router::new().route("/ready", axum::routing::get(async || "yes"));
    let upstream = crate::fixture::serve(ready).await;
    let port = format!("--redis-port={}", free_port());
    let gateway = Gateway::start(&[
        "--enable-rate-limits=true",
        "--redis-host=127.0.0.1",
        &port,
        &format!("--auth-service-url={upstream}"),
        &format!("--stream-service-url={upstream}"),
    ])
    .await;
    eventually("the gateway is ready", SOON, async || {
        (gateway.get("/ready").await.status == StatusCode::OK).then_some(())
    })
    .await;
    let health = gateway.get("/health").await;
    assert_eq!(health.body["redis"], "disconnected");
    assert_eq!(health.body["status"], "degraded");
}

#[tokio::test]
async fn a_redis_that_hangs_delays_one_request_and_none_after_it() {
    // Accepts and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let gateway = gateway(port, &[&FEW[..], &["--rate-limit-timeout-ms=500"]].concat()).await;
    let started = Instant::now();
    passes_three_and_no_more(&gateway).await;
    for _ in 0..50 {
        let limited = gateway.get("/api/auth/me").await;
        assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?} for 54 requests");
}

#[tokio::test]
async fn a_redis_that_falters_fills_nobodys_bucket() {
    let redis = own_redis(free_port()).await;
    // Patient until it is frozen: a slow machine shall not make the gateway count alone before.
    let gateway = gateway(
        redis.port,
        &[&FEW[..], &["--rate-limit-timeout-ms=3000"]].concat(),
    )
    .await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    }
    redis.process.signal(Signal::SIGSTOP);
    let still = gateway.get("/api/auth/me").await;
    redis.process.signal(Signal::SIGCONT);
    still.is_problem(429, "rate_limited");
}

#[tokio::test]
async fn redis_is_used_again_when_it_is_back() {
    let mut redis = own_redis(free_port()).await;
    let gateway = gateway(
        redis.port,
        &[
            "--rate-limit-timeout-ms=300",
            // Slow enough that a bucket is still there when it is looked for.
            "--rate-limit-address=1/s",
            "--rate-limit-address-burst=1000",
        ],
    )
    .await;
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", redis.port)).unwrap();
    let counted = async || {
        gateway.get("/api/auth/me").await;
        let mut redis = client.get_multiplexed_async_connection().await.ok()?;
        let keys: Vec<String> = redis.keys("gateway:limit:address:127.*").await.ok()?;
        (!keys.is_empty()).then_some(())
    };
    eventually("the gateway counts in Redis", SOON, &counted).await;

    // Frozen, it still accepts connections and answers nothing.
    redis.process.signal(Signal::SIGSTOP);
    for _ in 0..20 {
        assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    }
    redis.process.signal(Signal::SIGCONT);
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
    eventually("it counts there again", SOON, &counted).await;

    redis.process.signal(Signal::SIGKILL);
    redis.process.wait().await.unwrap();
    assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    // A new one knows no script yet.
    let _redis = own_redis(redis.port).await;
    eventually("it counts in the new one", SOON, &counted).await;
}

#[tokio::test]
async fn a_redis_that_answers_but_takes_nothing_is_as_good_as_away() {
    let redis = own_redis(free_port()).await;
    let gateway = gateway(redis.port, &FEW).await;
    let full = Command::new("redis-cli")
        .args(["-p", &redis.port.to_string()])
        .args(["config", "set", "maxmemory", "1"])
        .output()
        .unwrap();
    assert!(full.status.success(), "{full:?}");
    passes_three_and_no_more(&gateway).await;
}

#[tokio::test]
async fn with_auth_and_redis_away_streams_are_answered_and_counted_all_the_same() {
    let port = format!("--redis-port={}", free_port());
    let stream = format!("--stream-service-url={}", echo("stream").await);
    let auth = format!("--auth-service-url={}", nobody());
    let args = [
        "--enable-rate-limits=true",
        "--redis-host=127.0.0.1",
        "--rate-limit-address=1/h",
        "--rate-limit-address-burst=2",
        &port,
        &stream,
        &auth,
    ];
    let gateway = Gateway::start(&args).await.with_own_address();
    let list = gateway.get("/api/streams/public").await;
    assert_eq!(list.body["service"], "stream");
    let new_key = gateway.request(Method::POST, "/api/streams/generate-key");
    assert_eq!(answer(new_key).await.body["service"], "stream");
    let limited = gateway.get("/api/streams/public").await;
    limited.is_problem(429, "rate_limited");
}
