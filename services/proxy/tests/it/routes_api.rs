//! The operators' table, over HTTP and from a shell.

use std::process::Command;

use axum::http::{Method, StatusCode};
use marquee_common::{
    auth::AuthContext,
    config::Secret,
    contract::{AccessClaims, Role, SessionId, UserId},
};
use marquee_testkit::free_port;
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::fixture::{Answer, JWT_SECRET_KEY, Proxy, answer, echo, redis, redis_port, set, unique};

fn token(role: Role) -> String {
    let secret: Secret = JWT_SECRET_KEY.parse().unwrap();
    let auth = AuthContext::users_only(&secret, &[], None);
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    auth.issue(&AccessClaims {
        sub: UserId::new(),
        username: "ada".to_owned(),
        role,
        sid: SessionId::new(),
        aud: AccessClaims::AUDIENCE.to_owned(),
        iat: now,
        exp: now + 60,
        jti: unique("jti"),
    })
}

async fn call(proxy: &Proxy, method: Method, path: &str, body: Option<Value>) -> Answer {
    let mut request = proxy
        .request(method, &format!("/api/proxy/routes{path}"))
        .bearer_auth(token(Role::Admin));
    if let Some(body) = body {
        request = request.json(&body);
    }
    answer(request).await
}

/// `redis-cli RPUSH streams:… x`
async fn holds_a_list(id: &str) {
    let key = format!("streams:{id}");
    let () = redis().await.rpush(key, "x").await.unwrap();
}

