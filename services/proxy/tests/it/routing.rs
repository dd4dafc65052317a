//! Seed 000: what is in Redis decides where a request goes, from the next one on.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use marquee_testkit::{eventually, free_port};

use crate::fixture::{PATIENCE, Proxy, answer, del, echo, redis, set, unique};

#[tokio::test]
async fn what_is_set_in_redis_is_where_the_next_request_goes() {
    let proxy = Proxy::start().await;
    let (first, second) = (echo("first").await, echo("second").await);
    let id = unique("live");
    proxy
        .get(&format!("/stream/{id}"))
        .await
        .is_problem(404, "stream_not_found");
    set(&id, first).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("first"));
    set(&id, second).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("second"));
    del(&id).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy
        .get(&format!("/stream/{id}"))
        .await
        .is_problem(404, "stream_not_found");
}

#[tokio::test]
async fn path_query_method_and_body_arrive_as_they_were_sent() {
    let proxy = Proxy::start().await;
    let id = unique("live");
    set(&id, echo("it").await).await;
    let target = format!("/stream/{id}/a%20b//c.ts?x=%C3%A9&token=t&y");
    for method in [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ] {
        let body = if method == Method::GET { "" } else { "a body" };
        let request = proxy.request(method.clone(), &target).body(body);
        let got = answer(request).await;
        assert_eq!(got.body["target"], target);
        assert_eq!(got.body["method"], method.as_str());
        assert_eq!(got.body["body"], body);
    }
    let head = proxy.request(Method::HEAD, &target).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.headers().contains_key("content-length"));
}

#[tokio::test]
async fn a_body_in_chunks_arrives_whatever_the_method() {
    let proxy = Proxy::start().await;
    let id = unique("live");
    set(&id, echo("it").await).await;
    for method in ["GET", "DELETE", "POST"] {
        let request = format!(
            "{method} /stream/{id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n6\r\na body\r\n0\r\n\r\n"
        );
        let answer = proxy.raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(r#""body":"a body""#), "{method}: {answer}");
    }
}

#[tokio::test]
async fn an_upstream_cannot_set_the_platforms_own_cookies() {
    let upstream = crate::fixture::says(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: access_token=x; Path=/\r\n\
          set-cookie: theme=dark\r\nset-cookie:  refresh_token =y\r\n\
          set-cookie: =access_token=x; Path=/\r\nset-cookie: = =refresh_token=y\r\n\r\nok",
    )
    .await;
    let proxy = Proxy::start().await;
    let id = unique("live");
    set(&id, upstream).await;
    let got = proxy.get(&format!("/stream/{id}")).await;
    let cookies: Vec<_> = got.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["theme=dark"]);
}

#[tokio::test]
async fn the_upstream_sees_its_own_host_and_who_asks() {
    let proxy = Proxy::start().await;
    let id = unique("live");
    let upstream = echo("it").await;
    set(&id, upstream).await;
    let request = proxy
        .request(Method::GET, &format!("/stream/{id}"))
        .header("host", "video.example:8080")
        // Nobody has said that this client is a proxy of ours.
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-request-id", "abc-123");
    let got = answer(request).await;
    assert_eq!(got.received("host"), [upstream.to_string()]);
    assert_eq!(got.received("x-forwarded-host"), ["video.example:8080"]);
    assert_eq!(got.received("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(got.received("x-forwarded-proto"), ["http"]);
    assert_eq!(got.received("x-request-id"), ["abc-123"]);
    assert!(got.received("connection").is_empty());
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_about_the_client() {
    let proxy = Proxy::with(&["--trusted-proxies=127.0.0.0/8"]).await;
    let id = unique("live");
    set(&id, echo("it").await).await;
    let request = proxy
        .request(Method::GET, &format!("/stream/{id}"))
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "video.example");
    let got = answer(request).await;
    assert_eq!(got.received("x-forwarded-for"), ["198.51.100.7, 127.0.0.1"]);
    assert_eq!(got.received("x-forwarded-proto"), ["https"]);
    assert_eq!(got.received("x-forwarded-host"), ["video.example"]);
}

#[tokio::test]
async fn an_ipv6_address_and_a_name_are_upstreams_too() {
    let proxy = Proxy::start().await;
    let upstream = echo("it").await;
    let by_name = unique("live");
    set(&by_name, format!("localhost:{}", upstream.port())).await;
    let got = proxy.get(&format!("/stream/{by_name}")).await;
    assert_eq!(
        got.received("host"),
        [format!("localhost:{}", upstream.port())]
    );

    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = axum::Router::new().fallback(async || "six");
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let by_v6 = unique("live");
    set(&by_v6, format!("[::1]:{port}")).await;
    let got = proxy.request(Method::GET, &format!("/stream/{by_v6}"));
    assert_eq!(got.send().await.unwrap().text().await.unwrap(), "six");
}

#[tokio::test]
async fn an_encoded_id_is_the_same_stream() {
    let proxy = Proxy::start().await;
    let id = unique("live");
    set(&id, echo("it").await).await;
    let encoded = id.replace('-', "%2d").replacen('l', "%6C", 1);
    assert_eq!(proxy.name_behind(&encoded).await.as_deref(), Some("it"));
}

#[tokio::test]
async fn a_value_that_is_no_address_is_500_until_it_is_one() {
    let proxy = Proxy::start().await;
    let id = unique("live");
    let path = format!("/stream/{id}");
    for value in [
        "invalid:format:here",
        "",
        "10.0.0.5:8000 ",
        "10.0.0.5\n:80",
        "http://10.0.0.5",
        "host:99999",
    ] {
        set(&id, value).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.get(&path).await.is_problem(500, "bad_upstream");
    }
    del(&id).await;
    let key = format!("streams:{id}");
    let _: i64 = redis::cmd("RPUSH")
        .arg(&key)
        .arg("x")
        .query_async(&mut redis().await)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.get(&path).await.is_problem(500, "bad_upstream");
    del(&id).await;
    set(&id, echo("it").await).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("it"));
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_reached_again() {
    let proxy = Proxy::start().await;
    let id = unique("live");
    let port = free_port();
    set(&id, format!("127.0.0.1:{port}")).await;
    let path = format!("/stream/{id}");
    proxy.get(&path).await.is_problem(502, "bad_gateway");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let router = axum::Router::new().fallback(async || "here");
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    eventually("the upstream is reached", PATIENCE, async || {
        (proxy.get(&path).await.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_to_an_upstream_are_used_again() {
    let proxy = Proxy::with(&["--workers=1"]).await;
    let id = unique("live");
    let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = accepted.clone();
    let upstream = crate::fixture::upstream(move |mut connection| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            while !crate::fixture::read_head(&mut connection).await.is_empty() {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                tokio::io::AsyncWriteExt::write_all(&mut connection, answer)
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    set(&id, upstream).await;
    for _ in 0..20 {
        let got = proxy.request(Method::GET, &format!("/stream/{id}"));
        assert_eq!(got.send().await.unwrap().text().await.unwrap(), "ok");
    }
    assert_eq!(accepted.load(std::sync::atomic::Ordering::SeqCst), 1);
}
