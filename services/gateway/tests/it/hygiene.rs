//! What a client may say, and what it may not.

use axum::{
    Router,
    http::{HeaderMap, Method, StatusCode},
    response::IntoResponse,
    routing::get,
};

use crate::fixture::{Gateway, answer, echo, serve};

#[tokio::test]
async fn a_client_cannot_say_who_it_is() {
    let gateway = Gateway::before(&echo("auth").await).await;
    let request = gateway
        .request(Method::GET, "/api/auth/me")
        .header("X-User-ID", "1")
        .header("x-internal-api-key", "guess")
        .header("authorization", "Bearer token")
        .header("cookie", "a=b");
    let answer = answer(request).await;
    assert!(answer.received("x-user-id").is_empty());
    assert!(answer.received("x-internal-api-key").is_empty());
    assert_eq!(answer.received("authorization"), ["Bearer token"]);
    assert_eq!(answer.received("cookie"), ["a=b"]);
}

#[tokio::test]
async fn hop_by_hop_headers_end_here_with_all_that_connection_names() {
    let gateway = Gateway::before(&echo("auth").await).await;
    let answer = gateway
        .raw(
            "GET /api/auth/me HTTP/1.1\r\nhost: x\r\nconnection: close, X-Mine, x-forwarded-for, x-request-id\r\n\
             x-mine: 1\r\nkeep-alive: 5\r\nproxy-authorization: Basic x\r\nproxy-connection: x\r\n\
             te: trailers\r\nupgrade: websocket\r\nx-other: 2\r\n\r\n",
        )
        .await;
    for header in [
        "connection",
        "x-mine",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "upgrade",
    ] {
        assert!(answer.received(header).is_empty(), "{header}");
    }
    assert_eq!(answer.received("x-other"), ["2"]);
    // Naming it does not keep the services from learning where the request came from.
    assert_eq!(answer.received("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(
        answer.received("x-request-id"),
        [answer.headers["x-request-id"].to_str().unwrap()]
    );
}

#[tokio::test]
async fn a_service_learns_the_clients_address_scheme_and_host() {
    let upstream = echo("auth").await;
    let gateway = Gateway::before(&upstream).await;
    let answer = gateway.get("/api/auth/me").await;
    assert_eq!(answer.received("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.received("x-forwarded-proto"), ["http"]);
    let host = gateway.url.strip_prefix("http://").unwrap();
    assert_eq!(answer.received("x-forwarded-host"), [host]);
    assert_eq!(
        answer.received("host"),
        [upstream.strip_prefix("http://").unwrap()]
    );
}

async fn with_forged_headers(trusted: &[&str]) -> crate::fixture::Answer {
    let upstream = format!("--auth-service-url={}", echo("auth").await);
    let gateway = Gateway::start(&[&[upstream.as_str()], trusted].concat()).await;
    let request = gateway
        .request(Method::GET, "/api/auth/me")
        .header("x-forwarded-for", "10.1.1.1, 203.0.113.9")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "video.example")
        .header("x-real-ip", "10.1.1.1")
        .header("forwarded", "for=10.1.1.1");
    answer(request).await
}

#[tokio::test]
async fn a_stranger_cannot_forge_an_address() {
    let answer = with_forged_headers(&["--trusted-proxies=192.0.2.0/24"]).await;
    assert_eq!(answer.received("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.received("x-forwarded-proto"), ["http"]);
    assert_ne!(answer.received("x-forwarded-host"), ["video.example"]);
    assert!(answer.received("x-real-ip").is_empty());
    assert!(answer.received("forwarded").is_empty());
}

#[tokio::test]
async fn by_default_everybody_is_a_stranger() {
    let answer = with_forged_headers(&[]).await;
    assert_eq!(answer.received("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_but_not_what_its_client_invented() {
    let answer = with_forged_headers(&["--trusted-proxies=192.0.2.0/24,127.0.0.1"]).await;
    assert_eq!(
        answer.received("x-forwarded-for"),
        ["203.0.113.9, 127.0.0.1"]
    );
    assert_eq!(answer.received("x-forwarded-proto"), ["https"]);
    assert_eq!(answer.received("x-forwarded-host"), ["video.example"]);
    assert!(answer.received("x-real-ip").is_empty());
    assert!(answer.received("forwarded").is_empty());
}

#[tokio::test]
async fn request_id_and_trace_go_through_to_the_service_and_back() {
    let gateway = Gateway::before(&echo("auth").await).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = gateway
        .request(Method::GET, "/api/auth/me")
        .header("x-request-id", "mine-1")
        .header("traceparent", trace);
    let answer = answer(request).await;
    assert_eq!(answer.received("x-request-id"), ["mine-1"]);
    assert_eq!(answer.received("traceparent"), [trace]);
    assert_eq!(answer.headers["x-request-id"], "mine-1");

    let answer = gateway.get("/api/auth/me").await;
    let made = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(answer.received("x-request-id"), [made]);
    assert_eq!(answer.received("traceparent").len(), 1);
}

#[tokio::test]
async fn of_an_answer_all_but_the_hop_by_hop_headers_comes_back() {
    let answer_of_service = async || {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("location", "/api/auth/elsewhere"),
            ("x-request-id", "the service's own"),
            ("etag", "\"1\""),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        (StatusCode::SEE_OTHER, headers, "moved").into_response()
    };
    let upstream = serve(Router::new().route("/api/auth/me", get(answer_of_service))).await;
    let gateway = Gateway::before(&upstream).await;
    let answer = gateway.get("/api/auth/me").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(!answer.headers.contains_key("x-secret"));
    assert!(!answer.headers.contains_key("keep-alive"));
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(answer.headers["location"], "/api/auth/elsewhere");
    assert_eq!(answer.headers["etag"], "\"1\"");
    assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
    assert_ne!(answer.headers["x-request-id"], "the service's own");
}

#[tokio::test]
async fn a_request_names_one_host() {
    let gateway = Gateway::before(&echo("auth").await).await;
    for hosts in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nHost: b\r\n",
        "host: user@a\r\n",
        "host: a/b\r\n",
    ] {
        let request = format!("GET /api/auth/me HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let answer = gateway.raw(request).await;
        answer.is_problem(400, "bad_request");
    }
}
