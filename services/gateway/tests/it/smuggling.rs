//! Requests that two servers could read differently are refused, and nothing of them, nor of what
//! follows on their connection, reaches a service (RFC 9112 sections 2.2, 5, 6.3, 7.1 and 11.2).

use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, Uri},
    routing::any,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::fixture::{Gateway, read_answer, serve};

/// What a smuggler hides: it must never be answered, nor reach the service.
const HIDDEN: &str = "GET /api/auth/smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

struct Guarded {
    gateway: Gateway,
    /// How many requests, and how many smuggled ones, the service got.
    got: Arc<AtomicUsize>,
    smuggled: Arc<AtomicUsize>,
}

async fn guarded() -> Guarded {
    let counts = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (got, smuggled) = counts.clone();
    let count = async |State((got, smuggled)): State<(Arc<AtomicUsize>, Arc<AtomicUsize>)>,
                       uri: Uri,
                       body: Bytes| {
        let counter = if uri.path().ends_with("/smuggled") {
            smuggled
        } else {
            got
        };
        counter.fetch_add(1, Ordering::SeqCst);
        body
    };
    let service = Router::new()
        .route("/api/{*rest}", any(count))
        .with_state(counts);
    let gateway = Gateway::before(&serve(service).await).await;
    Guarded {
        gateway,
        got,
        smuggled,
    }
}

impl Guarded {
    /// Sends `request`, and says what the first answer is and whether the connection then ends.
    async fn send(&self, request: &[u8]) -> (StatusCode, bool) {
        let (address, request) = (self.gateway.address, request.to_vec());
        let exchange = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let patience = Some(Duration::from_secs(20));
            stream.set_read_timeout(patience).unwrap();
            // The gateway may close before it has read all of it.
            let _ = stream.write_all(&request);
            let mut reader = BufReader::new(stream);
            let answer = read_answer(&mut reader);
            let closes = answer
                .headers
                .get("connection")
                .is_some_and(|value| value == "close");
            let mut rest = Vec::new();
            if closes {
                let _ = reader.read_to_end(&mut rest);
            }
            (answer.status, closes && rest.is_empty())
        });
        exchange.await.unwrap()
    }

    #[track_caller]
    fn nothing_came_through(&self, case: &str) {
        assert_eq!(self.got.load(Ordering::SeqCst), 0, "{case:?}");
        assert_eq!(self.smuggled.load(Ordering::SeqCst), 0, "{case:?}");
    }

    async fn refuses(&self, request: &str) {
        let (status, closed) = self.send(request.as_bytes()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{request:?}");
        assert!(closed, "{request:?}");
        self.nothing_came_through(request);
    }
}

#[tokio::test]
async fn two_lengths_are_refused_with_a_problem_that_says_so() {
    let guarded = guarded().await;
    let request = format!(
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
    );
    let answer = guarded.gateway.raw(request).await;
    let problem = answer.is_problem(400, "bad_request");
    assert!(problem.detail.contains("Content-Length"), "{problem:?}");
    assert_eq!(answer.headers["connection"], "close");
    guarded.nothing_came_through("two lengths");
}

#[tokio::test]
async fn heads_that_are_unclear_about_the_length_are_refused() {
    let guarded = guarded().await;
    for lines in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "Content-Length: 0\r\nx: y\r\nTransfer-Encoding: Chunked\r\n",
        "content-length: 4\r\ncontent-length: 5\r\n",
        "content-length: 0\r\ncontent-length: 0\r\n",
        "content-length: 0, 0\r\n",
        "content-length: +0\r\n",
        "content-length: -1\r\n",
        "content-length: 0x0\r\n",
        "content-length: 0 0\r\n",
        "content-length:\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length : 0\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: identity, chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: \u{b}chunked\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding : chunked\r\n",
        " transfer-encoding: chunked\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "transfer-encoding:\r\n chunked\r\n",
        "x: y\r\n\tz\r\n",
        "x\r\n",
        ": y\r\n",
        "x\0: y\r\n",
        "x: \0\r\n",
    ] {
        let request =
            format!("POST /api/auth/login HTTP/1.1\r\nhost: x\r\n{lines}\r\n0\r\n\r\n{HIDDEN}");
        guarded.refuses(&request).await;
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_before_http_1_1_is_refused() {
    let guarded = guarded().await;
    let request = format!(
        "POST /api/auth/login HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\n{HIDDEN}"
    );
    guarded.refuses(&request).await;
}

#[tokio::test]
async fn lines_that_end_otherwise_than_with_cr_lf_are_refused() {
    let guarded = guarded().await;
    for head in [
        "GET /api/auth/me HTTP/1.1\nhost: x\n\n",
        "GET /api/auth/me HTTP/1.1\r\nhost: x\n\r\n",
        "GET /api/auth/me HTTP/1.1\r\nhost: x\r\n\n",
        "GET /api/auth/me HTTP/1.1\r\nhost: x\rx: y\r\n\r\n",
        "GET /api/auth/me HTTP/1.1\r\nhost: x\r\nx: y\r\rz: 1\r\n\r\n",
        "POST /api/auth/me HTTP/1.1\r\nhost: x\r\nx: y\ncontent-length: 49\r\n\r\n",
        "POST /api/auth/me HTTP/1.1\r\nhost: x\r\nx: y\rcontent-length: 49\r\n\r\n",
    ] {
        guarded.refuses(&format!("{head}{HIDDEN}")).await;
    }
}

#[tokio::test]
async fn request_lines_that_are_none_are_refused() {
    let guarded = guarded().await;
    for line in [
        "GET  /api/auth/me HTTP/1.1",
        "GET /api/auth/me  HTTP/1.1",
        "GET /api/auth/me HTTP/1.1 ",
        " GET /api/auth/me HTTP/1.1",
        "GET /api/auth/me",
        "GET /api/auth/a b HTTP/1.1",
        "GET /api/auth/me HTTP/2.0",
        "GET /api/auth/me HTTP/1.11",
        "G\u{e9}T /api/auth/me HTTP/1.1",
    ] {
        guarded
            .refuses(&format!("{line}\r\nhost: x\r\n\r\n{HIDDEN}"))
            .await;
    }
}

#[tokio::test]
async fn chunks_that_could_be_read_in_two_ways_are_refused() {
    let guarded = guarded().await;
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
        "5;x\ry\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        ";5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nfolded:\r\n trailer\r\n\r\n",
        "5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
        "5\r\nhello\r\n0\r\ntrailer : 1\r\n\r\n",
    ] {
        let request = format!(
            "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
             {chunks}{HIDDEN}"
        );
        guarded.refuses(&request).await;
    }
}

