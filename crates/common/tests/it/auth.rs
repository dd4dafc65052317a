//! Who is believed, and who is not.

use std::time::{Duration, Instant};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header, request::Builder},
    routing::any,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::join_all;
use marquee_common::{
    auth::{Admin, AuthContext, Internal, OptionalUser, User, revoked_key},
    config::TokenConfig,
    contract::{AccessClaims, Role},
    redis::{RedisClient, RedisConfig},
};
use marquee_testkit::eventually;
use redis::AsyncCommands;
use serde_json::json;
use tokio::net::TcpListener;

use crate::setup::{
    PATIENCE, app, auth_config, auth_context, call, claims, json as body, redis_client, secret,
};

fn routes(auth: AuthContext) -> Router {
    Router::new()
        .route("/user", any(async |User(user): User| user.username))
        .route(
            "/optional",
            any(async |OptionalUser(user): OptionalUser| {
                user.map_or_else(|| "nobody".to_owned(), |user| user.username)
            }),
        )
        .route("/admin", any(async |_: Admin| "admin"))
        .route("/internal", any(async |_: Internal| "internal"))
        .with_state(auth)
}

async fn answer(request: Builder) -> (StatusCode, String) {
    answer_of(auth_context(), request).await
}

async fn answer_of(auth: AuthContext, request: Builder) -> (StatusCode, String) {
    let request = request.body(Body::empty()).unwrap();
    let response = call(&app(routes(auth)), request).await;
    let status = response.status();
    if status.is_success() {
        return (status, crate::setup::text(response).await);
    }
    (
        status,
        body(response).await["code"].as_str().unwrap().to_owned(),
    )
}

fn bearer(path: &str, token: &str) -> Builder {
    Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"))
}

fn cookie(method: Method, path: &str, token: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::COOKIE, format!("theme=dark; access_token={token}"))
}

fn ok(text: &str) -> (StatusCode, String) {
    (StatusCode::OK, text.to_owned())
}

fn unauthenticated() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, "unauthenticated".to_owned())
}

fn forbidden(code: &str) -> (StatusCode, String) {
    (StatusCode::FORBIDDEN, code.to_owned())
}

#[tokio::test]
async fn who_only_knows_tokens_believes_users_and_no_service() {
    let config = TokenConfig {
        jwt_secret_key: auth_config().jwt_secret_key,
    };
    let auth = || AuthContext::tokens_only(&config, &[]);
    let token = auth_context().issue(&claims());
    let answer = answer_of(auth(), bearer("/user", &token)).await;
    assert_eq!(answer, ok("ada"));
    let key = auth_config().internal_api_key;
    let internal = Request::get("/internal").header("x-internal-api-key", key.expose());
    assert_eq!(answer_of(auth(), internal).await, unauthenticated());
}

#[tokio::test]
async fn a_token_we_issued_is_believed_as_bearer_and_as_cookie() {
    let token = auth_context().issue(&claims());
    assert_eq!(answer(bearer("/user", &token)).await, ok("ada"));
    assert_eq!(
        answer(cookie(Method::GET, "/user", &token)).await,
        ok("ada")
    );
    assert_eq!(answer(bearer("/optional", &token)).await, ok("ada"));
}

#[tokio::test]
async fn nobody_is_401_and_optionally_nobody() {
    assert_eq!(answer(Request::get("/user")).await, unauthenticated());
    assert_eq!(answer(Request::get("/optional")).await, ok("nobody"));
    let basic = Request::get("/user").header(header::AUTHORIZATION, "Basic YTpi");
    assert_eq!(answer(basic).await, unauthenticated());
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let expired = AccessClaims {
        exp: claims().iat - 1,
        ..claims()
    };
    let token = auth_context().issue(&expired);
    assert_eq!(answer(bearer("/user", &token)).await, unauthenticated());
    assert_eq!(answer(bearer("/optional", &token)).await, unauthenticated());
    let by_cookie = cookie(Method::GET, "/optional", &token);
    assert_eq!(answer(by_cookie).await, ok("nobody"));
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    let other = AccessClaims {
        aud: "another-platform".to_owned(),
        ..claims()
    };
    let token = auth_context().issue(&other);
    assert_eq!(answer(bearer("/user", &token)).await, unauthenticated());
}

#[tokio::test]
async fn a_token_of_another_key_is_refused() {
    let mut config = auth_config();
    config.jwt_secret_key = secret('x');
    let token = AuthContext::new(&config, None).issue(&claims());
    assert_eq!(answer(bearer("/user", &token)).await, unauthenticated());
}

