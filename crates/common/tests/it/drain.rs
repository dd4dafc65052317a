//! The end of a process: what runs is finished, within the grace.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use marquee_common::{
    config::HttpConfig,
    server::{Lifecycle, ServeError, Service},
};
use marquee_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
};

use crate::setup::{PATIENCE, telemetry};

struct Server {
    addr: SocketAddr,
    lifecycle: Lifecycle,
    running: JoinHandle<Result<(), ServeError>>,
    entered: Arc<Notify>,
    release: Arc<Notify>,
}

/// A server whose `/wait` answers when released.
async fn server(grace_s: u64) -> Server {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (notify, wait) = (entered.clone(), release.clone());
    let routes = Router::new().route(
        "/wait",
        get(async move || {
            notify.notify_one();
            wait.notified().await;
            "finished"
        }),
    );
    let http = HttpConfig {
        shutdown_grace_s: grace_s,
        ..HttpConfig::default()
    };
    let service = Service::new("tester", telemetry(), http, 0).raw_routes(routes);
    let lifecycle = service.lifecycle();
    let bound = service.bind().await.unwrap();
    Server {
        addr: bound.local_addr(),
        lifecycle,
        running: tokio::spawn(bound.run()),
        entered,
        release,
    }
}

impl Server {
    async fn begin_request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream
            .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        self.entered.notified().await;
        stream
    }
}

#[tokio::test]
async fn a_request_that_runs_is_finished_and_no_new_one_accepted() {
    let server = server(20).await;
    let mut running = server.begin_request().await;
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    idle.write_all(b"HEAD /health HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(idle.read(&mut [0; 4096]).await.unwrap() > 0);

    server.lifecycle.shutdown();
    eventually("new connections are refused", PATIENCE, async || {
        TcpStream::connect(server.addr).await.is_err().then_some(())
    })
    .await;
    // The idle connection is closed without an answer.
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);

    server.release.notify_one();
    let mut answer = String::new();
    running.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("finished"), "{answer}");
    server.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_after_the_grace() {
    let server = server(1).await;
    let mut running = server.begin_request().await;
    let asked = Instant::now();
    server.lifecycle.shutdown();
    server.running.await.unwrap().unwrap();
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    let mut answer = Vec::new();
    let _ = running.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_task_that_dies_ends_the_service_with_its_name() {
    let server = server(1).await;
    server
        .lifecycle
        .spawn("relay", async { panic!("out of luck") });
    let ended = server.running.await.unwrap();
    assert!(matches!(ended, Err(ServeError::TaskDied("relay"))));
}

#[tokio::test]
async fn a_keep_alive_connection_serves_several_requests() {
    let server = server(1).await;
    let client = reqwest::Client::new();
    for _ in 0..3 {
        let url = format!("http://{}/health", server.addr);
        assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    }
    server.lifecycle.shutdown();
    server.running.await.unwrap().unwrap();
}