#[tokio::test]
async fn a_chunk_that_goes_wrong_later_ends_the_request_and_its_connection() {
    let guarded = guarded().await;
    let address = guarded.gateway.address;
    let status = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
                    expect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        // The gateway asks for the body when it has begun to pass the request on.
        assert_eq!(read_answer(&mut reader).status, StatusCode::CONTINUE);
        let _ = stream.write_all(format!("5\r\nhello\r\n5X\r\n{HIDDEN}").as_bytes());
        let status = read_answer(&mut reader).status;
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        assert!(rest.is_empty());
        status
    });
    assert_eq!(status.await.unwrap(), StatusCode::BAD_REQUEST);
    guarded.nothing_came_through("a late chunk");
}

#[tokio::test]
async fn ordinary_requests_of_one_connection_are_all_answered() {
    let guarded = guarded().await;
    let address = guarded.gateway.address;
    let requests = [
        "\r\nGET /api/auth/me HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
         5;note=\"a\"\r\nhello\r\n0005\r\nhello\r\n0\r\nsum: 1\r\n\r\n",
        "DELETE /api/auth/me HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    ];
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        // Pipelined, all at once.
        stream.write_all(requests.concat().as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        for request in requests {
            let answer = read_answer(&mut reader);
            assert_eq!(answer.status, StatusCode::OK, "{request:?}");
        }
    })
    .await
    .unwrap();
    assert_eq!(guarded.got.load(Ordering::SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_between_them_no_hidden_request_comes_through_unrefused() {
    let guarded = guarded().await;
    let piece = prop_oneof![
        Just("content-length: 5\r\n".to_owned()),
        Just("transfer-encoding: chunked\r\n".to_owned()),
        Just("Transfer-Encoding:\tchunked\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just(" ".to_owned()),
        "[a-z]{1,8}:[ -~]{0,8}\r\n",
        "[ -~]{0,6}",
    ];
    let strategy = prop::collection::vec(piece, 0..6);
    let config = Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = tokio::runtime::Handle::current();
    let run = move || {
        TestRunner::new(config).run(&strategy, |pieces| {
            let lines = pieces.concat();
            // An empty line ends the head, and what then follows the body is no secret.
            prop_assume!(!format!("\r\n{lines}").contains("\r\n\r\n"));
            // What a reader that is led astray would take for the next request stands in a body
            // whose only clear end is the connection's.
            let request = format!(
                "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{lines}\r\n{HIDDEN}",
                HIDDEN.len()
            );
            let smuggled = &guarded.smuggled;
            runtime.block_on(guarded.send_and_close(request.as_bytes()));
            prop_assert_eq!(smuggled.load(Ordering::SeqCst), 0, "{:?}", lines);
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
}

impl Guarded {
    /// Sends `request` and no more, and reads all that is answered.
    async fn send_and_close(&self, request: &[u8]) {
        let (address, request) = (self.gateway.address, request.to_vec());
        let exchange = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let patience = Some(Duration::from_secs(20));
            stream.set_read_timeout(patience).unwrap();
            let _ = stream.write_all(&request);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        exchange.await.unwrap();
    }
}
