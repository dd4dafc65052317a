//! `/api`: the gateway's answers unchanged, and problems of the same shape where nginx answers itself.

use std::time::Duration;

use crate::fixture::{Fixture, unique};
use marquee_testkit::eventually;
use reqwest::{Response, StatusCode};

async fn problem(answer: Response) -> (String, serde_json::Value) {
    let header = |name: &str| {
        let value = answer.headers().get(name);
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header("content-type"), "application/problem+json");
    let id = header("x-request-id");
    (id, answer.json().await.unwrap())
}

#[tokio::test]
async fn a_gateway_that_is_away_is_a_problem_with_the_request_id() {
    let edge = Fixture::start().await;
    for path in ["/api", "/api/streams", "/api/streams/1/events"] {
        let answer = edge
            .http
            .get(edge.url(path))
            .header("x-request-id", "test-1234")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY, "{path}");
        let (id, body) = problem(answer).await;
        assert_eq!(id, "test-1234");
        assert_eq!(body["status"], 502);
        assert_eq!(body["code"], "bad_gateway");
        assert_eq!(body["title"], "Bad Gateway");
        assert_eq!(body["request_id"], "test-1234");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_a_problem() {
    let edge = Fixture::start().await;
    let answer = edge
        .http
        .post(edge.url("/api/auth/login"))
        .body(vec![b'x'; 3 * 1024 * 1024])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let (_, body) = problem(answer).await;
    assert_eq!(body["code"], "body_too_large");
}

#[tokio::test]
async fn what_is_refused_before_its_path_is_looked_at_is_a_problem_under_api_and_plain_elsewhere() {
    let edge = Fixture::start().await;
    let long = "x".repeat(20_000);
    let host = "Host: localhost\r\n";
    for (method, query, headers, status, code) in [
        ("GET", long.as_str(), host.to_owned(), 414, "uri_too_long"),
        (
            "GET",
            "",
            format!("{host}Cookie: a={long}\r\n"),
            431,
            "headers_too_large",
        ),
        ("GET", "", String::new(), 400, "bad_request"),
        ("TRACE", "", host.to_owned(), 405, "method_not_allowed"),
        (
            "POST",
            "",
            format!("{host}Transfer-Encoding: gzip\r\n"),
            501,
            "not_implemented",
        ),
    ] {
        for path in ["/api", "/api/streams"] {
            let head = format!("{method} {path}?q={query} HTTP/1.1\r\n{headers}\r\n");
            let (answer, body) = edge.raw(&head).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            assert!(
                answer.contains("Content-Type: application/problem+json"),
                "{code}: {answer}"
            );
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["status"], status);
            assert_eq!(body["code"], code);
        }
        let head = format!("{method} /apiary?q={query} HTTP/1.1\r\n{headers}\r\n");
        let (answer, _) = edge.raw(&head).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(
            answer.contains("Content-Type: text/plain"),
            "{code}: {answer}"
        );
    }
}

#[tokio::test]
async fn the_gateways_own_problems_pass_through() {
    let edge = Fixture::with_gateway(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         x-request-id: from-gateway\r\ncontent-length: 20\r\n\r\n{\"code\":\"own words\"}",
    )
    .await;
    let answer = edge
        .http
        .get(edge.url("/api/streams"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let (id, body) = problem(answer).await;
    assert_eq!(id, "from-gateway");
    assert_eq!(body["code"], "own words");
}

#[tokio::test]
async fn an_event_is_there_before_the_stream_of_events_ends() {
    let edge = Fixture::with_gateway(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
         transfer-encoding: chunked\r\n\r\nc\r\ndata: live\n\n\r\n",
    )
    .await;
    let mut answer = edge
        .http
        .get(edge.url("/api/streams/1/events"))
        .send()
        .await
        .unwrap();
    // The gateway keeps the stream open for 30 s.
    let first = tokio::time::timeout(Duration::from_secs(5), answer.chunk()).await;
    assert_eq!(first.unwrap().unwrap().unwrap(), "data: live\n\n");
}

#[tokio::test]
async fn a_percent_encoded_stream_key_is_not_logged_either() {
    use std::fmt::Write as _;

    let edge = Fixture::start().await;
    let key = "AZaz09-_OPopJKjk".repeat(3)[..43].to_owned();
    let (mut upper, mut lower) = (String::new(), String::new());
    for byte in key.bytes() {
        write!(upper, "%{byte:02X}").unwrap();
        write!(lower, "%{byte:02x}").unwrap();
    }
    let partly = format!("%41{}", &key[1..]);
    let in_a_name = format!("{key}.m3u8");
    for form in [&upper, &lower, &partly, &in_a_name] {
        let head = format!("GET /api/streams/{form}?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n");
        edge.raw(&head).await;
        // Refused before its path is looked at: without a Host.
        edge.raw(&format!("GET /api/streams/{form}?a=b HTTP/1.1\r\n\r\n"))
            .await;
    }
    eventually("eight log lines", Duration::from_secs(5), async || {
        (edge.log().matches("\"path\":\"/api/streams/***\"").count() == 8).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_log_line_has_a_stream_key_or_a_token() {
    let edge = Fixture::start().await;
    let key: String = unique().repeat(3).chars().take(43).collect();
    let marker = unique();
    for path in [
        format!("/api/streams/{key}"),
        format!("/api/streams/{key}?token={key}"),
        format!("/storage/vod/{marker}?X-Amz-Signature={key}"),
        format!("/stream/1/{marker}.m3u8?token={key}"),
    ] {
        edge.http.get(edge.url(&path)).send().await.unwrap();
    }
    // nginx writes the line after the answer.
    eventually("four log lines", Duration::from_secs(5), async || {
        let log = edge.log();
        (log.matches("\"path\":\"/api/streams/***\"").count() == 2
            && log.matches(&format!("{marker}\"")).count() == 1)
            .then_some(())
    })
    .await;
    assert!(!edge.log().contains(&key), "{}", edge.log());
}
