//! POST /api/auth/logout

use std::time::Duration;

use marquee_auth::store::Store;
use marquee_testkit::{eventually, infra};
use redis::AsyncCommands;
use reqwest::{
    Method, StatusCode,
    header::{COOKIE, ORIGIN as ORIGIN_HEADER},
};

use uuid::Uuid;

use crate::{
    fixture::{self, Auth, PASSWORD, SignedIn, answer, redis_address},
    relay::Relay,
};

const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn signing_out_ends_the_session_at_once_and_no_other() {
    let auth = Auth::start().await;
    let here = auth.register("ann").await;
    let there = SignedIn::from(auth.login("ann", PASSWORD).await);

    let logout = auth
        .request(Method::POST, "/api/auth/logout")
        .bearer_auth(&here.access_token);
    let done = answer(logout).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    for cookie in ["access_token", "refresh_token"] {
        assert!(done.set_cookie(cookie).contains("Max-Age=0"));
    }
    auth.get_as("/api/auth/me", &here.access_token)
        .await
        .is_problem(401, "unauthenticated");
    auth.refresh(&here.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    assert_eq!(
        auth.get_as("/api/auth/me", &there.access_token)
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        auth.refresh(&there.refresh_token).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn another_sites_page_cannot_sign_a_browser_out() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let logout = |origin: &str| {
        auth.request(Method::POST, "/api/auth/logout")
            .header(COOKIE, format!("access_token={}", ann.access_token))
            .header(ORIGIN_HEADER, origin)
    };
    answer(logout("https://evil.example"))
        .await
        .is_problem(403, "csrf_failed");
    assert_eq!(
        answer(logout(fixture::ORIGIN)).await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn one_must_be_signed_in_to_sign_out() {
    let auth = Auth::start().await;
    let logout = auth.request(Method::POST, "/api/auth/logout");
    answer(logout).await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn without_redis_one_signs_in_and_out_all_the_same() {
    let port = format!("--redis-port={}", marquee_testkit::free_port());
    let auth = Auth::start_with(&[&port]).await;
    let ann = auth.register("ann").await;
    let me = auth.get_as("/api/auth/me", &ann.access_token).await;
    assert_eq!(me.status, StatusCode::OK);
    let logout = auth
        .request(Method::POST, "/api/auth/logout")
        .bearer_auth(&ann.access_token);
    assert_eq!(answer(logout).await.status, StatusCode::NO_CONTENT);
    auth.refresh(&ann.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
}

async fn session_id(auth: &Auth) -> Uuid {
    let pool = auth.pool().await;
    let id = sqlx::query_scalar("SELECT id FROM sessions ORDER BY id LIMIT 1");
    id.fetch_one(&pool).await.unwrap()
}

async fn is_refused_soon(auth: &Auth, access_token: &str) {
    eventually("the access token is refused", SOON, async || {
        let me = auth.get_as("/api/auth/me", access_token).await;
        (me.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_sign_out_that_redis_did_not_hear_of_is_told_when_it_is_back() {
    let (host, port) = redis_address();
    let relay = Relay::to(&format!("{host}:{port}")).await;
    let port = format!("--redis-port={}", relay.address.port());
    let auth = Auth::start_with(&["--redis-host=127.0.0.1", &port]).await;
    let ann = auth.register("ann").await;
    relay.cut();
    let logout = auth
        .request(Method::POST, "/api/auth/logout")
        .bearer_auth(&ann.access_token);
    assert_eq!(answer(logout).await.status, StatusCode::NO_CONTENT);
    let me = auth.get_as("/api/auth/me", &ann.access_token).await;
    assert_eq!(me.status, StatusCode::OK, "nobody can know of it");
    relay.mend();
    is_refused_soon(&auth, &ann.access_token).await;
}

#[tokio::test]
async fn a_session_is_announced_though_the_request_that_ended_it_was_dropped() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    // As far as a request comes whose client hangs up: the session is over, and nothing after that.
    let store = Store::new(auth.pool().await);
    let id = session_id(&auth).await;
    store.mark_session_revoked(id.into()).await.unwrap();
    is_refused_soon(&auth, &ann.access_token).await;
    eventually("nothing is left to tell", SOON, async || {
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM revocations")
            .fetch_one(&auth.pool().await)
            .await
            .unwrap();
        (waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_is_remembered_as_over_for_longer_than_any_token_of_it_lives() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let id = session_id(&auth).await;
    let logout = auth
        .request(Method::POST, "/api/auth/logout")
        .bearer_auth(&ann.access_token);
    assert_eq!(answer(logout).await.status, StatusCode::NO_CONTENT);
    let client = redis::Client::open(infra().redis_url).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let ttl_s: i64 = redis.ttl(format!("auth:revoked:{id}")).await.unwrap();
    assert!((901..=960).contains(&ttl_s), "{ttl_s}");
}
