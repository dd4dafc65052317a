//! POST /api/auth/logout

use reqwest::{
    Method, StatusCode,
    header::{COOKIE, ORIGIN as ORIGIN_HEADER},
};

use crate::fixture::{self, Auth, PASSWORD, SignedIn, answer};

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
