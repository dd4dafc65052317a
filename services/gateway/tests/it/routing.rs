//! Which service answers what, and what nobody answers.

use axum::http::{Method, StatusCode};

use crate::fixture::{Gateway, answer, echo};

#[tokio::test]
async fn each_service_answers_its_part_of_the_api() {
    let gateway = Gateway::start(&[
        &format!("--auth-service-url={}", echo("auth").await),
        &format!("--stream-service-url={}", echo("stream").await),
        &format!("--vod-service-url={}", echo("vod").await),
        &format!("--recording-service-url={}", echo("recording").await),
        &format!("--playback-service-url={}", echo("playback").await),
        &format!("--proxy-service-url={}", echo("proxy").await),
    ])
    .await;
    for (path, service) in [
        ("/api/auth/me", "auth"),
        ("/api/streams", "stream"),
        ("/api/streams/public?live=true", "stream"),
        ("/api/videos/1/stream", "vod"),
        ("/api/recordings", "recording"),
        ("/api/v1/stream/1", "playback"),
        ("/api/proxy/routes", "proxy"),
        ("/stream/1/master.m3u8", "proxy"),
        // Who names no stream is told so by the proxy.
        ("/stream", "proxy"),
        ("/stream/", "proxy"),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.body["service"], service, "{path}");
        assert_eq!(answer.body["target"], path);
    }
}

#[tokio::test]
async fn method_target_and_body_arrive_as_they_were_sent() {
    let gateway = Gateway::before(&echo("auth").await).await;
    let target = "/api/auth/a%20b/%C3%A9?q=%26%2F&empty=&flag";
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let request = gateway.request(method.clone(), target).body("{\"a\": 1}");
        let answer = answer(request.header("content-type", "application/json")).await;
        assert_eq!(answer.body["method"], method.as_str());
        assert_eq!(answer.body["target"], target);
        assert_eq!(answer.body["body"], "{\"a\": 1}");
        assert_eq!(answer.received("content-type"), ["application/json"]);
        assert_eq!(answer.received("content-length"), ["8"]);
    }
}

#[tokio::test]
async fn what_has_no_route_is_not_found() {
    let gateway = Gateway::before(&echo("auth").await).await;
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/nothing",
        "/api/authentic",
        "/nothing",
    ] {
        gateway.get(path).await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_service_that_is_not_run_here_is_unavailable() {
    let gateway = Gateway::before(&echo("auth").await).await;
    for path in [
        "/api/videos",
        "/api/recordings/1",
        "/api/v1/progress",
        "/stream/1/x.ts",
    ] {
        gateway.get(path).await.is_problem(503, "unavailable");
    }
}

#[tokio::test]
async fn internal_routes_cannot_be_reached_in_any_spelling() {
    let gateway = Gateway::before(&echo("auth").await).await;
    for target in [
        "/internal/users/1/subscription",
        "//internal/users/1/subscription",
        "/internal%2fusers",
        "/%69nternal/users",
        "/api/../internal/users",
        "/api/auth/../../internal/users",
        "/api/auth/%2e%2e/%2e%2e/internal/users",
        "/api/auth/%2E%2E/internal/users",
        "/api/auth/..%2f..%2finternal/users",
        "/api/auth/%2finternal/users",
        "/api/auth//internal/users",
        "/api/auth/%252e%252e/%252e%252e/internal/users",
        "/api/auth/..;/internal/users",
        "/api/auth\\..\\internal",
        "/api/internal/users",
        "http://auth:8081/internal/users",
        "http://x/api/auth/%2e%2e/internal/users",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = gateway.raw(request).await;
        answer.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_request_in_absolute_form_is_routed_by_its_path() {
    let gateway = Gateway::before(&echo("auth").await).await;
    let request = "GET http://elsewhere.example/api/auth/me HTTP/1.1\r\nhost: elsewhere.example\r\n\
                   connection: close\r\n\r\n";
    // The answer is chunked or not as the service likes; its head is enough.
    assert_eq!(gateway.raw(request).await.status, StatusCode::OK);
}
