//! Equal requests are joined into one for upstreams that let them be, and for no others.

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
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch};

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
        let asked = Arc::<AtomicUsize>::default();
        let gate = watch::Sender::new(true);
        let (counter, opens) = (asked.clone(), gate.subscribe());
        let answer = move |request: Request| {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            let mut opens = opens.clone();
            async move {
                opens.wait_for(|open| *open).await.unwrap();
                let mut headers = HeaderMap::new();
                if !mark.is_empty() {
                    headers.insert("marquee-coalesce", mark.parse().unwrap());
                }
                let cookie = request.headers().contains_key("cookie");
                headers.insert("x-number", number.into());
                headers.insert("x-cookie", cookie.to_string().parse().unwrap());
                (headers, vec![b'x'; BODY]).into_response()
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
    let (proxy, edge) = (Proxy::start().await, Edge::start(mark).await);
    let id = unique("edge");
    set(&id, edge.address).await;
    let first = proxy.get(&format!("/stream/{id}/first")).await;
    assert_eq!(first.status, StatusCode::OK);
    (proxy, edge, format!("/stream/{id}/part"))
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
async fn an_upstream_that_does_not_say_so_is_asked_by_everybody() {
    for mark in ["", "0", "yes"] {
        let (proxy, edge, path) = world(mark).await;
        edge.holds();
        let requests = join_all((0..10).map(|_| length(proxy.request(Method::GET, &path))));
        let opened = async {
            eventually("everybody is passed on at once", PATIENCE, async || {
                (edge.asked() == 11).then_some(())
            })
            .await;
            edge.gives();
        };
        tokio::join!(requests, opened);
    }
}

#[tokio::test]
async fn requests_that_differ_or_are_somebodys_own_are_not_joined() {
    let (proxy, edge, path) = world("1").await;
    edge.holds();
    let get = |path: String| proxy.request(Method::GET, &path);
    let requests = vec![
        get(path.clone()),
        get(format!("{path}?_HLS_msn=3")),
        get(path.clone()).header("range", "bytes=0-1"),
        get(path.clone()).header("range", "bytes=0-1"),
        get(path.clone()).header("authorization", "Bearer x"),
        get(path.clone()).header("authorization", "Bearer x"),
        get(path.clone()).header("if-none-match", "\"x\""),
        get(path.clone()).header("accept-encoding", "gzip"),
        get(path.clone()).header("origin", "http://a"),
        proxy.request(Method::POST, &path),
        proxy.request(Method::POST, &path),
    ];
    let each = requests.len();
    let requests = join_all(requests.into_iter().map(length));
    let opened = async {
        eventually("each is passed on", PATIENCE, async || {
            (edge.asked() == 1 + each).then_some(())
        })
        .await;
        edge.gives();
    };
    tokio::join!(requests, opened);
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
    let (proxy, edge, path) = world("1").await;
    edge.holds();
    // It asks, and reads nothing.
    let mut slow = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", proxy.address);
    slow.write_all(request.as_bytes()).await.unwrap();
    eventually("the slow one is passed on", PATIENCE, async || {
        (edge.asked() == 2).then_some(())
    })
    .await;
    let quick = length(proxy.request(Method::GET, &path));
    let opened = async {
        eventually("the quick one has joined", PATIENCE, async || {
            (proxy.coalescer.followers() == 2).then_some(())
        })
        .await;
        edge.gives();
    };
    let (length, ()) = tokio::join!(quick, opened);
    assert_eq!(length, BODY);
    drop(slow);
}

#[tokio::test]
async fn an_upstream_is_not_told_the_cookies_of_those_it_answers_together() {
    let (proxy, _edge, path) = world("1").await;
    let request = proxy
        .request(Method::GET, &path)
        .header("cookie", "theme=dark");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-cookie"], "false");
    assert_eq!(
        response.headers()["marquee-coalesce"],
        "1",
        "for a proxy in front"
    );
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
async fn a_route_that_changes_is_not_joined_until_its_new_upstream_says_so() {
    let (proxy, edge, path) = world("1").await;
    let other = Edge::start("").await;
    let id = path.split('/').nth(2).unwrap();
    set(id, other.address).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    other.holds();
    let requests = join_all((0..10).map(|_| length(proxy.request(Method::GET, &path))));
    let opened = async {
        eventually("everybody is passed on", PATIENCE, async || {
            (other.asked() == 10).then_some(())
        })
        .await;
        other.gives();
    };
    tokio::join!(requests, opened);
    assert_eq!(edge.asked(), 1);
}

#[tokio::test]
async fn joined_requests_fail_together_and_the_next_one_is_passed_on() {
    let calls = Arc::<AtomicUsize>::default();
    let counter = calls.clone();
    let gate = watch::Sender::new(false);
    let opens = gate.subscribe();
    // Marks its first answer, breaks off the second, answers from the third on.
    let flaky = upstream(move |mut connection| {
        let (counter, mut opens) = (counter.clone(), opens.clone());
        async move {
            while !read_head(&mut connection).await.is_empty() {
                let call = counter.fetch_add(1, Ordering::SeqCst);
                if call == 1 {
                    opens.wait_for(|open| *open).await.unwrap();
                    return;
                }
                let answer =
                    b"HTTP/1.1 200 OK\r\nmarquee-coalesce: 1\r\ncontent-length: 2\r\n\r\nok";
                connection.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let proxy = Proxy::start().await;
    let id = unique("flaky");
    set(&id, flaky).await;
    let path = format!("/stream/{id}");
    assert_eq!(proxy.get(&path).await.status, StatusCode::OK);
    // A POST is not joined, and not sent again on another connection.
    let requests = join_all((0..5).map(|_| proxy.get(&path)));
    let broken = async {
        eventually("they are joined", PATIENCE, async || {
            (proxy.coalescer.followers() == 5).then_some(())
        })
        .await;
        gate.send_replace(true);
    };
    let (answers, ()) = tokio::join!(requests, broken);
    let statuses: Vec<_> = answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    // Sent again on a new connection when it broke on a kept one, as any GET is.
    assert!(
        statuses.iter().all(|status| *status == statuses[0]),
        "{statuses:?}"
    );
    assert_eq!(proxy.get(&path).await.status, StatusCode::OK);
}
