//! Answers that pass the layers, and what does not; and for how long what is sent is held.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Uri},
    response::Response,
    routing::any,
};
use marquee_common::server::{Express, ExpressAnswer};
use marquee_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::setup::{PATIENCE, service};

/// Has something for `/shelf`, and finds out too late that it has nothing for `/empty`.
struct Shelf;

impl Express for Shelf {
    fn answer(&self, method: &Method, uri: &Uri, _: &HeaderMap) -> Option<ExpressAnswer> {
        let is_ready = match uri.path() {
            "/shelf" => true,
            "/empty" => false,
            _ => return None,
        };
        (method == Method::GET).then(|| -> ExpressAnswer {
            Box::pin(async move { is_ready.then(|| Response::new(Body::from("from the shelf"))) })
        })
    }
}

#[tokio::test]
async fn a_ready_answer_passes_the_layers_and_all_else_goes_through_them() {
    let routes = Router::new().route("/{*path}", any(async || "made to order"));
    let bound = service()
        .raw_routes(routes)
        .express(Shelf)
        .bind()
        .await
        .unwrap();
    let addr = bound.local_addr();
    tokio::spawn(bound.run());
    let ask = async |request: &str| {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");

    let ready = ask(&get("/shelf")).await;
    assert!(ready.ends_with("from the shelf"), "{ready}");
    assert!(!ready.contains("x-request-id"), "{ready}");
    for request in [
        get("/empty"),
        get("/other"),
        get("/shelf").replace("GET", "PUT"),
    ] {
        let made = ask(&request).await;
        assert!(made.ends_with("made to order"), "{made}");
        assert!(made.contains("x-request-id: "), "{made}");
    }
    let doubtful = ask("GET /shelf HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n")
    .await;
    assert!(doubtful.starts_with("HTTP/1.1 400 "), "{doubtful}");
}

/// Media, and whoever still holds it.
struct Media {
    bytes: Vec<u8>,
    _held: Arc<()>,
}

impl AsRef<[u8]> for Media {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A machine with much to do may stand still for seconds; that is not the client's slowness.
const LONGEST: Duration = Duration::from_secs(8);

#[tokio::test]
async fn what_a_client_takes_too_long_over_is_let_go_and_others_go_on() {
    let held = Arc::new(());
    let handed_out = Arc::downgrade(&held);
    let media = any(async move || {
        Bytes::from_owner(Media {
            bytes: vec![7; 16 << 20],
            _held: held.clone(),
        })
    });
    let bound = service()
        .raw_routes(Router::new().route("/media", media))
        .longest_answer(LONGEST)
        .bind()
        .await
        .unwrap();
    let addr = bound.local_addr();
    tokio::spawn(bound.run());
    let becomes = async |count: usize| {
        eventually("it is held by so many", PATIENCE, || async {
            (handed_out.strong_count() == count).then_some(())
        })
        .await;
    };
    let mut slow = TcpStream::connect(addr).await.unwrap();
    let request = b"GET /media HTTP/1.1\r\nhost: x\r\n\r\n";
    slow.write_all(request).await.unwrap();
    // By the route, and by what is sent.
    becomes(2).await;
    let sips = async {
        let mut sip = [0; 4096];
        while slow.read_exact(&mut sip).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // On one connection, and each answer in time.
    let client = reqwest::Client::new();
    let others = async {
        let began = Instant::now();
        // Together they take longer than one may.
        while began.elapsed() < LONGEST + Duration::from_secs(1) {
            let media = client.get(format!("http://{addr}/media"));
            let media = media.send().await.unwrap().bytes().await.unwrap();
            assert_eq!(media.len(), 16 << 20);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        becomes(1).await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(sips, std::future::pending()) } => {}
        () = others => {}
    }
}
