//! Bodies of any size pass as they come, at the pace of whoever is slower.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode},
    response::IntoResponse,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use marquee_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use crate::fixture::{PATIENCE, Proxy, answer, read_head, serve, set, unique, upstream};

const CHUNK: usize = 64 * 1024;

/// An upstream whose answer never ends; it tells how much of it was taken, and whether somebody
/// still takes it.
async fn endless(taken: Arc<AtomicU64>, gone: Arc<AtomicU64>) -> std::net::SocketAddr {
    upstream(move |mut connection| {
        let (taken, gone) = (taken.clone(), gone.clone());
        async move {
            read_head(&mut connection).await;
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            connection.write_all(head).await.unwrap();
            let chunk = [b"10000\r\n".as_slice(), &vec![0; 0x10000], b"\r\n"].concat();
            while connection.write_all(&chunk).await.is_ok() {
                taken.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            }
            gone.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn a_slow_client_holds_its_upstream_back_and_a_gone_one_ends_it() {
    let (taken, gone) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let proxy = Proxy::start().await;
    let id = unique("endless");
    set(&id, endless(taken.clone(), gone.clone()).await).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!("GET /stream/{id} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut piece = vec![0; CHUNK];
    client.read_exact(&mut piece).await.unwrap();
    // Nothing is read any more: what is under way settles at what sockets and buffers hold.
    let settled = eventually("the upstream is held back", PATIENCE, async || {
        let before = taken.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
        (taken.load(Ordering::SeqCst) == before).then_some(before)
    })
    .await;
    assert!(settled < 32 << 20, "{settled} bytes");
    for _ in 0..1_000 {
        client.read_exact(&mut piece).await.unwrap();
    }
    assert!(taken.load(Ordering::SeqCst) > settled, "it goes on");
    drop(client);
    eventually("the upstream's request ends", PATIENCE, async || {
        (gone.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let (taken, gone) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let proxy = Proxy::with(&["--silence-timeout-s=1"]).await;
    let id = unique("endless");
    set(&id, endless(taken, gone.clone()).await).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!("GET /stream/{id} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    eventually("the upstream's request ends", PATIENCE, async || {
        (gone.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_upstreams_request() {
    let (told, left) = oneshot::channel();
    let told = Arc::new(std::sync::Mutex::new(Some(told)));
    let asked = Arc::<AtomicU64>::default();
    let counter = asked.clone();
    let upstream = upstream(move |mut connection| {
        let (told, counter) = (told.clone(), counter.clone());
        async move {
            read_head(&mut connection).await;
            counter.fetch_add(1, Ordering::SeqCst);
            // Ends when the proxy closes.
            let _ = connection.read(&mut [0; 1]).await;
            if let Some(told) = told.lock().unwrap().take() {
                told.send(()).unwrap();
            }
        }
    })
    .await;
    let proxy = Proxy::start().await;
    let id = unique("silent");
    set(&id, upstream).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!("GET /stream/{id} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    eventually("the request is passed on", PATIENCE, async || {
        (asked.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    drop(client);
    tokio::time::timeout(PATIENCE, left).await.unwrap().unwrap();
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let size = |request: Request| async move {
        let body = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        let body = body.unwrap();
        let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
        format!("{} {sum}", body.len()).into_response()
    };
    let many = async || {
        let chunks = stream::iter(0..200_u8).map(|n| Ok::<_, std::io::Error>(vec![n; CHUNK]));
        Body::from_stream(chunks).into_response()
    };
    let routes = Router::new()
        .route("/stream/{id}/size", axum::routing::post(size))
        .route("/stream/{id}/many", axum::routing::get(many))
        .route(
            "/stream/{id}/whole",
            axum::routing::get(async || vec![7_u8; 5 << 20].into_response()),
        );
    let proxy = Proxy::start().await;
    let id = unique("large");
    set(&id, serve(routes).await).await;

    let chunks = stream::iter(0..100).map(|_| Ok::<_, std::io::Error>(vec![1_u8; CHUNK]));
    let chunked = proxy
        .request(Method::POST, &format!("/stream/{id}/size"))
        .body(reqwest::Body::wrap_stream(chunks));
    let text = chunked.send().await.unwrap().text().await.unwrap();
    assert_eq!(text, format!("{} {}", 100 * CHUNK, 100 * CHUNK));

    let whole = proxy
        .request(Method::POST, &format!("/stream/{id}/size"))
        .body(vec![2_u8; 3 << 20]);
    let text = whole.send().await.unwrap().text().await.unwrap();
    assert_eq!(text, format!("{} {}", 3 << 20, 6 << 20));

    let many = proxy.request(Method::GET, &format!("/stream/{id}/many"));
    let body: Bytes = many.send().await.unwrap().bytes().await.unwrap();
    assert_eq!(body.len(), 200 * CHUNK);
    assert!(
        body.chunks(CHUNK)
            .zip(0..)
            .all(|(chunk, n)| chunk.iter().all(|byte| *byte == n))
    );

    let whole = proxy.request(Method::GET, &format!("/stream/{id}/whole"));
    let body = whole.send().await.unwrap().bytes().await.unwrap();
    assert_eq!(body.len(), 5 << 20);
}

#[tokio::test]
async fn what_an_upstream_sends_reaches_the_client_at_once() {
    let (told, more) = oneshot::channel::<()>();
    let more = Arc::new(std::sync::Mutex::new(Some(more)));
    let upstream = upstream(move |mut connection| {
        let more = more.lock().unwrap().take();
        async move {
            read_head(&mut connection).await;
            let first = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nfour";
            connection.write_all(first).await.unwrap();
            more.unwrap().await.unwrap();
            connection.write_all(b"more").await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start().await;
    let id = unique("slow");
    set(&id, upstream).await;
    let request = proxy.request(Method::GET, &format!("/stream/{id}"));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "four");
    // Only now does the upstream go on.
    told.send(()).unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "more");
}

#[tokio::test]
async fn ranges_and_their_answers_are_the_upstreams_business() {
    let partial = async |request: Request| {
        let range = request.headers()["range"].to_str().unwrap().to_owned();
        let headers = [("content-range", "bytes 0-3/8"), ("etag", "\"x\"")];
        (StatusCode::PARTIAL_CONTENT, headers, range)
    };
    let proxy = Proxy::start().await;
    let id = unique("ranges");
    set(&id, serve(Router::new().fallback(partial)).await).await;
    let request = proxy
        .request(Method::GET, &format!("/stream/{id}"))
        .header("range", "bytes=0-3");
    let got = answer(request).await;
    assert_eq!(got.status, 206);
    assert_eq!(got.headers["content-range"], "bytes 0-3/8");
    assert_eq!(got.headers["etag"], "\"x\"");
}
