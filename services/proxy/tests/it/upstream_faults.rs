//! Upstreams that answer garbage, late, half, or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use marquee_testkit::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{PATIENCE, Proxy, read_head, says, set, unique, upstream};

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502() {
    let proxy = Proxy::start().await;
    let id = unique("nobody");
    set(&id, format!("127.0.0.1:{}", free_port())).await;
    let path = format!("/stream/{id}");
    proxy.get(&path).await.is_problem(502, "bad_gateway");
    set(&id, "no-such-host.invalid:80").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.get(&path).await.is_problem(502, "bad_gateway");
}

#[tokio::test]
async fn garbage_is_502() {
    let proxy = Proxy::start().await;
    for answer in [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n".as_slice(),
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        let id = unique("garbage");
        set(&id, says(answer).await).await;
        let got = proxy.get(&format!("/stream/{id}")).await;
        got.is_problem(502, "bad_gateway");
    }
}

#[tokio::test]
async fn an_answer_with_an_endless_head_is_502() {
    let upstream = upstream(async |mut connection| {
        read_head(&mut connection).await;
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n").await;
        let line = format!("x: {}\r\n", "y".repeat(1000));
        while connection.write_all(line.as_bytes()).await.is_ok() {}
    })
    .await;
    let proxy = Proxy::start().await;
    let id = unique("endless");
    set(&id, upstream).await;
    let got = proxy.get(&format!("/stream/{id}")).await;
    got.is_problem(502, "bad_gateway");
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_504() {
    let upstream = upstream(async |mut connection| {
        read_head(&mut connection).await;
        let _ = connection.read(&mut [0; 1]).await;
    })
    .await;
    let proxy = Proxy::with(&["--media-timeout-s=1"]).await;
    let id = unique("silent");
    set(&id, upstream).await;
    let began = Instant::now();
    let got = proxy.get(&format!("/stream/{id}")).await;
    got.is_problem(504, "gateway_timeout");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let proxy = Proxy::start().await;
    for answer in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".as_slice(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let id = unique("half");
        set(&id, says(answer).await).await;
        let request = proxy.request(Method::GET, &format!("/stream/{id}"));
        // The head may have reached the client, or not.
        let read = async { request.send().await?.bytes().await };
        assert!(read.await.is_err(), "not taken for a whole one");
    }
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_broken_off() {
    let upstream = upstream(async |mut connection| {
        read_head(&mut connection).await;
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        let _ = connection.write_all(half).await;
        let _ = connection.read(&mut [0; 1]).await;
    })
    .await;
    let proxy = Proxy::with(&["--silence-timeout-s=1"]).await;
    let id = unique("falls-silent");
    set(&id, upstream).await;
    let request = proxy.request(Method::GET, &format!("/stream/{id}"));
    let response = request.send().await.unwrap();
    let read = tokio::time::timeout(PATIENCE, response.bytes()).await;
    assert!(read.unwrap().is_err());
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let proxy = Proxy::start().await;
    let id = unique("old");
    set(&id, says(b"HTTP/1.0 200 OK\r\n\r\nall of it").await).await;
    let request = proxy.request(Method::GET, &format!("/stream/{id}"));
    let text = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(text, "all of it");
}

#[tokio::test]
async fn a_kept_connection_that_the_upstream_closed_is_not_noticed() {
    // Answers one request a connection, and then closes without having said so.
    let upstream = upstream(async |mut connection| {
        read_head(&mut connection).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        connection.write_all(answer).await.unwrap();
    })
    .await;
    let proxy = Proxy::with(&["--workers=1"]).await;
    let id = unique("closes");
    set(&id, upstream).await;
    for _ in 0..50 {
        let request = proxy.request(Method::GET, &format!("/stream/{id}"));
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "ok");
    }
}

/// An upstream that answers every request and keeps the connection, but reads those for `/bad` and
/// closes; with how many of these it has read.
async fn swallows_bad_ones() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let swallowed = Arc::<AtomicUsize>::default();
    let counter = swallowed.clone();
    let address = upstream(move |mut connection| {
        let counter = counter.clone();
        async move {
            loop {
                let head = read_head(&mut connection).await;
                if head.is_empty() {
                    return;
                }
                if head.contains("/bad ") {
                    counter.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                // Not at once, so that requests that come together have a connection each.
                tokio::time::sleep(Duration::from_millis(100)).await;
                connection.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    (address, swallowed)
}

/// A proxy that keeps `connections` to an upstream that [`swallows_bad_ones`].
async fn kept_connections(connections: usize) -> (Proxy, String, Arc<AtomicUsize>) {
    let (address, swallowed) = swallows_bad_ones().await;
    let proxy = Proxy::with(&["--workers=1"]).await;
    let id = unique("kills");
    set(&id, address).await;
    let good = format!("/stream/{id}/good");
    let answers = join_all((0..connections).map(|_| proxy.get(&good))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    (proxy, format!("/stream/{id}/bad"), swallowed)
}

#[tokio::test]
async fn a_request_that_changes_something_is_sent_once() {
    let (proxy, path, swallowed) = kept_connections(3).await;
    let request = proxy.request(Method::POST, &path).body("x");
    let got = crate::fixture::answer(request).await;
    got.is_problem(502, "bad_gateway");
    let request = proxy.request(Method::PUT, &path).body("x");
    let got = crate::fixture::answer(request).await;
    got.is_problem(502, "bad_gateway");
    assert_eq!(swallowed.load(Ordering::SeqCst), 2, "each once");
}

#[tokio::test]
async fn a_request_that_an_upstream_dies_of_is_sent_twice_at_most() {
    let (proxy, path, swallowed) = kept_connections(20).await;
    proxy.get(&path).await.is_problem(502, "bad_gateway");
    let sent = swallowed.load(Ordering::SeqCst);
    assert!(sent <= 2, "sent {sent} times");
}

#[tokio::test]
async fn a_chunked_answer_that_claims_a_length_arrives_whole() {
    let proxy = Proxy::start().await;
    for length in ["5", "500"] {
        let id = unique("both");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n\
             b\r\nhello world\r\n0\r\n\r\n"
        );
        set(&id, says(answer.leak().as_bytes()).await).await;
        let request = proxy.request(Method::GET, &format!("/stream/{id}"));
        let response = request.send().await.unwrap();
        assert!(!response.headers().contains_key("content-length"));
        assert_eq!(response.text().await.unwrap(), "hello world");
    }
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_408() {
    let upstream = upstream(async |mut connection| {
        let mut sink = vec![0; 4096];
        while connection.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let proxy = Proxy::with(&["--silence-timeout-s=1"]).await;
    let id = unique("upload");
    set(&id, upstream).await;
    let request =
        format!("POST /stream/{id} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    let answer = proxy.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
