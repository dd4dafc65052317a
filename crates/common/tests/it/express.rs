//! Answers that pass the layers, and what does not.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Uri},
    response::Response,
    routing::any,
};
use marquee_common::server::{Express, ExpressAnswer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::setup::service;

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
