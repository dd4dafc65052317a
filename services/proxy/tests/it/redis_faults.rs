//! Redis away, hanging, restarted: an answer in bounded time, nothing old, and back by itself.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use futures::{StreamExt, stream};
use marquee_testkit::{eventually, free_port};

use crate::{
    fixture::{Answer, PATIENCE, Proxy, echo, redis_port, set, unique},
    relay::{Network, Relay},
};

async fn behind_a_relay() -> (Proxy, Relay) {
    let redis = SocketAddr::from(([127, 0, 0, 1], redis_port()));
    let relay = Relay::to(redis).await;
    let port = format!("--redis-port={}", relay.address.port());
    (Proxy::with(&[&port]).await, relay)
}

#[tokio::test]
async fn without_redis_requests_are_500_within_a_bounded_time() {
    let port = format!("--redis-port={}", free_port());
    let proxy = Proxy::launch(&[&port]);
    for _ in 0..3 {
        let began = Instant::now();
        proxy
            .get("/stream/any")
            .await
            .is_problem(500, "routes_unavailable");
        assert!(began.elapsed() < Duration::from_secs(3));
    }
    assert_eq!(proxy.get("/health").await.status, StatusCode::OK);
    assert_eq!(proxy.get("/ready").await.status, 503);
}

#[tokio::test]
async fn a_lost_connection_forgets_all_routes_and_is_made_anew() {
    let (proxy, relay) = behind_a_relay().await;
    let (old, new) = (echo("old").await, echo("new").await);
    let id = unique("live");
    set(&id, old).await;
    assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("old"));
    relay.is(Network::Down);
    // Redis itself goes on; nobody can tell the proxy.
    set(&id, new).await;
    eventually("the loss is noticed", PATIENCE, async || {
        let name = proxy.name_behind(&id).await;
        name.is_none().then_some(())
    })
    .await;
    proxy
        .get(&format!("/stream/{id}"))
        .await
        .is_problem(500, "routes_unavailable");
    relay.is(Network::Up);
    let name = eventually("Redis is back", PATIENCE, async || {
        proxy.name_behind(&id).await
    })
    .await;
    assert_eq!(name, "new");
}

#[tokio::test]
async fn a_redis_that_hangs_is_noticed_and_nothing_older_than_five_seconds_is_believed() {
    let (proxy, relay) = behind_a_relay().await;
    let (old, new) = (echo("old").await, echo("new").await);
    let id = unique("live");
    set(&id, old).await;
    assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("old"));
    relay.is(Network::Hangs);
    set(&id, new).await;
    let hung = Instant::now();
    eventually("the hang is noticed", PATIENCE, async || {
        let name = proxy.name_behind(&id).await;
        name.is_none().then_some(())
    })
    .await;
    assert!(
        hung.elapsed() < Duration::from_millis(5_500),
        "{:?}",
        hung.elapsed()
    );
    let began = Instant::now();
    let other = proxy.get(&format!("/stream/{}", unique("other"))).await;
    other.is_problem(500, "routes_unavailable");
    assert!(began.elapsed() < Duration::from_secs(3));
    relay.is(Network::Up);
    let name = eventually("Redis answers again", PATIENCE, async || {
        proxy.name_behind(&id).await
    })
    .await;
    assert_eq!(name, "new");
}

/// A hundred at a time: the proxy's own connection to Redis shares the test's thread with them.
async fn thousand_answers(proxy: &Proxy, path: &str) -> Vec<Answer> {
    stream::iter(0..1_000)
        .map(|_| proxy.get(path))
        .buffer_unordered(100)
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_viewers_of_an_upstream_that_restarts_ask_redis_once() {
    let (proxy, relay) = behind_a_relay().await;
    let id = unique("restarts");
    let port = free_port();
    set(&id, format!("127.0.0.1:{port}")).await;
    let path = format!("/stream/{id}");
    let before = relay.asked_bytes();
    for answer in thousand_answers(&proxy, &path).await {
        answer.is_problem(502, "bad_gateway");
    }
    // A question is more than a hundred bytes; one in five seconds, and PINGs.
    let asked = relay.asked_bytes() - before;
    assert!(asked < 5_000, "{asked} bytes");
    // They come again by themselves, and find it.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let router = axum::Router::new().fallback(async || "here");
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    for answer in thousand_answers(&proxy, &path).await {
        assert_eq!(answer.status, StatusCode::OK);
    }
}
