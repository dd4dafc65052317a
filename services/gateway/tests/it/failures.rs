//! Services that are away, slow, or die in the middle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Method, StatusCode},
    routing::any,
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};

use crate::fixture::{Gateway, answer, nobody, serve};

/// A server that reads a request's head, writes these bytes, and closes. Counts the API's requests
/// (the gateway's probes come too).
async fn says(bytes: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                if head.windows(5).any(|path| path == b"/api/") {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                let _ = stream.write_all(bytes).await;
            });
        }
    });
    (url, count)
}

#[tokio::test]
async fn a_service_that_is_away_is_a_502() {
    let gateway = Gateway::before(&nobody()).await;
    gateway
        .get("/api/auth/me")
        .await
        .is_problem(502, "bad_gateway");
    let post = gateway.request(Method::POST, "/api/auth/login").body("{}");
    answer(post).await.is_problem(502, "bad_gateway");
}

#[tokio::test]
async fn a_request_that_can_be_repeated_outlasts_a_restart() {
    // Bound and not listening: refused like a service that is down, and nobody else gets the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    // The waits between attempts are random; with many requests some are long enough to see it up.
    let gateway = Gateway::before(&url).await;
    let requests = (0..40).map(|_| gateway.get("/api/auth/me"));
    let up = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let listener = socket.listen(64).unwrap();
        let router = Router::new().fallback(any(async || "up"));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(requests), up);
    let answered = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .count();
    assert!(answered >= 20, "{answered} of 40 outlasted it");
}

#[tokio::test]
async fn only_what_is_safe_is_sent_again_and_only_once_when_a_service_breaks_off() {
    let (url, count) = says(b"").await;
    let gateway = Gateway::before(&url).await;
    gateway
        .get("/api/auth/me")
        .await
        .is_problem(502, "bad_gateway");
    assert_eq!(count.load(Ordering::SeqCst), 2);

    for (method, body) in [
        (Method::POST, ""),
        (Method::DELETE, ""),
        (Method::PUT, "{}"),
    ] {
        let (url, count) = says(b"").await;
        let gateway = Gateway::before(&url).await;
        let request = gateway.request(method, "/api/auth/me").body(body);
        answer(request).await.is_problem(502, "bad_gateway");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_502() {
    let (url, _) = says(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let gateway = Gateway::before(&url).await;
    gateway
        .get("/api/auth/me")
        .await
        .is_problem(502, "bad_gateway");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_made_to_look_whole() {
    for partial in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (url, _) = says(partial).await;
        let gateway = Gateway::before(&url).await;
        let response = gateway
            .request(Method::GET, "/api/auth/me")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.bytes().await.is_err());
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_a_504() {
    let never = async || std::future::pending::<()>().await;
    let upstream = serve(Router::new().fallback(any(never))).await;
    let auth = format!("--auth-service-url={upstream}");
    let gateway = Gateway::start(&[&auth, "--request-timeout-s=1"]).await;
    let start = Instant::now();
    gateway
        .get("/api/auth/me")
        .await
        .is_problem(504, "gateway_timeout");
    assert!(start.elapsed() >= Duration::from_secs(1));
    let post = gateway.request(Method::POST, "/api/auth/login").body("{}");
    answer(post).await.is_problem(504, "gateway_timeout");
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "no retries after a time-out"
    );
}

#[tokio::test]
async fn a_service_that_does_not_accept_is_given_up_in_time() {
    // TEST-NET-1 (RFC 5737) answers nothing; where there is no route at all it is refused at once.
    let auth = "--auth-service-url=http://192.0.2.1:81";
    let gateway = Gateway::start(&[auth, "--connect-timeout-ms=300"]).await;
    let start = Instant::now();
    let answer = gateway.get("/api/auth/me").await;
    assert!([502, 504].contains(&answer.status.as_u16()), "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_broken_off() {
    let falls_silent = async || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"first"))]);
        Body::from_stream(first.chain(futures::stream::pending()))
    };
    let upstream = serve(Router::new().fallback(any(falls_silent))).await;
    let auth = format!("--auth-service-url={upstream}");
    let gateway = Gateway::start(&[&auth, "--silence-timeout-s=1"]).await;
    let response = gateway
        .request(Method::GET, "/api/auth/me")
        .send()
        .await
        .unwrap();
    let mut body = response.bytes_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "first");
    assert!(body.next().await.unwrap().is_err());
}

