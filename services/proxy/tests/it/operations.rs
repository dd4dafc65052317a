//! What an operator sees, and the proxy as the process it is run as.

use std::{path::Path, time::Duration};

use axum::http::StatusCode;
use marquee_testkit::{TestProcess, eventually, free_port, spawn_process};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::fixture::{PATIENCE, Proxy, echo, read_head, redis_port, set, unique, upstream};

const KEY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

/// The proxy as a process, with nothing but the seed's two variables, a port and what the test adds.
async fn process(port: u16, log: &Path, settings: &[(&str, &str)]) -> TestProcess {
    let (redis, text) = (redis_port().to_string(), port.to_string());
    let mut all = vec![
        ("PORT", text.as_str()),
        ("BIND_ADDR", "127.0.0.1"),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", redis.as_str()),
    ];
    all.extend_from_slice(settings);
    let process = spawn_process(&[env!("CARGO_BIN_EXE_proxy")], &all, log);
    eventually("the proxy is ready", PATIENCE, async || {
        let ready = client()
            .get(format!("http://127.0.0.1:{port}/ready"))
            .send()
            .await;
        ready.ok()?.status().is_success().then_some(())
    })
    .await;
    process
}

fn client() -> reqwest::Client {
    marquee_common::http::client(PATIENCE)
}

async fn ends(mut process: TestProcess) -> std::process::ExitStatus {
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
    ended.unwrap().unwrap()
}

#[tokio::test]
async fn health_says_whether_redis_is_there() {
    let proxy = Proxy::start().await;
    let health = proxy.get("/health").await;
    assert_eq!(health.body["status"], "healthy");
    assert_eq!(health.body["redis"], "connected");
    let unknown = proxy.get("/elsewhere").await;
    unknown.is_problem(404, "not_found");
}

#[tokio::test]
async fn each_request_is_one_line_in_which_no_secret_stands() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("proxy.log");
    let port = free_port();
    let process = process(port, &log, &[("RUST_LOG", "trace")]).await;
    let id = unique("logged");
    set(&id, echo("it").await).await;
    for path in [
        format!("/stream/{id}/{KEY}?token=secret&x=1"),
        "/stream/not-there".to_owned(),
    ] {
        client()
            .get(format!("http://127.0.0.1:{port}{path}"))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
    }
    process.signal(Signal::SIGTERM);
    assert!(ends(process).await.success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.contains(KEY) && !log.contains("secret"), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["route"] == "/stream/{stream_id}")
        .collect();
    assert_eq!(lines.len(), 2, "{log}");
    // A line is written when its answer has gone out, which the next request does not wait for.
    let line_of = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
    let found = line_of(&format!("/stream/{id}/***"));
    assert_eq!(found["status"], 200);
    assert_eq!(found["complete"], true);
    assert!(found["request_id"].is_string());
    assert_eq!(line_of("/stream/not-there")["status"], 404);
}

#[tokio::test]
async fn the_access_log_can_be_the_one_that_log_readers_know() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("proxy.log");
    let port = free_port();
    let settings = [("ACCESS_LOG_FORMAT", "combined"), ("RUST_LOG", "off")];
    let process = process(port, &log, &settings).await;
    let id = unique("logged");
    set(&id, echo("it").await).await;
    let request = client()
        .get(format!("http://127.0.0.1:{port}/stream/{id}"))
        .header("user-agent", "an agent");
    request.send().await.unwrap();
    process.signal(Signal::SIGTERM);
    assert!(ends(process).await.success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.starts_with("127.0.0.1 - - ["), "{log}");
    assert!(
        log.contains(&format!("] \"GET /stream/{id} HTTP/1.1\" 200 ")),
        "{log}"
    );
    assert!(log.ends_with(" \"-\" \"an agent\"\n"), "{log}");
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_takes_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let process = process(port, &folder.path().join("log"), &[]).await;
    let (told, mut asked) = tokio::sync::mpsc::channel::<()>(1);
    let (goes_on, gate) = tokio::sync::watch::channel(false);
    let slow = upstream(move |mut connection| {
        let (told, mut gate) = (told.clone(), gate.clone());
        async move {
            read_head(&mut connection).await;
            told.send(()).await.unwrap();
            gate.wait_for(|open| *open).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate";
            connection.write_all(answer).await.unwrap();
        }
    })
    .await;
    let id = unique("drain");
    set(&id, slow).await;
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET /stream/{id} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    asked.recv().await.unwrap();
    process.signal(Signal::SIGTERM);
    eventually("nobody listens any more", PATIENCE, async || {
        TcpStream::connect(("127.0.0.1", port)).await.err()
    })
    .await;
    goes_on.send_replace(true);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("late"), "{answer}");
    assert!(ends(process).await.success());
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once() {
    let proxy = Proxy::with(&["--max-connections=20"]).await;
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let request = b"GET /stream/x HTTP/1.1\r\nhost: x\r\n\r\n";
        let _ = stream.write_all(request).await;
        let answered = stream.read(&mut [0; 16]).await.is_ok_and(|read| read > 0);
        open.push((stream, answered));
    }
    let answered = open.iter().filter(|(_, answered)| *answered).count();
    assert!((15..=20).contains(&answered), "{answered}");
    drop(open);
    eventually("there is room again", PATIENCE, async || {
        let got = proxy
            .client
            .get(format!("{}/stream/x", proxy.url))
            .send()
            .await;
        got.ok().filter(|got| got.status() == StatusCode::NOT_FOUND)
    })
    .await;
}

#[tokio::test]
async fn what_happened_is_measured() {
    let proxy = Proxy::start().await;
    let id = unique("measured");
    set(&id, echo("it").await).await;
    let before = proxy
        .metric("proxy_stream_answers_total{status=\"2xx\"}")
        .await;
    proxy.get(&format!("/stream/{id}")).await;
    let after = proxy
        .metric("proxy_stream_answers_total{status=\"2xx\"}")
        .await;
    assert!(after > before);
    eventually(
        "connections are counted",
        Duration::from_secs(10),
        async || (proxy.metric("proxy_connections").await >= 1.0).then_some(()),
    )
    .await;
}
