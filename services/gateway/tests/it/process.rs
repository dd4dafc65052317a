//! The gateway as the process it is run as.

use std::time::Duration;

use axum::http::StatusCode;
use marquee_testkit::{eventually, free_port, spawn_process};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fixture::{JWT_SECRET_KEY, nobody};

const SOON: Duration = Duration::from_secs(20);
const KEY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

#[tokio::test]
async fn each_request_is_one_log_line_in_which_no_stream_key_stands() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gateway.log");
    let port = free_port().to_string();
    let stream = nobody();
    let mut gateway = spawn_process(
        &[env!("CARGO_BIN_EXE_gateway")],
        &[
            ("PORT", &port),
            ("BIND_ADDR", "127.0.0.1"),
            ("STREAM_SERVICE_URL", &stream),
            ("AUTH_SERVICE_URL", &stream),
            ("JWT_SECRET_KEY", JWT_SECRET_KEY),
            ("ENABLE_RATE_LIMITS", "false"),
            // Nor may it in what libraries say when somebody looks for a fault.
            ("RUST_LOG", "trace"),
        ],
        &log,
    );
    let client = marquee_common::http::client(SOON);
    let get = async |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        client.get(url).send().await
    };
    eventually("the gateway to serve", SOON, async || {
        get("/health").await.ok()
    })
    .await;
    let answer = get(&format!("/api/streams/{KEY}?token=secret"))
        .await
        .unwrap();
    // The cause is logged as well, and must not tell what the path does not.
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);

    gateway.signal(Signal::SIGTERM);
    let ended = tokio::time::timeout(SOON, gateway.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(ended.success(), "{ended:?}");
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.contains(KEY) && !log.contains("token=secret"), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["path"] == "/api/streams/***")
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!(lines[0]["status"], 502);
    assert!(
        lines[0]["cause"].as_str().unwrap().contains("stream"),
        "{log}"
    );
}

#[tokio::test]
async fn a_wrong_setting_is_named_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gateway.log");
    let settings = [
        ("AUTH_SERVICE_URL", "https://auth:8081"),
        ("BIND_ADDR", "127.0.0.1"),
        ("JWT_SECRET_KEY", JWT_SECRET_KEY),
    ];
    let mut gateway = spawn_process(&[env!("CARGO_BIN_EXE_gateway")], &settings, &log);
    let ended = tokio::time::timeout(SOON, gateway.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.code(), Some(2));
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(
        log.contains("AUTH_SERVICE_URL") && log.contains("http://"),
        "{log}"
    );
}

#[tokio::test]
async fn without_the_tokens_key_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    for (key, why) in [(None, "is not set"), (Some("short"), "32")] {
        let log = folder.path().join(why);
        let mut settings = vec![("BIND_ADDR", "127.0.0.1")];
        settings.extend(key.map(|key| ("JWT_SECRET_KEY", key)));
        let mut gateway = spawn_process(&[env!("CARGO_BIN_EXE_gateway")], &settings, &log);
        let ended = tokio::time::timeout(SOON, gateway.wait())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(ended.code(), Some(2));
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains("JWT_SECRET_KEY") && log.contains(why), "{log}");
    }
}
