//! Requests that cannot be told apart are refused by every service, before any route.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::any};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::setup::service;

#[tokio::test]
async fn a_request_whose_end_is_in_doubt_reaches_no_route_and_ends_its_connection() {
    let called = Arc::new(AtomicUsize::new(0));
    let counter = called.clone();
    let count = async move || {
        counter.fetch_add(1, Ordering::SeqCst);
        "called"
    };
    let routes = Router::new().route("/{*path}", any(count));
    let bound = service().raw_routes(routes).bind().await.unwrap();
    let addr = bound.local_addr();
    tokio::spawn(bound.run());

    let ask = async |request: &str| {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = ask("POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /y HTTP/1.1\r\nhost: x\r\n\r\n")
    .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("\"code\":\"bad_request\""), "{answer}");
    assert!(answer.contains("x-request-id: "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(called.load(Ordering::SeqCst), 0);

    let answer = ask("GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("called"), "{answer}");
}
