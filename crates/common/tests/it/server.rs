//! Request ids, probes, metrics, documentation, timeouts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
    routing::{get as on_get, post},
};
use marquee_common::{
    config::HttpConfig,
    contract::StreamId,
    error::ApiError,
    extract::Path,
    http::{CallError, InternalClient},
    server::{Check, RequestContext, Service},
};
use marquee_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::setup::{PATIENCE, app, call, get, json, secret, service, telemetry, text};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn the_callers_request_id_comes_back_and_is_known_inside() {
    let current = || RequestContext::current().unwrap().request_id().to_owned();
    let app = app(Router::new().route("/id", on_get(async move || current())));
    let request = Request::get("/id")
        .header("x-request-id", "abc-1")
        .body(Body::empty());
    let response = call(&app, request.unwrap()).await;
    assert_eq!(response.headers()["x-request-id"], "abc-1");
    assert_eq!(text(response).await, "abc-1");
}

#[tokio::test]
async fn a_missing_or_insane_request_id_is_replaced() {
    let app = app(Router::new());
    let mut seen = Vec::new();
    for id in [None, Some("a b"), Some("x=y;"), Some("")] {
        let mut request = get("/health");
        if let Some(id) = id {
            request
                .headers_mut()
                .insert("x-request-id", id.parse().unwrap());
        }
        let response = call(&app, request).await;
        let made = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        uuid::Uuid::parse_str(&made).unwrap();
        assert!(!seen.contains(&made));
        seen.push(made);
    }
}

#[tokio::test]
async fn a_call_of_another_service_carries_our_key_and_the_requests_ids() {
    let echo = Router::new().route(
        "/internal/echo",
        post(async |headers: HeaderMap| {
            ["x-internal-api-key", "x-request-id", "traceparent"]
                .map(|name| headers[name].to_str().unwrap().to_owned())
                .join(" ")
                .into_bytes()
        })
        .layer(axum::middleware::map_response(as_json_string)),
    );
    let called_service = service().raw_routes(echo).bind().await.unwrap();
    let url = format!("http://{}", called_service.local_addr());
    tokio::spawn(called_service.run());

    let client = InternalClient::new(url.parse().unwrap(), secret('i'), Duration::from_secs(5));
    let caller = app(Router::new().route(
        "/call",
        on_get(async move || {
            client
                .post::<_, String>("/internal/echo", &())
                .await
                .unwrap()
        }),
    ));
    let request = Request::get("/call")
        .header("x-request-id", "abc-1")
        .header("traceparent", TRACEPARENT)
        .body(Body::empty());
    let answer = text(call(&caller, request.unwrap()).await).await;
    assert_eq!(answer, format!("{} abc-1 {TRACEPARENT}", "i".repeat(40)));
}

async fn as_json_string(response: axum::response::Response) -> String {
    serde_json::to_string(&text(response).await).unwrap()
}

#[tokio::test]
async fn a_problem_of_another_service_is_its_status_and_code() {
    let callee = service()
        .raw_routes(Router::new().route(
            "/gone",
            on_get(async || ApiError::new(StatusCode::GONE, "stream_key_expired", "It is over.")),
        ))
        .bind()
        .await
        .unwrap();
    let url = format!("http://{}", callee.local_addr());
    tokio::spawn(callee.run());

    let client = InternalClient::new(url.parse().unwrap(), secret('i'), Duration::from_secs(5));
    let error = client.get::<()>("/gone").await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::GONE));
    assert_eq!(error.code(), "stream_key_expired");
    assert!(!error.is_transient());

    let nowhere = client.at("http://127.0.0.1:9".parse().unwrap());
    let error = nowhere.get::<()>("/gone").await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)) && error.is_transient());
}