#[tokio::test]
async fn one_service_that_hangs_does_not_hold_up_another() {
    let never = async || std::future::pending::<()>().await;
    let hangs = serve(Router::new().fallback(any(never))).await;
    let works = serve(Router::new().fallback(any(async || "{}"))).await;
    let gateway = Gateway::start(&[
        &format!("--auth-service-url={hangs}"),
        &format!("--stream-service-url={works}"),
    ])
    .await;
    let hanging: Vec<_> = (0..200)
        .map(|_| tokio::spawn(gateway.request(Method::GET, "/api/auth/me").send()))
        .collect();
    let answer = gateway.get("/api/streams").await;
    assert_eq!(answer.status, StatusCode::OK);
    for request in hanging {
        request.abort();
    }
}

#[tokio::test]
async fn connections_to_a_service_are_used_again() {
    async fn count(State(count): State<Arc<AtomicUsize>>) -> String {
        count.load(Ordering::SeqCst).to_string()
    }
    let connections = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .fallback(any(count))
        .with_state(Arc::clone(&connections));
    let counter = Arc::clone(&connections);
    let counting = axum::serve::ListenerExt::tap_io(listener, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    tokio::spawn(async move { axum::serve(counting, router).await.unwrap() });
    let gateway = Gateway::before(&url).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    }
    // The readiness probe has one of its own.
    assert!(connections.load(Ordering::SeqCst) <= 3);
}

/// A server that answers the first request of each connection, and at the second one closes it
/// without a word, as one does whose time for idle connections is up. Counts those second ones.
async fn closes_at_the_second() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                if read_head(&mut stream, &mut bytes).await {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                    let _ = stream.write_all(answer).await;
                    let is_second = read_head(&mut stream, &mut bytes).await;
                    // The gateway's probes have connections of their own.
                    if is_second && bytes.windows(5).any(|path| path == b"/api/") {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    (url, count)
}

/// Reads to the end of a head, and of a body of two bytes if it has one; `false` at the end.
async fn read_head(stream: &mut tokio::net::TcpStream, bytes: &mut Vec<u8>) -> bool {
    bytes.clear();
    loop {
        let is_whole = bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\r\n\r\n{}");
        let has_body = bytes.windows(17).any(|part| part == b"content-length: 2");
        if is_whole && (!has_body || bytes.ends_with(b"{}")) {
            return true;
        }
        if stream.read_buf(bytes).await.unwrap_or(0) == 0 {
            return false;
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_at_the_wrong_moment_costs_a_reader_nothing() {
    let (url, closed) = closes_at_the_second().await;
    let stream = format!("--stream-service-url={url}");
    let gateway = Gateway::start(&[&stream]).await;
    for _ in 0..10 {
        let answer = gateway.get("/api/streams").await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert!(closed.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_write_is_never_sent_twice_whatever_becomes_of_its_connection() {
    let (url, closed) = closes_at_the_second().await;
    let stream = format!("--stream-service-url={url}");
    let gateway = Gateway::start(&[&stream]).await;
    let mut lost = 0;
    for _ in 0..10 {
        let write = gateway.request(Method::POST, "/api/streams").body("{}");
        let answer = answer(write).await;
        if answer.status != StatusCode::OK {
            answer.is_problem(502, "bad_gateway");
            lost += 1;
        }
    }
    // As many as the service closed upon; each of them it got once.
    assert_eq!(lost, closed.load(Ordering::SeqCst));
    assert!(lost > 0);
}

#[tokio::test]
async fn a_service_that_dies_in_the_middle_of_a_body_is_not_asked_again() {
    let (url, count) = says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let gateway = Gateway::before(&url).await;
    let request = gateway.request(Method::GET, "/api/auth/me");
    let response = request.send().await.unwrap();
    assert!(response.bytes().await.is_err());
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
