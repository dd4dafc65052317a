//! Which pages of other origins may call the API.

use axum::{
    Router,
    http::{HeaderMap, Method, StatusCode},
    routing::any,
};

use crate::fixture::{Answer, Gateway, ORIGIN, answer, echo, nobody, serve};

const STRANGER: &str = "https://evil.example";

async fn call(gateway: &Gateway, path: &str, origin: &str) -> Answer {
    answer(gateway.request(Method::GET, path).header("origin", origin)).await
}

async fn preflight(gateway: &Gateway, path: &str, origin: &str) -> Answer {
    let request = gateway
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", "PATCH")
        .header(
            "access-control-request-headers",
            "authorization, content-type",
        );
    answer(request).await
}

fn list(answer: &Answer, header: &str) -> Vec<String> {
    let line = answer.headers[header].to_str().unwrap();
    line.split(',')
        .map(|item| item.trim().to_ascii_lowercase())
        .collect()
}

#[tokio::test]
async fn a_listed_page_may_call_with_cookies() {
    let gateway = Gateway::before(&echo("auth").await).await;
    let answer = call(&gateway, "/api/auth/me", ORIGIN).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    assert!(list(&answer, "access-control-expose-headers").contains(&"x-request-id".to_owned()));
    assert!(list(&answer, "vary").contains(&"origin".to_owned()));
    // The service decides by it whether a cookie counts.
    assert_eq!(answer.received("origin"), [ORIGIN]);
}

#[tokio::test]
async fn a_stranger_page_gets_no_permission() {
    let gateway = Gateway::before(&echo("auth").await).await;
    for origin in [STRANGER, "null", "https://video.example.evil.example"] {
        let answer = call(&gateway, "/api/auth/me", origin).await;
        assert!(
            !answer.headers.contains_key("access-control-allow-origin"),
            "{origin}"
        );
        assert!(
            !answer
                .headers
                .contains_key("access-control-allow-credentials")
        );
        assert!(list(&answer, "vary").contains(&"origin".to_owned()));
        let answer = preflight(&gateway, "/api/auth/me", origin).await;
        assert!(
            !answer.headers.contains_key("access-control-allow-origin"),
            "{origin}"
        );
        assert!(!answer.headers.contains_key("access-control-allow-methods"));
    }
}

#[tokio::test]
async fn a_preflight_is_answered_here_and_never_passed_on() {
    let gateway = Gateway::before(&nobody()).await;
    let answer = preflight(&gateway, "/api/auth/me", ORIGIN).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    let methods = list(&answer, "access-control-allow-methods");
    for method in ["get", "head", "post", "put", "patch", "delete", "options"] {
        assert!(methods.contains(&method.to_owned()), "{method}");
    }
    let headers = list(&answer, "access-control-allow-headers");
    for header in ["authorization", "content-type", "range"] {
        assert!(headers.contains(&header.to_owned()), "{header}");
    }
    assert!(!headers.contains(&"x-internal-api-key".to_owned()));
    assert!(answer.headers.contains_key("access-control-max-age"));
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_reaches_the_service() {
    let gateway = Gateway::before(&echo("auth").await).await;
    let answer = answer(gateway.request(Method::OPTIONS, "/api/auth/me")).await;
    assert_eq!(answer.body["method"], "OPTIONS");
}

#[tokio::test]
async fn a_star_opens_the_api_to_every_page_without_cookies() {
    let upstream = format!("--auth-service-url={}", echo("auth").await);
    let gateway = Gateway::start(&[&upstream, "--cors-allowed-origins=*"]).await;
    let answer = call(&gateway, "/api/auth/me", STRANGER).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert!(
        !answer
            .headers
            .contains_key("access-control-allow-credentials")
    );
}

#[tokio::test]
async fn the_public_list_of_streams_is_for_every_page() {
    let upstream = format!("--stream-service-url={}", echo("stream").await);
    let gateway = Gateway::start(&[&upstream]).await;
    let stranger = call(&gateway, "/api/streams/public?live=true", STRANGER).await;
    assert_eq!(stranger.headers["access-control-allow-origin"], "*");
    assert!(
        !stranger
            .headers
            .contains_key("access-control-allow-credentials")
    );
    let no_page = gateway.get("/api/streams/public").await;
    assert_eq!(no_page.headers["access-control-allow-origin"], "*");
    let ours = call(&gateway, "/api/streams/public", ORIGIN).await;
    assert_eq!(ours.headers["access-control-allow-origin"], ORIGIN);
    let other = call(&gateway, "/api/streams/1", STRANGER).await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn what_services_say_about_cors_is_dropped() {
    let says_too_much = async || {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-private-network", "true"),
            ("vary", "Accept-Encoding"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        (headers, "{}")
    };
    let upstream = serve(Router::new().fallback(any(says_too_much))).await;
    let gateway = Gateway::before(&upstream).await;
    let stranger = call(&gateway, "/api/auth/me", STRANGER).await;
    for header in stranger.headers.keys() {
        assert!(!header.as_str().starts_with("access-control-"), "{header}");
    }
    let ours = call(&gateway, "/api/auth/me", ORIGIN).await;
    assert_eq!(
        ours.headers
            .get_all("access-control-allow-origin")
            .iter()
            .count(),
        1
    );
    assert_eq!(ours.headers["access-control-allow-origin"], ORIGIN);
    let vary: Vec<_> = ours.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept-Encoding", "Origin"]);
}

#[tokio::test]
async fn a_page_can_read_the_gateways_own_problems() {
    let gateway = Gateway::before(&nobody()).await;
    for path in ["/api/auth/me", "/api/nothing", "/api/videos"] {
        let answer = call(&gateway, path, ORIGIN).await;
        assert!(!answer.status.is_success());
        assert_eq!(
            answer.headers["access-control-allow-origin"], ORIGIN,
            "{path}"
        );
    }
}

#[tokio::test]
async fn outside_the_api_the_gateway_says_nothing_about_cors() {
    let says_so_itself = async || ([("access-control-allow-origin", "*")], "");
    let upstream = serve(Router::new().fallback(any(says_so_itself))).await;
    let gateway = Gateway::start(&[&format!("--proxy-service-url={upstream}")]).await;
    let answer = call(&gateway, "/stream/1/master.m3u8", STRANGER).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let answer = call(&gateway, "/nothing", ORIGIN).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}