#[tokio::test]
async fn health_is_200_with_each_dependency_and_ready_503_while_a_critical_one_is_away() {
    let postgres_up = Arc::new(AtomicBool::new(false));
    let probe = postgres_up.clone();
    let app = service()
        .readiness(vec![
            Check::new("postgres", true, move || {
                let up = probe.load(Ordering::SeqCst);
                async move { if up { Ok(()) } else { Err("refused") } }
            }),
            Check::new("kafka", false, async || Err("refused")).words("enabled", "disabled"),
        ])
        .into_router();

    let response = call(&app, get("/ready")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let response = call(&app, get("/health")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let health = json(response).await;
    assert_eq!(
        health,
        serde_json::json!({"status": "degraded", "postgres": "disconnected", "kafka": "disabled"})
    );

    postgres_up.store(true, Ordering::SeqCst);
    eventually("ready after the next look", PATIENCE, async || {
        (call(&app, get("/ready")).await.status() == StatusCode::OK).then_some(())
    })
    .await;
    let health = json(call(&app, get("/health")).await).await;
    assert_eq!(health["postgres"], "connected");
    assert_eq!(health["status"], "degraded");
}

#[tokio::test]
async fn metrics_count_requests_by_route_template() {
    let app = app(Router::new().route(
        "/streams/{id}",
        on_get(async |Path(_): Path<StreamId>| StatusCode::NO_CONTENT),
    ));
    for _ in 0..2 {
        call(&app, get(&format!("/streams/{}", StreamId::new()))).await;
    }
    let metrics = text(call(&app, get("/metrics")).await).await;
    let wanted = "tester_http_request_duration_seconds_count{method=\"GET\",\
                  route=\"/streams/{id}\",status=\"204\"} 2";
    assert!(metrics.contains(wanted), "{metrics}");
}

/// A documented route.
#[utoipa::path(get, path = "/api/things/{id}", responses((status = 204)))]
async fn thing() -> StatusCode {
    StatusCode::NO_CONTENT
}

#[tokio::test]
async fn the_documentation_lists_the_routes_and_has_a_page() {
    let app = service()
        .routes(OpenApiRouter::new().routes(routes!(thing)))
        .into_router();
    let openapi = json(call(&app, get("/openapi.json")).await).await;
    assert_eq!(openapi["info"]["title"], "Marquee tester");
    assert!(openapi["paths"]["/api/things/{id}"]["get"].is_object());
    assert!(openapi["components"]["schemas"]["Problem"].is_object());

    let page = text(call(&app, get("/docs/")).await).await;
    assert!(page.contains("swagger"));
}

#[tokio::test]
async fn an_api_route_that_takes_too_long_is_503_and_a_raw_one_is_not() {
    let slow = || {
        on_get(async || {
            tokio::time::sleep(Duration::from_secs(3)).await;
            "done"
        })
    };
    let http = HttpConfig {
        request_timeout_s: 1,
        ..HttpConfig::default()
    };
    let app = Service::new("tester", telemetry(), http, 0)
        .routes(OpenApiRouter::from(Router::new().route("/api", slow())))
        .raw_routes(Router::new().route("/raw", slow()))
        .into_router();
    let (api, raw) = tokio::join!(call(&app, get("/api")), call(&app, get("/raw")));
    assert_eq!(api.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json(api).await["code"], "unavailable");
    assert_eq!(raw.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_sends_too_much_hears_so_after_it_has_sent_all() {
    const SIZE: usize = 32 * 1024 * 1024;
    let upload = post(async |_: axum::body::Bytes| "read");
    let routes = Router::new().route("/upload", upload);
    let bound = service().routes(OpenApiRouter::from(routes)).bind().await;
    let bound = bound.unwrap();
    let address = bound.local_addr();
    tokio::spawn(bound.run());
    let exchange = async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /upload HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![1; 64 * 1024];
        for _ in 0..SIZE / piece.len() {
            connection.write_all(&piece).await.unwrap();
        }
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_connection_serves_on_after_a_request_nobody_read_or_says_that_it_does_not() {
    let routes = Router::new()
        .route("/read", post(async |_: axum::body::Bytes| "read"))
        .route("/unread", post(async || "not read"));
    let bound = service().routes(OpenApiRouter::from(routes)).bind().await;
    let bound = bound.unwrap();
    let url = format!("http://{}", bound.local_addr());
    tokio::spawn(bound.run());
    let client = reqwest::Client::new();
    let sent = async |path, body: reqwest::Body| {
        let request = client.post(format!("{url}{path}")).body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let connection = answer.headers().get("connection").cloned();
        answer.bytes().await.unwrap();
        connection
    };
    let announced = |size| vec![b'x'; size].into();
    let unannounced = |size| {
        let piece = Ok::<_, std::io::Error>(vec![b'x'; size]);
        reqwest::Body::wrap_stream(futures::stream::iter([piece]))
    };
    // One after the other, so that the client uses a connection again if it may.
    for _ in 0..50 {
        assert_eq!(sent("/unread", announced(20_000)).await, None);
        assert_eq!(sent("/unread", unannounced(20_000)).await, None);
        assert_eq!(sent("/read", announced(1_000_000)).await, None);
        let much = sent("/unread", announced(1_000_000)).await;
        assert_eq!(much.unwrap(), "close");
    }
}
