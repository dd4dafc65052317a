//! Equal requests are joined into one for upstreams that let them be, and for no others.

mod apart;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, Method, StatusCode},
    response::IntoResponse,
};
use futures::future::join_all;
use marquee_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
};

use crate::fixture::{PATIENCE, Proxy, read_head, serve, set, unique, upstream};

/// An edge that holds its answers back until it is told to give them.
struct Edge {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    gate: watch::Sender<bool>,
}

const BODY: usize = 300_000;

impl Edge {
    async fn start(mark: &'static str) -> Self {
        Self::with_bodies_of(BODY, mark).await
    }

    /// Answers with the `x-token` and the number of lines of `Accept-Encoding` that it was sent. What
    /// ends in `/private` is not marked, and there is nothing at `/missing`, nor at `/late`, which is.
    async fn with_bodies_of(bytes: usize, mark: &'static str) -> Self {
        let asked = Arc::<AtomicUsize>::default();
        let gate = watch::Sender::new(true);
        let (counter, opens) = (asked.clone(), gate.subscribe());
        let answer = move |request: Request| {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            let mut opens = opens.clone();
            async move {
                opens.wait_for(|open| *open).await.unwrap();
                if request.uri().path().ends_with("/missing") {
                    return StatusCode::NOT_FOUND.into_response();
                }
                let mut headers = HeaderMap::new();
                let is_private = request.uri().path().ends_with("/private");
                if !mark.is_empty() && !is_private {
                    headers.insert("marquee-coalesce", mark.parse().unwrap());
                }
                let cookie = request.headers().contains_key("cookie");
                headers.insert("x-number", number.into());
                headers.insert("x-cookie", cookie.to_string().parse().unwrap());
                if let Some(token) = request.headers().get("x-token") {
                    headers.insert("x-token", token.clone());
                }
                let encodings = request.headers().get_all("accept-encoding").iter();
                headers.insert("x-encodings", encodings.count().into());
                if request.uri().path().ends_with("/late") {
                    return (StatusCode::NOT_FOUND, headers).into_response();
                }
                (headers, vec![b'x'; bytes]).into_response()
            }
        };
        Self {
            address: serve(Router::new().fallback(answer)).await,
            asked,
            gate,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn holds(&self) {
        self.gate.send_replace(false);
    }

    fn gives(&self) {
        self.gate.send_replace(true);
    }
}

/// A proxy in front of an edge that is known to mark its answers, if it does.
async fn world(mark: &'static str) -> (Proxy, Edge, String) {
    before(Edge::start(mark).await, &[]).await
}

async fn before(edge: Edge, args: &[&str]) -> (Proxy, Edge, String) {
    let proxy = Proxy::with(args).await;
    let id = unique("edge");
    set(&id, edge.address).await;
    let first = proxy.get(&format!("/stream/{id}/first")).await;
    assert_eq!(first.status, StatusCode::OK);
    (proxy, edge, format!("/stream/{id}/part"))
}

/// Somebody who asks with these header lines, and reads nothing yet.
async fn asks(proxy: &Proxy, path: &str, lines: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut client = socket.connect(proxy.address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\n{lines}\r\n",
        proxy.address
    );
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

/// A connection on which nothing is under way, and which worker has it: the ids that it makes tell.
async fn connect(proxy: &Proxy) -> (TcpStream, String) {
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!(
        "HEAD /stream/{} HTTP/1.1\r\nhost: a\r\n\r\n",
        unique("none")
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    let (_, id) = head.split_once("x-request-id: ").unwrap();
    let (worker, _) = id.split_once('-').unwrap();
    (client, worker.to_owned())
}

async fn are_joined(proxy: &Proxy, followers: usize) {
    eventually("they are joined", PATIENCE, async || {
        (proxy.coalescer.followers() == followers).then_some(())
    })
    .await;
}

async fn length(request: reqwest::RequestBuilder) -> usize {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.bytes().await.unwrap().len()
}

#[tokio::test]
async fn a_hundred_equal_requests_are_one_and_all_are_woken_at_once() {
    let (proxy, edge, path) = world("1").await;
    edge.holds();
    let requests = join_all((0..100).map(|_| length(proxy.request(Method::GET, &path))));
    let opened = async {
        eventually("all have come", PATIENCE, async || {
            (proxy.coalescer.followers() == 100).then_some(())
        })
        .await;
        edge.gives();
        Instant::now()
    };
    let (lengths, opened) = tokio::join!(requests, opened);
    assert!(lengths.iter().all(|length| *length == BODY));
    assert_eq!(edge.asked(), 2, "the first one, and one for all");
    assert!(proxy.metric("proxy_joined_requests_total").await >= 99.0);
    assert!(opened.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_first_may_leave_without_the_others_losing_their_answer() {
    let (proxy, edge, path) = world("1").await;
    edge.holds();
    let mut first = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\naccept: */*\r\n\r\n",
        proxy.address
    );
    first.write_all(request.as_bytes()).await.unwrap();
    eventually("the first is passed on", PATIENCE, async || {
        (edge.asked() == 2).then_some(())
    })
    .await;
    let others = join_all((0..5).map(|_| length(proxy.request(Method::GET, &path))));
    let opened = async {
        eventually("the others have joined", PATIENCE, async || {
            (proxy.coalescer.followers() == 6).then_some(())
        })
        .await;
        drop(first);
        eventually("the first has left", PATIENCE, async || {
            (proxy.coalescer.followers() == 5).then_some(())
        })
        .await;
        edge.gives();
    };
    let (lengths, ()) = tokio::join!(others, opened);
    assert!(lengths.iter().all(|length| *length == BODY));
    assert_eq!(edge.asked(), 2);
}

#[tokio::test]
async fn a_slow_client_does_not_hold_the_others_up() {
    // More than the sockets between here and there hold.
    const LARGE: usize = 8 * 1024 * 1024;
    let edge = Edge::with_bodies_of(LARGE, "1").await;
    let (proxy, edge, path) = before(edge, &[]).await;
    edge.holds();
    let mut slow = asks(&proxy, &path, "connection: close\r\n").await;
    are_joined(&proxy, 1).await;
    let quick = length(proxy.request(Method::GET, &path));
    let opened = async {
        are_joined(&proxy, 2).await;
        edge.gives();
    };
    let (length, ()) = tokio::join!(quick, opened);
    assert_eq!(length, LARGE);
    let mut all = Vec::new();
    slow.read_to_end(&mut all).await.unwrap();
    assert!(all.len() > LARGE, "the slow one gets it all: {}", all.len());
    assert_eq!(edge.asked(), 2, "the first one, and one for both");
}

#[tokio::test]
async fn joined_requests_get_their_answer_while_the_proxy_drains() {
    let edge = Edge::start("1").await;
    let args = ["--workers=8", "--shutdown-grace-s=15"];
    let (proxy, edge, path) = before(edge, &args).await;
    edge.holds();
    // The worker of the first, who leaves, is not that of the second: it has nothing to serve then
    // but what was asked for both.
    let (mut first, worker) = connect(&proxy).await;
    let mut second = eventually("another worker takes a connection", PATIENCE, async || {
        let (client, other) = connect(&proxy).await;
        (other != worker).then_some(client)
    })
    .await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    first.write_all(request.as_bytes()).await.unwrap();
    are_joined(&proxy, 1).await;
    second.write_all(request.as_bytes()).await.unwrap();
    are_joined(&proxy, 2).await;
    drop(first);
    are_joined(&proxy, 1).await;
    proxy.lifecycle.shutdown();
    eventually("nobody is let in any more", PATIENCE, async || {
        TcpStream::connect(proxy.address).await.err()
    })
    .await;
    edge.gives();
    let mut answer = Vec::new();
    second.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.ends_with(&vec![b'x'; BODY]),
        "{} bytes",
        answer.len()
    );
    assert_eq!(edge.asked(), 2, "what was asked for both was not cut");
}

#[tokio::test]
async fn whoever_comes_after_an_answer_gets_a_new_one() {
    let (proxy, edge, path) = world("1").await;
    for asked in 2..5 {
        assert_eq!(length(proxy.request(Method::GET, &path)).await, BODY);
        assert_eq!(edge.asked(), asked);
    }
}

#[tokio::test]
async fn joined_requests_fail_together_and_the_next_one_is_passed_on() {
    let calls = Arc::<AtomicUsize>::default();
    let counter = calls.clone();
    let gate = watch::Sender::new(false);
    let opens = gate.subscribe();
    // One request a connection, so that none is sent again; the second one is broken off.
    let flaky = upstream(move |mut connection| {
        let (counter, mut opens) = (counter.clone(), opens.clone());
        async move {
            read_head(&mut connection).await;
            if counter.fetch_add(1, Ordering::SeqCst) == 1 {
                opens.wait_for(|open| *open).await.unwrap();
                return;
            }
            let answer = b"HTTP/1.1 200 OK\r\nmarquee-coalesce: 1\r\nconnection: close\r\n\
                content-length: 2\r\n\r\nok";
            connection.write_all(answer).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start().await;
    let id = unique("flaky");
    set(&id, flaky).await;
    let path = format!("/stream/{id}");
    assert_eq!(proxy.get(&path).await.status, StatusCode::OK);
    let requests = join_all((0..5).map(|_| proxy.get(&path)));
    let broken = async {
        are_joined(&proxy, 5).await;
        gate.send_replace(true);
    };
    let (answers, ()) = tokio::join!(requests, broken);
    for answer in answers {
        answer.is_problem(502, "bad_gateway");
    }
    assert_eq!(
        calls.load(Ordering::SeqCst),
        2,
        "the first one, and one for all"
    );
    assert_eq!(proxy.get(&path).await.status, StatusCode::OK);
}
