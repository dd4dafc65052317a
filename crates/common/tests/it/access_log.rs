//! One line a request, with the cause of a failure and without any secret.

use std::{
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
    routing::get as on_get,
};
use http_body_util::BodyExt;
use marquee_common::error::ApiError;
use serde_json::Value;
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::setup::{app, call, get, text};

const KEY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

/// What this thread logs, while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(LevelFilter::INFO)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn requests(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["target"] == "access")
            .collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn routes() -> Router {
    Router::new()
        .route("/streams/{key}", on_get(async || "found"))
        .route(
            "/broken",
            on_get(async || {
                let cause = io::Error::other("disk 7 is on fire");
                Err::<(), _>(ApiError::internal(cause))
            }),
        )
        .route("/slow", on_get(std::future::pending::<()>))
}

#[tokio::test]
async fn a_request_is_one_line_with_its_route_status_size_and_ids() {
    let (log, _guard) = Log::start();
    let app = app(routes());
    let request = Request::get("/streams/7?page=2")
        .header("x-request-id", "abc-1")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .body(Body::empty());
    text(call(&app, request.unwrap()).await).await;

    let lines = log.requests();
    assert_eq!(lines.len(), 1, "{}", log.text());
    let line = &lines[0];
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["path"], "/streams/7");
    assert_eq!(line["query"], "page=2");
    assert_eq!(line["route"], "/streams/{key}");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes"], 5);
    // Numbers, so that they can be compared and added.
    let head_ms = line["head_ms"].as_f64().unwrap();
    assert!(head_ms <= line["duration_ms"].as_f64().unwrap());
    assert_eq!(line["complete"], true);
    assert_eq!(line["request_id"], "abc-1");
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn the_line_is_written_when_the_last_byte_has_left() {
    let (log, _guard) = Log::start();
    let app = app(routes());
    let mut response: Response<Body> = call(&app, get("/streams/7")).await;
    assert!(log.requests().is_empty());
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    assert_eq!(log.requests()[0]["complete"], true);
}

#[tokio::test]
async fn the_cause_of_a_500_is_logged_once() {
    let (log, _guard) = Log::start();
    let app = app(routes());
    text(call(&app, get("/broken")).await).await;
    assert_eq!(log.text().matches("disk 7 is on fire").count(), 1);
    assert_eq!(log.requests()[0]["cause"], "disk 7 is on fire");
    assert_eq!(log.requests()[0]["level"], "ERROR");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_a_499() {
    let (log, _guard) = Log::start();
    let app = app(routes());
    let mut request = Box::pin(call(&app, get("/slow")));
    assert!(futures::poll!(&mut request).is_pending());
    drop(request);
    assert_eq!(log.requests()[0]["status"], 499);
}

#[tokio::test]
async fn stream_keys_and_tokens_are_not_logged() {
    let (log, _guard) = Log::start();
    let app = app(routes());
    for path in [
        format!("/streams/{KEY}?token=abc.def.ghi"),
        format!("/nowhere/{KEY}/index.m3u8?streamid=publish:{KEY}"),
        format!("/streams/%41{}", &KEY[1..]),
    ] {
        text(call(&app, get(&path)).await).await;
    }
    assert_eq!(log.requests().len(), 3);
    let text = log.text();
    assert!(!text.contains(&KEY[1..]), "{text}");
    assert!(!text.contains("abc.def.ghi"), "{text}");
    assert_eq!(log.requests()[0]["path"], "/streams/***");
    assert_eq!(log.requests()[0]["query"], "token=***");
}
