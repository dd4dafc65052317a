//! Requests that no honest client sends.

use std::time::Duration;

use crate::fixture::{Proxy, echo, set, unique};

/// A proxy, and a stream that answers what it was asked.
async fn world() -> (Proxy, String) {
    let proxy = Proxy::start().await;
    let id = unique("live");
    set(&id, echo("it").await).await;
    (proxy, id)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn no_id_is_400() {
    let proxy = Proxy::start().await;
    for path in ["/stream", "/stream/", "/stream/?x=1", "/stream//x"] {
        proxy.get(path).await.is_problem(400, "stream_id_missing");
    }
}

#[tokio::test]
async fn an_id_that_could_be_read_in_two_ways_is_400() {
    let (proxy, id) = world().await;
    let long = "x".repeat(4096);
    for path in [
        "/stream/%00".to_owned(),
        "/stream/a%00b".to_owned(),
        "/stream/%".to_owned(),
        "/stream/%zz".to_owned(),
        "/stream/%ff".to_owned(),
        "/stream/..".to_owned(),
        "/stream/%2e%2e".to_owned(),
        "/stream/..%2f..%2finternal".to_owned(),
        "/stream/a%2fb".to_owned(),
        format!("/stream/{long}"),
        format!("/stream/{id}/../other"),
        format!("/stream/{id}/%2e%2e/other"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = proxy.raw(request).await;
        assert_eq!(status(&answer), "400", "{path}: {answer}");
        assert!(answer.contains("\"code\":\"bad_stream_id\""), "{answer}");
    }
}

#[tokio::test]
async fn a_request_whose_end_is_in_doubt_reaches_no_upstream() {
    let (proxy, id) = world().await;
    let host = "host: x\r\n";
    for request in [
        format!(
            "POST /stream/{id} HTTP/1.1\r\n{host}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /stream/{id}/smuggled HTTP/1.1\r\n{host}\r\n"
        ),
        format!(
            "POST /stream/{id} HTTP/1.1\r\n{host}content-length: 4\r\ncontent-length: 5\r\n\r\nbody!"
        ),
        format!(
            "POST /stream/{id} HTTP/1.1\r\n{host}content-length: 4\r\ncontent-length: 4\r\n\r\nbody"
        ),
        format!(
            "POST /stream/{id} HTTP/1.1\r\n{host}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"
        ),
        format!("POST /stream/{id} HTTP/1.1\r\n{host}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("POST /stream/{id} HTTP/1.1\r\n{host}transfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("POST /stream/{id} HTTP/1.1\n{host}content-length: 0\r\n\r\n"),
        format!("GET /stream/{id} HTTP/1.1\r\n{host}x: y\r\n folded: z\r\n\r\n"),
        format!("POST /stream/{id} HTTP/1.1\r\n{host}content-length: +4\r\n\r\nbody"),
    ] {
        let answer = proxy.raw(&request).await;
        assert_eq!(status(&answer), "400", "{request:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{request:?}: {answer}"
        );
        assert!(!answer.contains("smuggled"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_that_names_no_host_or_two_is_400() {
    let (proxy, id) = world().await;
    for headers in [
        "",
        "host: a\r\nhost: b\r\n",
        "host: a b\r\n",
        "host: u@a\r\n",
    ] {
        let request = format!("GET /stream/{id} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        let answer = proxy.raw(request).await;
        assert_eq!(status(&answer), "400", "{headers:?}: {answer}");
    }
    let old = format!("GET /stream/{id} HTTP/1.0\r\n\r\n");
    assert_eq!(status(&proxy.raw(old).await), "200", "HTTP/1.0 needs none");
}

#[tokio::test]
async fn headers_of_sixty_four_kilobytes_are_431() {
    let (proxy, id) = world().await;
    let many: String = (0..90)
        .map(|n| format!("x-{n}: {}\r\n", "y".repeat(800)))
        .collect();
    for headers in [format!("x: {}\r\n", "y".repeat(64 * 1024)), many] {
        let request = format!("GET /stream/{id} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let answer = proxy.raw(request).await;
        assert_eq!(status(&answer), "431", "{answer}");
    }
    let some = format!(
        "GET /stream/{id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n",
        "y".repeat(16 * 1024)
    );
    assert_eq!(status(&proxy.raw(some).await), "200");
}

#[tokio::test]
async fn methods_about_the_proxy_itself_are_405() {
    let (proxy, id) = world().await;
    let request = format!("TRACE /stream/{id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = proxy.raw(request).await;
    assert_eq!(status(&answer), "405", "{answer}");
    let request = "CONNECT other:443 HTTP/1.1\r\nhost: other:443\r\nconnection: close\r\n\r\n";
    let answer = proxy.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_target_with_a_host_is_the_same_stream() {
    let (proxy, id) = world().await;
    let request = format!(
        "GET http://elsewhere/stream/{id}/x?y HTTP/1.1\r\nhost: elsewhere\r\nconnection: close\r\n\r\n"
    );
    let answer = proxy.raw(request).await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(
        answer.contains(&format!("\"target\":\"/stream/{id}/x?y\"")),
        "{answer}"
    );
}

#[tokio::test]
async fn requests_one_behind_the_other_are_answered_in_their_order() {
    let (proxy, id) = world().await;
    let one = |n: u32| format!("GET /stream/{id}/{n} HTTP/1.1\r\nhost: x\r\n\r\n");
    let last = format!("GET /stream/{id}/last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = proxy.raw(one(1) + &one(2) + &last).await;
    let positions: Vec<usize> = ["/1\"", "/2\"", "/last\""]
        .iter()
        .map(|end| answer.find(&format!("/stream/{id}{end}")).unwrap())
        .collect();
    assert!(positions.is_sorted(), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_half_a_head_holds_nobody_up() {
    let (proxy, id) = world().await;
    let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /stream/x HTT")
        .await
        .unwrap();
    let got = tokio::time::timeout(Duration::from_secs(10), proxy.name_behind(&id)).await;
    assert_eq!(got.unwrap().as_deref(), Some("it"));
}
