//! How often a client may ask, counted in a real Redis.
//!
//! Each test's clients have addresses of their own, so that no test, and no earlier run, has taken
//! from their buckets.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use marquee_common::{
    auth::AuthContext,
    config::TokenConfig,
    contract::{AccessClaims, Role, SessionId, UserId},
};
use marquee_testkit::{eventually, infra};
use redis::AsyncCommands;
use serde_json::json;
use time::OffsetDateTime;

use crate::fixture::{
    Answer, Gateway, JWT_SECRET_KEY, ORIGIN, answer, echo, endless_events, serve,
};

const SOON: Duration = Duration::from_secs(20);

/// Where the tests' Redis is, as the gateway's arguments.
pub fn redis_args() -> [String; 2] {
    let url: reqwest::Url = infra().redis_url.parse().unwrap();
    [
        format!("--redis-host={}", url.host_str().unwrap()),
        format!("--redis-port={}", url.port().unwrap()),
    ]
}

/// A gateway that counts, in front of everything, with a client of its own.
async fn counting(args: &[&str]) -> Gateway {
    gateway(args).await.with_own_address()
}

async fn gateway(args: &[&str]) -> Gateway {
    let [host, port] = redis_args();
    let services = [
        format!("--auth-service-url={}", echo("auth").await),
        format!("--stream-service-url={}", echo("stream").await),
        format!("--proxy-service-url={}", echo("proxy").await),
    ];
    let mut all = vec![
        // A slow machine shall not make it count alone.
        "--rate-limit-timeout-ms=10000",
        &host,
        &port,
    ];
    if !args.contains(&"--enable-rate-limits=false") {
        all.push("--enable-rate-limits=true");
    }
    all.extend(services.iter().map(String::as_str));
    all.extend(args);
    Gateway::start(&all).await
}

#[track_caller]
fn is_limited(answer: &Answer, within_s: u64) {
    let problem = answer.is_problem(429, "rate_limited");
    let retry_after: u64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=within_s).contains(&retry_after), "{retry_after}");
    assert!(
        problem.detail.contains(&format!("{retry_after} s")),
        "{}",
        problem.detail
    );
}

async fn login(gateway: &Gateway, account: &str) -> Answer {
    let body = json!({"login": account, "password": "x"}).to_string();
    let request = gateway.request(Method::POST, "/api/auth/login").body(body);
    answer(request).await
}