#[tokio::test]
async fn a_forged_header_is_refused() {
    let token = auth_context().issue(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let kid = header["kid"].as_str().unwrap();
    assert_eq!(header["alg"], "HS256");

    for (forged, signature) in [
        (json!({"alg": "none", "typ": "JWT", "kid": kid}), ""),
        (json!({"alg": "none", "typ": "JWT", "kid": kid}), parts[2]),
        (json!({"alg": "HS512", "typ": "JWT", "kid": kid}), parts[2]),
        (json!({"alg": "RS256", "typ": "JWT", "kid": kid}), parts[2]),
        (
            json!({"alg": "HS256", "typ": "JWT", "kid": "other"}),
            parts[2],
        ),
        (json!({"alg": "HS256", "typ": "JWT"}), parts[2]),
    ] {
        let forged = URL_SAFE_NO_PAD.encode(forged.to_string());
        let token = format!("{forged}.{}.{signature}", parts[1]);
        assert_eq!(
            answer(bearer("/user", &token)).await,
            unauthenticated(),
            "{forged}"
        );
    }
}

#[tokio::test]
async fn changed_claims_are_refused() {
    let token = auth_context().issue(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let admin = AccessClaims {
        role: Role::Admin,
        ..claims()
    };
    let changed = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&admin).unwrap());
    let token = format!("{}.{changed}.{}", parts[0], parts[2]);
    assert_eq!(answer(bearer("/admin", &token)).await, unauthenticated());
}

#[tokio::test]
async fn a_revoked_session_is_refused() {
    let claims = claims();
    let token = auth_context().issue(&claims);
    let mut redis = redis_client();
    let () = redis.set_ex(revoked_key(claims.sid), 1, 60).await.unwrap();
    assert_eq!(answer(bearer("/user", &token)).await, unauthenticated());
}

#[tokio::test]
async fn without_redis_a_token_is_good_until_it_expires() {
    let nowhere = RedisConfig {
        redis_host: "127.0.0.1".to_owned(),
        redis_port: 9,
    };
    let redis = RedisClient::new(&nowhere).unwrap();
    let auth = AuthContext::new(&auth_config(), Some(redis));
    let token = auth.issue(&claims());
    assert_eq!(answer_of(auth, bearer("/user", &token)).await, ok("ada"));
}

#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_by_one_of_fifty_requests() {
    // It accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redis = RedisClient::new(&RedisConfig {
        redis_host: "127.0.0.1".to_owned(),
        redis_port: silent.local_addr().unwrap().port(),
    })
    .unwrap();
    let auth = AuthContext::new(&auth_config(), Some(redis));
    let token = auth.issue(&claims());
    auth.verify(&token).await.unwrap();
    let began = Instant::now();
    // It is tried again after each second, by one.
    eventually("seconds are over", PATIENCE, async || {
        let calls = (0..50).map(|_| async {
            let began = Instant::now();
            auth.verify(&token).await.unwrap();
            began.elapsed()
        });
        let waits = join_all(calls).await;
        let waited = waits
            .iter()
            .filter(|wait| **wait > Duration::from_millis(500))
            .count();
        assert!(waited <= 1, "{waits:?}");
        (began.elapsed() > Duration::from_millis(2_500)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_write_by_cookie_needs_an_allowed_origin() {
    let token = auth_context().issue(&claims());
    let post = || cookie(Method::POST, "/user", &token);
    assert_eq!(answer(post()).await, forbidden("csrf_failed"));
    for origin in [
        "https://evil.example",
        "https://live.example.evil",
        "null",
        "*",
    ] {
        let request = post().header(header::ORIGIN, origin);
        assert_eq!(answer(request).await, forbidden("csrf_failed"), "{origin}");
    }
    let allowed = post().header(header::ORIGIN, "https://live.example");
    assert_eq!(answer(allowed).await, ok("ada"));

    // A bearer token is sent by a script that has it, not by a browser on its own.
    let by_bearer = bearer("/user", &token).method(Method::POST);
    assert_eq!(answer(by_bearer).await, ok("ada"));
    // The cookie does not stand in for a bearer token that is not valid.
    let both = post()
        .header(header::ORIGIN, "https://live.example")
        .header(header::AUTHORIZATION, "Bearer nonsense");
    assert_eq!(answer(both).await, unauthenticated());
}

#[tokio::test]
async fn an_optional_user_who_may_not_write_by_cookie_is_nobody() {
    let token = auth_context().issue(&claims());
    let request = cookie(Method::POST, "/optional", &token);
    assert_eq!(answer(request).await, ok("nobody"));
}

#[tokio::test]
async fn only_an_admin_is_one() {
    let token = auth_context().issue(&claims());
    assert_eq!(
        answer(bearer("/admin", &token)).await,
        forbidden("forbidden")
    );
    let admin = AccessClaims {
        role: Role::Admin,
        ..claims()
    };
    let token = auth_context().issue(&admin);
    assert_eq!(answer(bearer("/admin", &token)).await, ok("admin"));
}

#[tokio::test]
async fn services_know_each_other_by_the_internal_key() {
    assert_eq!(answer(Request::get("/internal")).await, unauthenticated());
    for (key, wanted) in [
        ("i".repeat(39), unauthenticated()),
        ("i".repeat(41), unauthenticated()),
        (String::new(), unauthenticated()),
        ("i".repeat(40), ok("internal")),
    ] {
        let request = Request::get("/internal").header("x-internal-api-key", key);
        assert_eq!(answer(request).await, wanted);
    }
    // A user's token is no service's.
    let token = auth_context().issue(&claims());
    assert_eq!(answer(bearer("/internal", &token)).await, unauthenticated());
}