#[tokio::test]
async fn a_key_that_holds_something_else_is_shown_and_can_be_set_anew() {
    let proxy = Proxy::start().await;
    let (upstream, id) = (echo("it").await, unique("list"));
    let path = format!("/{id}");
    holds_a_list(&id).await;
    let shown = call(&proxy, Method::GET, &path, None).await;
    assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
    assert_eq!(shown.body["upstream"], "");
    assert_eq!(shown.body["health"]["answers"], false);
    let error = shown.body["health"]["error"].as_str().unwrap();
    assert!(error.contains("not a string"), "{error}");
    let body = Some(json!({"upstream": upstream.to_string()}));
    let put = call(&proxy, Method::PUT, &path, body).await;
    assert_eq!(put.status, StatusCode::OK, "it is not new: {put:?}");
    assert_eq!(put.body["health"]["answers"], true);
    crate::fixture::del(&id).await;
    holds_a_list(&id).await;
    let deleted = call(&proxy, Method::DELETE, &path, None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_route_is_set_shown_changed_and_deleted() {
    let proxy = Proxy::start().await;
    let upstream = echo("it").await;
    let id = unique("table");
    let path = format!("/{id}");
    let put = call(
        &proxy,
        Method::PUT,
        &path,
        Some(json!({"upstream": upstream.to_string()})),
    )
    .await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    assert_eq!(put.body["stream_id"], id);
    assert_eq!(put.body["ttl_s"], Value::Null);
    assert_eq!(put.body["health"]["answers"], true);
    assert_eq!(put.body["health"]["http_status"], 200);
    assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("it"));

    let nobody = format!("127.0.0.1:{}", free_port());
    let put = call(
        &proxy,
        Method::PUT,
        &path,
        Some(json!({"upstream": nobody, "ttl_s": 60})),
    )
    .await;
    assert_eq!(put.status, StatusCode::OK);
    let got = call(&proxy, Method::GET, &path, None).await;
    assert_eq!(got.body["upstream"], nobody);
    assert!((50..=60).contains(&got.body["ttl_s"].as_u64().unwrap()));
    assert_eq!(got.body["health"]["answers"], false);
    assert!(got.body["health"]["error"].is_string());

    assert_eq!(call(&proxy, Method::DELETE, &path, None).await.status, 204);
    call(&proxy, Method::DELETE, &path, None)
        .await
        .is_problem(404, "not_found");
    call(&proxy, Method::GET, &path, None)
        .await
        .is_problem(404, "not_found");
}

#[tokio::test]
async fn the_list_has_pages_and_every_route_once() {
    let proxy = Proxy::start().await;
    let prefix = unique("page");
    for n in 0..7 {
        set(&format!("{prefix}-{n}"), "invalid:format:here").await;
    }
    let mut seen = Vec::new();
    // Other tests' routes come before and after.
    let mut cursor = Some(format!("{prefix}-"));
    while let Some(after) = cursor.take() {
        let page = call(
            &proxy,
            Method::GET,
            &format!("?limit=3&cursor={after}"),
            None,
        )
        .await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let items = page.body["items"].as_array().unwrap().clone();
        assert!(items.len() <= 3);
        for item in items {
            let id = item["stream_id"].as_str().unwrap().to_owned();
            if id.starts_with(&prefix) {
                assert_eq!(item["health"]["answers"], false);
                seen.push(id);
            }
        }
        cursor = page.body["next_cursor"]
            .as_str()
            .filter(|next| next.starts_with(&prefix))
            .map(str::to_owned);
    }
    let expected: Vec<String> = (0..7).map(|n| format!("{prefix}-{n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn only_admins_see_and_change_the_table() {
    let proxy = Proxy::start().await;
    let nobody = proxy.get("/api/proxy/routes").await;
    nobody.is_problem(401, "unauthenticated");
    let user = proxy
        .request(Method::GET, "/api/proxy/routes")
        .bearer_auth(token(Role::User));
    answer(user).await.is_problem(403, "forbidden");
    let write = proxy
        .request(Method::PUT, "/api/proxy/routes/x")
        .header("cookie", format!("access_token={}", token(Role::Admin)))
        .header("origin", "https://evil.example")
        .json(&json!({"upstream": "a:1"}));
    answer(write).await.is_problem(403, "csrf_failed");
}

#[tokio::test]
async fn a_route_that_could_not_be_asked_for_is_refused_with_the_field() {
    let proxy = Proxy::start().await;
    let put = async |id: &str, body: Value| {
        let answer = call(&proxy, Method::PUT, &format!("/{id}"), Some(body)).await;
        let problem = answer.is_problem(422, "validation_failed");
        problem.errors[0].field.clone()
    };
    let id = unique("bad");
    assert_eq!(put(&id, json!({"upstream": "a:b:c"})).await, "upstream");
    assert_eq!(put(&id, json!({"upstream": "http://a"})).await, "upstream");
    assert_eq!(
        put(&id, json!({"upstream": "a:1", "ttl_s": 0})).await,
        "ttl_s"
    );
    assert_eq!(put(&id, json!({})).await, "upstream");
    assert_eq!(put("%00", json!({"upstream": "a:1"})).await, "stream_id");
    let long = "x".repeat(257);
    assert_eq!(put(&long, json!({"upstream": "a:1"})).await, "stream_id");
}

#[tokio::test]
async fn without_a_key_nobody_is_an_admin() {
    let secretless: Vec<String> = vec![
        "proxy".into(),
        "--port=0".into(),
        "--bind-addr=127.0.0.1".into(),
        "--rust-log=off".into(),
        "--access-log-format=off".into(),
        "--redis-host=127.0.0.1".into(),
        format!("--redis-port={}", redis_port()),
    ];
    let config = <marquee_proxy::config::Config as clap::Parser>::parse_from(secretless);
    let app = marquee_proxy::app::App::build(config).unwrap();
    let lifecycle = app.lifecycle();
    let bound = app.bind().unwrap();
    let url = format!("http://{}/api/proxy/routes", bound.local_addr());
    tokio::spawn(bound.run());
    let request = marquee_common::http::client(crate::fixture::PATIENCE)
        .get(url)
        .bearer_auth(token(Role::Admin));
    answer(request).await.is_problem(503, "unavailable");
    lifecycle.shutdown();
}

#[tokio::test]
async fn an_operator_changes_routes_from_a_shell() {
    let id = unique("shell");
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_proxy"))
            .arg("routes")
            .args(args)
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", redis_port().to_string())
            .output()
            .unwrap();
        let text =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    };
    let nobody = format!("127.0.0.1:{}", free_port());
    assert_eq!(
        run(&["set", &id, &nobody, "--ttl-s", "100"]),
        (true, format!("{id}: {nobody}\n"))
    );
    let (ok, list) = run(&["list"]);
    assert!(ok);
    assert!(
        list.lines()
            .any(|line| line.starts_with(&format!("{id}\t{nobody}\t"))),
        "{list}"
    );
    let (ok, verdict) = run(&["check", &id]);
    assert!(!ok && verdict.contains("no connection to"), "{verdict}");
    let (ok, error) = run(&["set", &id, "a:b:c"]);
    assert!(!ok && error.contains("must be like"), "{error}");
    assert_eq!(run(&["delete", &id]), (true, format!("{id}: deleted\n")));
    let (ok, error) = run(&["delete", &id]);
    assert!(!ok && error.contains("there is no route"), "{error}");
    holds_a_list(&id).await;
    let (ok, verdict) = run(&["check", &id]);
    let line = format!("{id}\t(not a string)\t-\tthe key holds something that is not a string");
    assert!(!ok && verdict.starts_with(&line), "{verdict}");
    assert!(run(&["set", &id, &nobody]).0);
    assert!(run(&["delete", &id]).0);
}