#[tokio::test]
async fn an_address_gets_its_burst_at_once_and_then_has_to_wait() {
    let gateway = counting(&["--rate-limit-address=2/min", "--rate-limit-address-burst=3"]).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    }
    is_limited(&gateway.get("/api/auth/me").await, 30);
    // One bucket for the whole API.
    is_limited(&gateway.get("/api/streams/public").await, 30);
    let elsewhere = gateway.at_another_address();
    assert_eq!(elsewhere.get("/api/auth/me").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bucket_fills_with_time() {
    let gateway = counting(&["--rate-limit-address=1/s", "--rate-limit-address-burst=1"]).await;
    assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    eventually("there is a token again", SOON, async || {
        (gateway.get("/api/auth/me").await.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_a_trusted_proxy_says_which_address_is_counted() {
    let limits = ["--rate-limit-address=2/min", "--rate-limit-address-burst=2"];
    let call = async |gateway: &Gateway, client: &str| {
        let request = gateway.request(Method::GET, "/api/auth/me");
        answer(request.header("x-forwarded-for", client))
            .await
            .status
    };
    let invented = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    let stranger = counting(&limits).await;
    for (client, status) in invented.into_iter().zip([200_u16, 200, 429]) {
        assert_eq!(call(&stranger, client).await, status);
    }

    let trusting = counting(&[&limits[..], &["--trusted-proxies=127.0.0.0/8"]].concat()).await;
    // An IPv6 network of this test's own: its addresses are one client.
    let network = format!(
        "2001:db8:{:x}:{:x}",
        rand::random::<u16>(),
        rand::random::<u16>()
    );
    for (host, status) in [("1", 200_u16), ("ffff:2", 200), ("3", 429)] {
        let client = format!("1.2.3.4, {network}::{host}");
        assert_eq!(call(&trusting, &client).await, status, "{client}");
    }
    let neighbour = format!("{}::1", network.replace("2001", "2002"));
    assert_eq!(call(&trusting, &neighbour).await, StatusCode::OK);
}

#[tokio::test]
async fn logins_are_counted_by_account_and_address() {
    let gateway = counting(&["--rate-limit-login=2/min"]).await;
    for spelling in ["ada@video.example", " Ada@Video.Example"] {
        assert_eq!(login(&gateway, spelling).await.status, StatusCode::OK);
    }
    is_limited(&login(&gateway, "ada@video.example").await, 30);
    assert_eq!(login(&gateway, "eve").await.status, StatusCode::OK);
    let elsewhere = gateway.at_another_address();
    assert_eq!(
        login(&elsewhere, "ada@video.example").await.status,
        StatusCode::OK
    );
    // Whatever else the address does is not affected.
    assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_names_ever_new_accounts_is_held_up_too() {
    let gateway = counting(&["--rate-limit-login-address=3/min"]).await;
    let guess = async |gateway: &Gateway| {
        let account = format!("guess-{}", rand::random::<u64>());
        login(gateway, &account).await
    };
    for _ in 0..3 {
        assert_eq!(guess(&gateway).await.status, StatusCode::OK);
    }
    is_limited(&guess(&gateway).await, 20);
    let elsewhere = gateway.at_another_address();
    assert_eq!(guess(&elsewhere).await.status, StatusCode::OK);
    assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_login_that_was_read_arrives_as_it_was_sent() {
    let gateway = counting(&[]).await;
    let body = "{ \"login\" : \"caf\u{e9}\",\r\n\"password\":\"\\u0000\" }";
    let announced = reqwest::Body::from(body);
    let pieces = body
        .as_bytes()
        .chunks(5)
        .map(Bytes::from)
        .map(Ok::<_, std::io::Error>);
    let unannounced = reqwest::Body::wrap_stream(futures::stream::iter(pieces.collect::<Vec<_>>()));
    for sent in [announced, unannounced] {
        let request = gateway.request(Method::POST, "/api/auth/login").body(sent);
        let arrived = answer(request.header("content-type", "application/json")).await;
        assert_eq!(arrived.body["body"], body);
        assert_eq!(arrived.received("content-length"), [body.len().to_string()]);
        assert_eq!(arrived.received("content-type"), ["application/json"]);
    }
}

#[tokio::test]
async fn a_login_of_ten_megabytes_is_refused_and_no_other_body_breaks_the_count() {
    let gateway = counting(&["--rate-limit-login=3/min"]).await;
    let post = |body: Vec<u8>| {
        let request = gateway.request(Method::POST, "/api/auth/login");
        answer(request.body(body))
    };
    let large = [b"{\"login\": \"".to_vec(), vec![b'x'; 10 << 20]].concat();
    post(large).await.is_problem(413, "body_too_large");
    // What cannot be read passes (the service says what is wrong with it), and is counted.
    for body in [&b"{"[..], b"\xff\xfe\0", "[\u{202e}]".as_bytes()] {
        assert_eq!(post(body.to_vec()).await.status, StatusCode::OK);
    }
    is_limited(&post(b"null".to_vec()).await, 20);
}

#[tokio::test]
async fn registrations_are_counted_by_address() {
    let gateway = counting(&["--rate-limit-register=2/h"]).await;
    let register = async |gateway: &Gateway| {
        let request = gateway.request(Method::POST, "/api/auth/register");
        answer(request.body("{}")).await
    };
    for _ in 0..2 {
        assert_eq!(register(&gateway).await.status, StatusCode::OK);
    }
    is_limited(&register(&gateway).await, 1800);
    let elsewhere = gateway.at_another_address();
    assert_eq!(register(&elsewhere).await.status, StatusCode::OK);
}

fn token(secret: &str, user: UserId) -> String {
    let config = TokenConfig {
        jwt_secret_key: secret.parse().unwrap(),
    };
    let now = OffsetDateTime::now_utc().unix_timestamp();
    AuthContext::tokens_only(&config, &[]).issue(&AccessClaims {
        sub: user,
        username: "ada".to_owned(),
        role: Role::User,
        sid: SessionId::new(),
        aud: AccessClaims::AUDIENCE.to_owned(),
        iat: now,
        exp: now + 900,
        jti: "1".to_owned(),
    })
}

#[tokio::test]
async fn new_stream_keys_are_counted_by_user_from_wherever_and_however_signed_in() {
    let gateway = counting(&["--rate-limit-generate-key=3/h"]).await;
    let ada = token(JWT_SECRET_KEY, UserId::new());
    let bearer = async |gateway: &Gateway, path: &str, token: &str| {
        answer(gateway.request(Method::POST, path).bearer_auth(token)).await
    };
    let by_cookie = gateway
        .request(Method::POST, "/api/streams/generate-key")
        .header("origin", ORIGIN)
        .header("cookie", format!("theme=dark; access_token={ada}"));
    assert_eq!(answer(by_cookie).await.status, StatusCode::OK);
    for path in ["/api/streams", "/api/streams/generate-key"] {
        let elsewhere = gateway.at_another_address();
        assert_eq!(bearer(&elsewhere, path, &ada).await.status, StatusCode::OK);
    }
    is_limited(&bearer(&gateway, "/api/streams", &ada).await, 1200);
    let eve = token(JWT_SECRET_KEY, UserId::new());
    assert_eq!(
        bearer(&gateway, "/api/streams", &eve).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn nobody_uses_up_somebody_elses_keys_by_claiming_to_be_them() {
    let gateway = counting(&["--rate-limit-generate-key=1/h"]).await;
    let ada = UserId::new();
    let post = async |token: &str| {
        let request = gateway.request(Method::POST, "/api/streams/generate-key");
        answer(request.bearer_auth(token)).await
    };
    let forged = token("a key that the forger has made up himself", ada);
    let [_, claims, _] = forged.split('.').collect::<Vec<_>>()[..] else {
        panic!("{forged}");
    };
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    for forgery in [forged.as_str(), &unsigned] {
        // The service refuses these; this echo does not.
        assert_eq!(post(forgery).await.status, StatusCode::OK);
        assert_eq!(post(forgery).await.status, StatusCode::OK);
    }
    // Nor does a page of another origin, with the cookie that the browser adds.
    let cookie = format!("access_token={}", token(JWT_SECRET_KEY, ada));
    let from_evil = gateway
        .request(Method::POST, "/api/streams/generate-key")
        .header("origin", "https://evil.example")
        .header("cookie", cookie);
    assert_eq!(answer(from_evil).await.status, StatusCode::OK);

    let genuine = token(JWT_SECRET_KEY, ada);
    assert_eq!(post(&genuine).await.status, StatusCode::OK);
    is_limited(&post(&genuine).await, 3600);
}

#[tokio::test]
async fn a_viewers_heartbeat_is_counted_by_its_session_and_not_by_its_address() {
    let gateway = counting(&[
        "--rate-limit-address=1/h",
        "--rate-limit-address-burst=1",
        "--rate-limit-heartbeat=2/min",
    ])
    .await;
    let beat = async |body: serde_json::Value| {
        let request = gateway.request(Method::POST, "/api/streams/1/viewers");
        answer(request.body(body.to_string())).await
    };
    // The first one is a request like any other: it makes a session.
    assert_eq!(beat(json!({})).await.status, StatusCode::OK);
    is_limited(&beat(json!({})).await, 3600);
    for viewer in 0..20 {
        let session = json!({"session_id": format!("{viewer}.{}", rand::random::<u64>())});
        let first = beat(session.clone()).await;
        assert_eq!(first.status, StatusCode::OK);
        assert_eq!(first.body["body"], session.to_string());
        assert_eq!(beat(session.clone()).await.status, StatusCode::OK);
        is_limited(&beat(session).await, 30);
    }
}

#[tokio::test]
async fn who_makes_sessions_up_is_held_up_by_address_after_all() {
    let gateway = counting(&["--rate-limit-heartbeat-address=5/h"]).await;
    let beat = async || {
        let session = json!({"session_id": rand::random::<u64>().to_string()});
        let request = gateway.request(Method::POST, "/api/streams/1/viewers");
        answer(request.body(session.to_string())).await
    };
    for _ in 0..5 {
        assert_eq!(beat().await.status, StatusCode::OK);
    }
    is_limited(&beat().await, 720);
}

#[tokio::test]
async fn media_and_preflights_are_not_counted() {
    let gateway = counting(&["--rate-limit-address=1/h", "--rate-limit-address-burst=1"]).await;
    for _ in 0..20 {
        let part = gateway.get("/stream/1/720p/1-1-1-0-200.ts").await;
        assert_eq!(part.status, StatusCode::OK);
        let preflight = gateway
            .request(Method::OPTIONS, "/api/auth/me")
            .header("origin", ORIGIN)
            .header("access-control-request-method", "GET");
        assert_eq!(answer(preflight).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    is_limited(&gateway.get("/api/auth/me").await, 3600);
}

#[tokio::test]
async fn what_leads_nowhere_is_counted_as_well() {
    let large = |gateway: &Gateway| {
        let request = gateway.request(Method::POST, "/api/auth/login");
        answer(request.body(vec![b'x'; 70_000]))
    };
    let more_than_is_read = |gateway: &Gateway| {
        let request = gateway.request(Method::POST, "/api/auth/login");
        answer(request.body(vec![b'x'; 20_000]))
    };
    for path in [
        "/api/openapi.json",
        "/openapi.json",
        "/api/nowhere",
        "/api/videos",
    ] {
        let gateway = counting(&["--rate-limit-address=1/h", "--rate-limit-address-burst=3"]).await;
        let first = gateway.get(path).await;
        assert_ne!(first.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        large(&gateway).await.is_problem(413, "body_too_large");
        more_than_is_read(&gateway)
            .await
            .is_problem(413, "body_too_large");
        is_limited(&gateway.get(path).await, 3600);
        is_limited(&large(&gateway).await, 3600);
        is_limited(&more_than_is_read(&gateway).await, 3600);
    }
}

#[tokio::test]
async fn an_address_has_so_many_event_streams_and_may_open_another_when_one_ends() {
    let events = serve(endless_events(Duration::from_millis(20))).await;
    let stream = format!("--stream-service-url={events}");
    let [host, port] = redis_args();
    let gateway = Gateway::start(&[
        "--enable-rate-limits=true",
        "--event-streams-per-address=2",
        &stream,
        &host,
        &port,
    ])
    .await
    .with_own_address();
    let open = async |gateway: &Gateway| {
        let request = gateway.request(Method::GET, "/api/streams/1/events");
        request.send().await.unwrap()
    };
    let mut first = open(&gateway).await;
    let second = open(&gateway).await;
    assert_eq!(second.status(), StatusCode::OK);
    is_limited(&gateway.get("/api/streams/1/events").await, 10);
    let elsewhere = gateway.at_another_address();
    assert_eq!(open(&elsewhere).await.status(), StatusCode::OK);

    assert!(first.chunk().await.unwrap().is_some(), "it still flows");
    drop(second);
    eventually("its place is free", SOON, async || {
        let third = open(&gateway).await;
        (third.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_no_event_stream_keeps_no_place() {
    let gateway = counting(&["--event-streams-per-address=1"]).await;
    for _ in 0..3 {
        eventually("there is a place", SOON, async || {
            let answer = gateway.get("/api/streams/1/events").await;
            (answer.status == StatusCode::OK).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_page_can_read_that_it_has_to_wait() {
    let gateway = counting(&["--rate-limit-address=1/h", "--rate-limit-address-burst=1"]).await;
    let call = || {
        let request = gateway.request(Method::GET, "/api/auth/me");
        answer(request.header("origin", ORIGIN))
    };
    call().await;
    let limited = call().await;
    is_limited(&limited, 3600);
    assert_eq!(limited.headers["access-control-allow-origin"], ORIGIN);
    let exposed = limited.headers["access-control-expose-headers"].to_str();
    assert!(exposed.unwrap().contains("Retry-After"));
}

#[tokio::test]
async fn all_gateways_count_together() {
    let limits = ["--rate-limit-login=4/min"];
    let (one, other) = tokio::join!(gateway(&limits), gateway(&limits));
    let client = one.at_another_address();
    let at_the_other = Gateway {
        url: other.url.clone(),
        address: other.address,
        client: client.client.clone(),
        lifecycle: marquee_common::server::Lifecycle::new(),
    };
    for gateway in [&client, &at_the_other, &client, &at_the_other] {
        assert_eq!(login(gateway, "ada").await.status, StatusCode::OK);
    }
    is_limited(&login(&client, "ada").await, 15);
    is_limited(&login(&at_the_other, "ada").await, 15);
}

#[tokio::test]
async fn at_the_same_time_no_more_pass_than_there_are_tokens() {
    let gateway = counting(&["--rate-limit-address=1/h", "--rate-limit-address-burst=10"]).await;
    let calls = (0..40).map(|_| gateway.get("/api/auth/me"));
    let answers = futures::future::join_all(calls).await;
    let passed = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK);
    assert_eq!(passed.count(), 10);
}

#[tokio::test]
async fn in_redis_a_bucket_has_no_name_of_an_account_and_goes_when_it_is_full() {
    let gateway = counting(&[]).await;
    // Keys are hexadecimal: none of these letters stands in one by chance.
    let account = format!("zyxwvu-{}", rand::random::<u64>());
    login(&gateway, &account).await;
    let client = redis::Client::open(infra().redis_url).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis.keys("gateway:limit:login:*").await.unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        assert!(!key.contains("zyxwvu"), "{key}");
        let ttl_ms: i64 = redis.pttl(&key).await.unwrap();
        // -2: it is gone by now.
        assert!((-2..=60_000).contains(&ttl_ms) && ttl_ms != -1, "{ttl_ms}");
    }
}

#[tokio::test]
async fn limits_can_be_switched_off() {
    let gateway = counting(&[
        "--rate-limit-address=1/h",
        "--rate-limit-address-burst=1",
        "--enable-rate-limits=false",
    ])
    .await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/api/auth/me").await.status, StatusCode::OK);
    }
}
