//! How large and how slow a request may be.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use futures::StreamExt;

use crate::fixture::{Gateway, answer, echo};

async fn gateway(args: &[&str]) -> Gateway {
    let auth = format!("--auth-service-url={}", echo("auth").await);
    let proxy = format!("--proxy-service-url={}", echo("proxy").await);
    Gateway::start(&[&[auth.as_str(), proxy.as_str()], args].concat()).await
}

fn unannounced(size: usize) -> reqwest::Body {
    let pieces = (0..size.div_ceil(1000)).map(move |n| {
        let piece = vec![b'x'; (size - n * 1000).min(1000)];
        Ok::<_, std::io::Error>(Bytes::from(piece))
    });
    reqwest::Body::wrap_stream(futures::stream::iter(pieces))
}

#[tokio::test]
async fn an_api_body_may_be_as_large_as_the_limit_and_no_larger() {
    let gateway = gateway(&["--body-limit-bytes=10000"]).await;
    let post = |body: reqwest::Body| gateway.request(Method::POST, "/api/auth/login").body(body);
    for body in [vec![b'x'; 10_000].into(), unannounced(10_000)] {
        let fits = answer(post(body)).await;
        assert_eq!(fits.status, StatusCode::OK);
        assert_eq!(fits.body["body"].as_str().unwrap().len(), 10_000);
    }
    for body in [vec![b'x'; 10_001].into(), unannounced(10_001)] {
        answer(post(body)).await.is_problem(413, "body_too_large");
    }
}

#[tokio::test]
async fn each_route_has_a_limit_of_its_own_below_that() {
    let vod = format!("--vod-service-url={}", echo("vod").await);
    let gateway = gateway(&[&vod]).await;
    for (path, largest) in [
        ("/api/auth/register", 64 * 1024),
        ("/api/videos/1/complete", 1024 * 1024),
    ] {
        let post = |size: usize| {
            let request = gateway.request(Method::POST, path);
            answer(request.body(unannounced(size)))
        };
        assert_eq!(post(largest).await.status, StatusCode::OK, "{path}");
        post(largest + 1).await.is_problem(413, "body_too_large");
        post(10 << 20).await.is_problem(413, "body_too_large");
    }
}

#[tokio::test]
async fn media_bodies_of_any_size_pass() {
    let gateway = gateway(&["--body-limit-bytes=10000"]).await;
    let post = gateway
        .request(Method::POST, "/stream/1/x")
        .body(unannounced(1_000_000));
    let passed = answer(post).await;
    assert_eq!(passed.body["body"].as_str().unwrap().len(), 1_000_000);
}

#[tokio::test]
async fn a_body_that_was_announced_too_large_is_not_read() {
    let gateway = gateway(&["--body-limit-bytes=10000"]).await;
    let answer = gateway
        .raw("POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n")
        .await;
    answer.is_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_body_is_sent_away() {
    let gateway = gateway(&["--upload-timeout-s=1"]).await;
    let endless = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))])
        .chain(futures::stream::pending());
    let post = gateway
        .request(Method::POST, "/api/auth/login")
        .body(reqwest::Body::wrap_stream(endless));
    answer(post).await.is_problem(408, "request_timeout");
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let gateway = gateway(&[]).await;
    let address = gateway.address;
    let lines = tokio::task::spawn_blocking(move || {
        use std::io::{BufRead, BufReader, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
            .write_all(
                b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\
                  expect: 100-continue\r\nconnection: close\r\n\r\n",
            )
            .unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        stream.write_all(b"{}").unwrap();
        let then = lines
            .find(|line| line.as_ref().unwrap().starts_with("HTTP/"))
            .unwrap();
        (first, then.unwrap())
    });
    let (first, then) = lines.await.unwrap();
    assert_eq!(first, "HTTP/1.1 100 Continue");
    assert_eq!(then, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_client_that_breaks_off_its_body_harms_nobody() {
    let gateway = gateway(&[]).await;
    for _ in 0..5 {
        let broken = futures::stream::iter([
            Ok(Bytes::from_static(b"{")),
            Err(std::io::Error::other("the cable is out")),
        ]);
        let post = gateway
            .request(Method::POST, "/api/auth/login")
            .body(reqwest::Body::wrap_stream(broken));
        assert!(post.send().await.is_err());
    }
    let still = gateway.request(Method::POST, "/api/auth/login").body("{}");
    assert_eq!(answer(still).await.status, StatusCode::OK);
}
