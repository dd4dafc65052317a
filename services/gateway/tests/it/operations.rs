//! What an operator sees.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode},
    routing::get,
};
use marquee_testkit::eventually;
use tokio::sync::Notify;

use crate::fixture::{Gateway, serve};

const SOON: Duration = Duration::from_secs(20);

/// A request has begun; it may end.
type Notifies = (Arc<Notify>, Arc<Notify>);

/// A service that is ready while it is told so.
async fn service(ready: &Arc<AtomicBool>) -> String {
    let answer = async |State(ready): State<Arc<AtomicBool>>| {
        if ready.load(Ordering::SeqCst) {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    serve(
        Router::new()
            .route("/ready", get(answer))
            .with_state(Arc::clone(ready)),
    )
    .await
}

#[tokio::test]
async fn the_gateway_is_ready_when_every_service_behind_it_is() {
    let auth_ready = Arc::new(AtomicBool::new(true));
    let stream_ready = Arc::new(AtomicBool::new(false));
    let gateway = Gateway::start(&[
        &format!("--auth-service-url={}", service(&auth_ready).await),
        &format!("--stream-service-url={}", service(&stream_ready).await),
    ])
    .await;
    let health = eventually("the gateway to see auth", SOON, async || {
        let health = gateway.get("/health").await;
        assert_eq!(health.status, StatusCode::OK);
        (health.body["auth"] == "connected").then_some(health.body)
    })
    .await;
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["stream"], "disconnected");
    let problem = gateway.get("/ready").await.is_problem(503, "unavailable");
    assert!(problem.detail.contains("stream"), "{}", problem.detail);

    stream_ready.store(true, Ordering::SeqCst);
    eventually("the gateway to be ready", SOON, async || {
        (gateway.get("/ready").await.status == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(gateway.get("/health").await.body["status"], "healthy");
}

#[tokio::test]
async fn a_drain_finishes_what_runs() {
    let begun = Arc::new(Notify::new());
    let finish = Arc::new(Notify::new());
    let slow = async |State((begun, finish)): State<Notifies>| {
        begun.notify_one();
        finish.notified().await;
        "done"
    };
    let state = (Arc::clone(&begun), Arc::clone(&finish));
    let upstream = serve(
        Router::new()
            .route("/api/auth/slow", get(slow))
            .with_state(state),
    )
    .await;
    let gateway = Gateway::before(&upstream).await;
    let request = gateway.request(Method::GET, "/api/auth/slow");
    let request = tokio::spawn(request.send());
    begun.notified().await;
    gateway.lifecycle.shutdown();
    finish.notify_one();
    let response = request.await.unwrap().unwrap();
    assert_eq!(response.text().await.unwrap(), "done");
    eventually("the gateway to stop listening", SOON, async || {
        tokio::net::TcpStream::connect(gateway.address)
            .await
            .is_err()
            .then_some(())
    })
    .await;
}
