//! Bodies pass as they come, in both directions, and untouched.

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
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::IntoResponse,
    routing::{any, get, post},
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Notify, Semaphore, mpsc},
};

use crate::fixture::{Gateway, answer, endless_events, serve};

const SOON: Duration = Duration::from_secs(10);

/// Work has begun; work has ended.
type Notifies = (Arc<Notify>, Arc<Notify>);

/// A body that gives one piece for each permit.
fn piecewise(permits: Arc<Semaphore>, pieces: &'static [&'static str]) -> Body {
    let stream = futures::stream::iter(pieces).then(move |piece| {
        let permits = Arc::clone(&permits);
        async move {
            permits.acquire().await.unwrap().forget();
            Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))
        }
    });
    Body::from_stream(stream)
}

#[tokio::test]
async fn events_of_a_stream_arrive_one_by_one_as_they_are_sent() {
    let permits = Arc::new(Semaphore::new(0));
    let events = async |State(permits): State<Arc<Semaphore>>, headers: HeaderMap| {
        assert_eq!(headers["last-event-id"], "7");
        let headers = [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-cache"),
        ];
        (headers, piecewise(permits, &["data: 1\n\n", "data: 2\n\n"]))
    };
    let router = Router::new().route("/api/streams/1/events", get(events));
    let upstream = serve(router.with_state(Arc::clone(&permits))).await;
    let gateway = Gateway::start(&[&format!("--stream-service-url={upstream}")]).await;
    let request = gateway.request(Method::GET, "/api/streams/1/events");
    let response = request.header("last-event-id", "7").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.bytes_stream();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        // The service sends the next one only after this one is here.
        permits.add_permits(1);
        let piece = tokio::time::timeout(SOON, body.next()).await.unwrap();
        assert_eq!(piece.unwrap().unwrap(), event);
    }
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn an_upload_reaches_the_service_while_it_is_sent() {
    let (arrived, mut arrivals) = mpsc::channel(4);
    let receive = async |State(arrived): State<mpsc::Sender<Bytes>>, request: Request| {
        let mut body = request.into_body().into_data_stream();
        while let Some(piece) = body.next().await {
            arrived.send(piece.unwrap()).await.unwrap();
        }
        StatusCode::NO_CONTENT
    };
    let router = Router::new()
        .route("/stream/1/ingest", post(receive))
        .with_state(arrived);
    let gateway = Gateway::start(&[&format!("--proxy-service-url={}", serve(router).await)]).await;
    let permits = Arc::new(Semaphore::new(0));
    let body = piecewise(Arc::clone(&permits), &["one", "two"]);
    let upload = gateway
        .request(Method::POST, "/stream/1/ingest")
        .body(reqwest::Body::wrap_stream(body.into_data_stream()));
    let upload = tokio::spawn(upload.send());
    for piece in ["one", "two"] {
        permits.add_permits(1);
        let arrived = tokio::time::timeout(SOON, arrivals.recv()).await.unwrap();
        assert_eq!(arrived.unwrap(), piece);
    }
    assert_eq!(
        upload.await.unwrap().unwrap().status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_client_may_read_an_early_answer_after_it_has_sent_all() {
    const SIZE: usize = 64 * 1024 * 1024;
    let talk = async |request: Request| {
        let mut body = request.into_body().into_data_stream();
        tokio::spawn(async move { while let Some(Ok(_)) = body.next().await {} });
        let piece = Bytes::from(vec![7; 64 * 1024]);
        let pieces = std::iter::repeat_n(piece, SIZE / (64 * 1024)).map(Ok::<_, std::io::Error>);
        Body::from_stream(futures::stream::iter(pieces))
    };
    let upstream = serve(Router::new().route("/stream/1/talk", post(talk))).await;
    let gateway = Gateway::start(&[&format!("--proxy-service-url={upstream}")]).await;
    let exchange = async {
        let mut connection = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST /stream/1/talk HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![1; 64 * 1024];
        for _ in 0..SIZE / piece.len() {
            connection.write_all(&piece).await.unwrap();
        }
        let mut answer = tokio::io::sink();
        tokio::io::copy(&mut connection, &mut answer).await.unwrap()
    };
    let received = tokio::time::timeout(6 * SOON, exchange).await.unwrap();
    assert!(received > SIZE as u64);
}

#[tokio::test]
async fn a_large_answer_passes_whole() {
    let piece = Bytes::from(vec![7; 64 * 1024]);
    let big = async move || {
        let pieces = std::iter::repeat_n(piece.clone(), 512).map(Ok::<_, std::io::Error>);
        Body::from_stream(futures::stream::iter(pieces))
    };
    let upstream = serve(Router::new().route("/stream/1/big.ts", get(big))).await;
    let gateway = Gateway::start(&[&format!("--proxy-service-url={upstream}")]).await;
    let response = gateway
        .request(Method::GET, "/stream/1/big.ts")
        .send()
        .await
        .unwrap();
    assert_eq!(response.bytes().await.unwrap().len(), 512 * 64 * 1024);
}

#[tokio::test]
async fn ranges_and_conditions_are_between_client_and_service() {
    let range = async |headers: HeaderMap| {
        assert_eq!(headers["range"], "bytes=2-4");
        assert_eq!(headers["if-range"], "\"tag\"");
        let headers = [
            ("content-range", "bytes 2-4/10"),
            ("accept-ranges", "bytes"),
            ("etag", "\"tag\""),
            ("content-length", "3"),
        ];
        (StatusCode::PARTIAL_CONTENT, headers, "234")
    };
    let upstream = serve(Router::new().route("/api/videos/1/stream", get(range))).await;
    let gateway = Gateway::start(&[&format!("--vod-service-url={upstream}")]).await;
    let request = |method| {
        gateway
            .request(method, "/api/videos/1/stream")
            .header("range", "bytes=2-4")
            .header("if-range", "\"tag\"")
    };
    let response = request(Method::GET).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(response.headers()["content-range"], "bytes 2-4/10");
    assert_eq!(response.headers()["accept-ranges"], "bytes");
    assert_eq!(response.headers()["content-length"], "3");
    assert_eq!(response.text().await.unwrap(), "234");

    let head = request(Method::HEAD).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(head.headers()["content-length"], "3");
    assert_eq!(head.text().await.unwrap(), "");
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    let squeezed = async || ([("content-encoding", "gzip")], vec![0x1f_u8, 0x8b, 8]);
    let upstream = serve(Router::new().route("/api/auth/x", get(squeezed))).await;
    let gateway = Gateway::before(&upstream).await;
    let response = gateway
        .request(Method::GET, "/api/auth/x")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.bytes().await.unwrap().as_ref(), [0x1f, 0x8b, 8]);
}

#[tokio::test]
async fn a_client_that_leaves_is_gone_for_the_service_too() {
    struct Gone(Arc<Notify>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let gone = Arc::new(Notify::new());
    let endless = async |State(gone): State<Arc<Notify>>| {
        let gone = Gone(gone);
        let ticks = futures::stream::unfold(gone, |gone| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"tick\n")), gone))
        });
        Body::from_stream(ticks).into_response()
    };
    let router = Router::new().route("/api/streams/1/events", get(endless));
    let upstream = serve(router.with_state(Arc::clone(&gone))).await;
    let gateway = Gateway::start(&[&format!("--stream-service-url={upstream}")]).await;
    let request = gateway.request(Method::GET, "/api/streams/1/events");
    let mut body = request.send().await.unwrap().bytes_stream();
    body.next().await.unwrap().unwrap();
    drop(body);
    tokio::time::timeout(SOON, gone.notified()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_the_work() {
    struct Cancelled(Arc<Notify>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (begun, cancelled) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let state = (Arc::clone(&begun), Arc::clone(&cancelled));
    let work = async |State((begun, cancelled)): State<Notifies>| {
        let _cancelled = Cancelled(cancelled);
        begun.notify_one();
        std::future::pending::<()>().await;
    };
    let upstream = serve(Router::new().fallback(any(work)).with_state(state)).await;
    let gateway = Gateway::before(&upstream).await;
    let request = tokio::spawn(gateway.request(Method::GET, "/api/auth/slow").send());
    tokio::time::timeout(SOON, begun.notified()).await.unwrap();
    request.abort();
    tokio::time::timeout(SOON, cancelled.notified())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_empty_answer_stays_empty() {
    let nothing = async || StatusCode::NO_CONTENT;
    let not_modified = async || (StatusCode::NOT_MODIFIED, [("etag", "\"1\"")]);
    let router = Router::new()
        .route("/api/auth/nothing", any(nothing))
        .route("/api/auth/same", get(not_modified));
    let gateway = Gateway::before(&serve(router).await).await;
    let nothing = answer(gateway.request(Method::DELETE, "/api/auth/nothing")).await;
    assert_eq!(nothing.status, StatusCode::NO_CONTENT);
    assert!(!nothing.headers.contains_key("content-length"));
    let same = gateway.get("/api/auth/same").await;
    assert_eq!(same.status, StatusCode::NOT_MODIFIED);
    assert_eq!(same.headers["etag"], "\"1\"");
}

/// Every time limit at its least.
const IMPATIENT: [&str; 4] = [
    "--request-timeout-s=1",
    "--upload-timeout-s=1",
    "--media-timeout-s=1",
    "--silence-timeout-s=1",
];

#[tokio::test]
async fn events_go_on_for_longer_than_any_time_limit() {
    let upstream = serve(endless_events(Duration::from_millis(250))).await;
    let stream = format!("--stream-service-url={upstream}");
    let gateway = Gateway::start(&[&IMPATIENT[..], &[&stream]].concat()).await;
    let started = Instant::now();
    let request = gateway.request(Method::GET, "/api/streams/1/events");
    let mut events = request.send().await.unwrap().bytes_stream();
    let mut next = 0;
    while started.elapsed() < Duration::from_secs(4) {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event, format!("data: {next}\n\n"));
        next += 1;
    }
}

#[tokio::test]
async fn an_event_stream_ends_with_the_gateway_and_not_with_its_grace() {
    let upstream = serve(endless_events(Duration::from_millis(50))).await;
    let stream = format!("--stream-service-url={upstream}");
    let gateway = Gateway::start(&[&stream, "--shutdown-grace-s=60"]).await;
    let request = gateway.request(Method::GET, "/api/streams/1/events");
    let mut events = request.send().await.unwrap().bytes_stream();
    events.next().await.unwrap().unwrap();
    gateway.lifecycle.shutdown();
    let end = async {
        while let Some(event) = events.next().await {
            // Not broken off: the page's browser comes back at once.
            event.unwrap();
        }
    };
    tokio::time::timeout(SOON, end).await.unwrap();
}

#[tokio::test]
async fn a_media_upload_may_last_for_as_long_as_it_flows() {
    let receive = async |request: Request| {
        let body = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        body.unwrap().len().to_string()
    };
    let upstream = serve(Router::new().route("/stream/1/ingest", post(receive))).await;
    let proxy = format!("--proxy-service-url={upstream}");
    let gateway = Gateway::start(&[&IMPATIENT[..], &[&proxy]].concat()).await;
    let pieces = futures::stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_millis(250)).await;
        (sent < 12).then_some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), sent + 1))
    });
    let upload = gateway.request(Method::POST, "/stream/1/ingest");
    let received = answer(upload.body(reqwest::Body::wrap_stream(pieces))).await;
    assert_eq!(received.status, StatusCode::OK);
    assert_eq!(received.body, 12);

    let stalls = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"x"))])
        .chain(futures::stream::pending());
    let upload = gateway.request(Method::POST, "/stream/1/ingest");
    let refused = answer(upload.body(reqwest::Body::wrap_stream(stalls))).await;
    refused.is_problem(408, "request_timeout");
}

