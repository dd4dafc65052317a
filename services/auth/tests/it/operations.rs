//! What an operator sees, and what happens when a server the service needs is away.

use std::time::Duration;

use marquee_testkit::eventually;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    fixture::{Auth, PASSWORD, answer},
    relay::Relay,
};

const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn health_names_what_the_service_needs() {
    let auth = Auth::start().await;
    let health = eventually("a healthy service", SOON, async || {
        let health = answer(auth.request(Method::GET, "/health")).await;
        assert_eq!(health.status, StatusCode::OK);
        (health.body["status"] == "healthy").then_some(health.body)
    })
    .await;
    let expected = json!({
        "status": "healthy", "database": "connected", "redis": "connected", "kafka": "connected",
    });
    assert_eq!(health, expected);
    assert_eq!(
        answer(auth.request(Method::GET, "/ready")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn without_redis_the_service_is_degraded_but_ready() {
    let port = format!("--redis-port={}", marquee_testkit::free_port());
    let auth = Auth::start_with(&[&port]).await;
    eventually("the service to be ready", SOON, async || {
        let ready = answer(auth.request(Method::GET, "/ready")).await;
        (ready.status == StatusCode::OK).then_some(())
    })
    .await;
    let health = answer(auth.request(Method::GET, "/health")).await;
    assert_eq!(health.status, StatusCode::OK);
    assert_eq!(health.body["status"], "degraded");
    assert_eq!(health.body["redis"], "disconnected");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let auth = Auth::start().await;
    let nowhere = auth.request(Method::GET, "/api/auth/nowhere");
    answer(nowhere).await.is_problem(404, "not_found");
    let wrong = answer(auth.request(Method::DELETE, "/api/auth/login")).await;
    wrong.is_problem(405, "method_not_allowed");
    assert!(wrong.headers.contains_key("allow"));
}

#[tokio::test]
async fn a_lost_database_is_a_503_and_its_return_needs_nobody() {
    let database = marquee_testkit::database("auth").await;
    let (relay, url) = Relay::to_database(&database.url).await;
    let auth = Auth::start_on(database, &url, &[]).await;
    auth.register("ann").await;

    relay.cut();
    auth.login("ann", PASSWORD)
        .await
        .is_problem(503, "unavailable");
    auth.login("nobody", PASSWORD)
        .await
        .is_problem(503, "unavailable");

    relay.mend();
    eventually("signing in to work again", SOON, async || {
        (auth.login("ann", PASSWORD).await.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_database_that_goes_under_load_hangs_no_request_and_recovers() {
    let database = marquee_testkit::database("auth").await;
    let (relay, url) = Relay::to_database(&database.url).await;
    let auth = Auth::start_on(database, &url, &[]).await;
    let ann = auth.register("ann").await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let load = async |worker: usize| {
        let mut seen = std::collections::BTreeSet::new();
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let sent = std::time::Instant::now();
            let got = if worker.is_multiple_of(2) {
                auth.login("ann", PASSWORD).await
            } else {
                auth.get_as("/api/auth/me", &ann.access_token).await
            };
            // A wait for a connection is 3 s; a sign-in may wait for several.
            assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
            if got.status != StatusCode::OK {
                got.is_problem(503, "unavailable");
            }
            seen.insert(got.status.as_u16());
        }
        seen
    };
    let outage = async {
        relay.cut();
        auth.get_as("/api/auth/me", &ann.access_token)
            .await
            .is_problem(503, "unavailable");
        relay.mend();
        for _ in 0..5 {
            eventually("requests to work again", SOON, async || {
                let me = auth.get_as("/api/auth/me", &ann.access_token).await;
                (me.status == StatusCode::OK).then_some(())
            })
            .await;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (seen, ()) = tokio::join!(futures::future::join_all((0..8).map(load)), outage);
    let seen: std::collections::BTreeSet<u16> = seen.into_iter().flatten().collect();
    assert!(seen.contains(&503), "the outage was felt: {seen:?}");
}

#[tokio::test]
async fn when_too_many_passwords_wait_the_next_is_told_to_come_back() {
    let auth = Auth::start_with(&[
        "--bcrypt-cost=10",
        "--bcrypt-parallelism=1",
        "--bcrypt-queue=2",
    ])
    .await;
    auth.register("ann").await;
    let burst = (0..16).map(|_| auth.login("ann", PASSWORD));
    let answers = futures::future::join_all(burst).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.status == StatusCode::OK);
    assert!(served.len() >= 3, "{} were served", served.len());
    assert!(!refused.is_empty());
    for answer in refused {
        answer.is_problem(503, "unavailable");
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(auth.login("ann", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_network_that_fills_the_queue_keeps_no_other_from_signing_in() {
    let auth = Auth::start_with(&[
        "--bcrypt-cost=10",
        "--bcrypt-parallelism=1",
        "--bcrypt-queue=7",
        "--bcrypt-per-network=4",
    ])
    .await;
    auth.register("ann").await;
    let guesses = (0..40).map(|n| {
        let name = format!("nobody-{n}");
        let auth = &auth;
        async move {
            auth.login_from("198.51.100.7", &name, "wrong password")
                .await
        }
    });
    let owner = auth.login_from("203.0.113.1", "ann", PASSWORD);
    let (guesses, owner) = tokio::join!(futures::future::join_all(guesses), owner);
    assert_eq!(owner.status, StatusCode::OK, "{}", owner.body);
    let refused = guesses
        .iter()
        .filter(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.count() > 0, "its share is less than its guesses");
}
