//! Redis away, hanging, restarted: an answer in bounded time, nothing old, and back by itself.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use marquee_testkit::{eventually, free_port};

use crate::{
    fixture::{PATIENCE, Proxy, echo, redis_port, set, unique},
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

#[tokio::test]
async fn a_thousand_viewers_of_a_lost_route_ask_redis_once() {
    let proxy = Proxy::start().await;
    let id = unique("live");
    set(&id, format!("127.0.0.1:{}", free_port())).await;
    let mut redis = crate::fixture::redis().await;
    let path = format!("/stream/{id}");
    let before = gets(&mut redis).await;
    let requests = (0..1_000).map(|_| proxy.get(&path));
    for answer in futures::future::join_all(requests).await {
        answer.is_problem(502, "bad_gateway");
    }
    // Other tests ask the same Redis, hundreds of times at most.
    assert!(gets(&mut redis).await - before < 900);
}

async fn gets(redis: &mut redis::aio::MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(redis)
        .await
        .unwrap();
    let line = info.lines().find(|line| line.starts_with("cmdstat_get:"));
    line.and_then(|line| line.split(['=', ',']).nth(1)?.parse().ok())
        .unwrap_or(0)
}