#[tokio::test]
async fn a_held_back_answer_under_stream_has_a_time_limit_of_its_own() {
    let held_back = async || {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        "#EXTM3U"
    };
    let upstream = serve(Router::new().fallback(get(held_back))).await;
    let (proxy, auth) = (
        format!("--proxy-service-url={upstream}"),
        format!("--auth-service-url={upstream}"),
    );
    let gateway = Gateway::start(&[&proxy, &auth, "--request-timeout-s=1"]).await;
    let playlist = gateway.get("/stream/1/720p/playlist.m3u8").await;
    assert_eq!(playlist.status, StatusCode::OK);
    let api = gateway.get("/api/auth/me").await;
    api.is_problem(504, "gateway_timeout");
}

/// What may lie in sockets and buffers between two ends that do not read.
const IN_BETWEEN_BYTES: usize = 32 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// An endless body that counts how much of it was taken.
fn endless(taken: Arc<AtomicUsize>) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    let piece = Bytes::from(vec![7; PIECE_BYTES]);
    futures::stream::repeat_with(move || {
        taken.fetch_add(PIECE_BYTES, Ordering::SeqCst);
        Ok(piece.clone())
    })
}

/// Waits until nothing more is taken; how much was.
async fn settled(taken: &AtomicUsize) -> usize {
    marquee_testkit::eventually("nothing flows any more", SOON, async || {
        let before = taken.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = taken.load(Ordering::SeqCst);
        (now > 0 && now == before).then_some(now)
    })
    .await
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_service_back() {
    let taken = Arc::new(AtomicUsize::new(0));
    let big = async |State(taken): State<Arc<AtomicUsize>>| Body::from_stream(endless(taken));
    let router = Router::new().route("/api/videos/1/stream", get(big));
    let upstream = serve(router.with_state(Arc::clone(&taken))).await;
    let gateway = Gateway::start(&[&format!("--vod-service-url={upstream}")]).await;
    let request = gateway.request(Method::GET, "/api/videos/1/stream");
    let mut response = request.send().await.unwrap();
    let in_between = settled(&taken).await;
    assert!(in_between < IN_BETWEEN_BYTES, "{in_between}");
    // It flows again as soon as it is read.
    for _ in 0..2000 {
        response.chunk().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_service_that_does_not_read_holds_its_client_back() {
    let unread = async |request: Request| {
        let _body = request.into_body();
        std::future::pending::<()>().await;
    };
    let upstream = serve(Router::new().route("/stream/1/ingest", post(unread))).await;
    let gateway = Gateway::start(&[&format!("--proxy-service-url={upstream}")]).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let body = reqwest::Body::wrap_stream(endless(Arc::clone(&taken)));
    let upload = gateway.request(Method::POST, "/stream/1/ingest").body(body);
    let upload = tokio::spawn(upload.send());
    let in_between = settled(&taken).await;
    assert!(in_between < IN_BETWEEN_BYTES, "{in_between}");
    upload.abort();
}
