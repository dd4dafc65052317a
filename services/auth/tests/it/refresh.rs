//! POST /api/auth/refresh

use marquee_auth::store::Store;
use reqwest::{
    Method, StatusCode,
    header::{COOKIE, ORIGIN as ORIGIN_HEADER},
};
use serde_json::json;

use crate::fixture::{self, Auth, PASSWORD, SignedIn, answer};

#[tokio::test]
async fn a_refresh_token_is_exchanged_for_a_new_pair_of_the_same_session() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let answer = auth.refresh(&ann.refresh_token).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["user"]["username"], "ann");
    assert_eq!(answer.body["expires_in"], 900);
    assert!(
        answer
            .set_cookie("refresh_token")
            .contains("Path=/api/auth")
    );

    let again = SignedIn::from(answer);
    assert_ne!(again.refresh_token, ann.refresh_token);
    assert_ne!(again.access_token, ann.access_token);
    let me = auth.get_as("/api/auth/me", &again.access_token).await;
    assert_eq!(me.status, StatusCode::OK);
    let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
        .fetch_one(&auth.pool().await)
        .await
        .unwrap();
    assert_eq!(sessions, 1);
}

#[tokio::test]
async fn a_token_repeated_within_the_grace_gets_another_pair() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let first = SignedIn::from(auth.refresh(&ann.refresh_token).await);
    let second = SignedIn::from(auth.refresh(&ann.refresh_token).await);
    assert_ne!(first.refresh_token, second.refresh_token);
    // Both are good: which of the two answers reached the client is unknown.
    assert_eq!(
        auth.refresh(&first.refresh_token).await.status,
        StatusCode::OK
    );
    assert_eq!(
        auth.refresh(&second.refresh_token).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_token_repeated_later_ends_the_session() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let thief = SignedIn::from(auth.refresh(&ann.refresh_token).await);
    let elsewhere = SignedIn::from(auth.login("ann", PASSWORD).await);
    auth.sql("UPDATE refresh_tokens SET used_at = used_at - interval '11 s'")
        .await;

    auth.refresh(&ann.refresh_token)
        .await
        .is_problem(401, "refresh_token_reused");
    auth.refresh(&thief.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    auth.get_as("/api/auth/me", &thief.access_token)
        .await
        .is_problem(401, "unauthenticated");
    // The user's other sessions are their own.
    assert_eq!(
        auth.refresh(&elsewhere.refresh_token).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn many_refreshes_with_one_token_at_once_all_succeed_and_the_session_lives() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let refreshes = (0..10).map(|_| auth.refresh(&ann.refresh_token));
    for answer in futures::future::join_all(refreshes).await {
        let pair = SignedIn::from(answer);
        assert_eq!(
            auth.refresh(&pair.refresh_token).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn a_token_is_not_repeated_without_end_and_the_newest_goes_on() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let mut newest = None;
    for _ in 0..20 {
        newest = Some(SignedIn::from(auth.refresh(&ann.refresh_token).await));
    }
    let browser = auth
        .request(Method::POST, "/api/auth/refresh")
        .header(COOKIE, format!("refresh_token={}", ann.refresh_token))
        .header(ORIGIN_HEADER, fixture::ORIGIN);
    let refused = answer(browser).await;
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.headers["retry-after"], "1");
    // The browser has a newer cookie by then, or gets one: it is not signed out.
    assert!(!refused.headers.contains_key("set-cookie"));
    let newest = newest.unwrap();
    assert_eq!(
        auth.refresh(&newest.refresh_token).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_session_is_refreshed_only_so_often_an_hour() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    auth.sql("UPDATE sessions SET refreshes = 299").await;
    let ann = SignedIn::from(auth.refresh(&ann.refresh_token).await);
    let refused = auth.refresh(&ann.refresh_token).await;
    refused.is_problem(429, "rate_limited");
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    auth.sql("UPDATE sessions SET refreshes_since = refreshes_since - interval '1 h'")
        .await;
    let ann = SignedIn::from(auth.refresh(&ann.refresh_token).await);
    assert_eq!(
        auth.refresh(&ann.refresh_token).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_expired_unknown_or_odd_token_is_worth_nothing() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    for token in ["", "nonsense", &ann.access_token, &"x".repeat(5000), "\0"] {
        auth.refresh(token)
            .await
            .is_problem(401, "refresh_token_invalid");
    }
    let nothing = auth.post("/api/auth/refresh", json!({})).await;
    nothing.is_problem(401, "refresh_token_invalid");
    auth.sql("UPDATE refresh_tokens SET expires_at = now()")
        .await;
    auth.refresh(&ann.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
}

#[tokio::test]
async fn what_has_expired_is_deleted_and_nothing_else() {
    let auth = Auth::start().await;
    let kept = auth.register("ann").await;
    let kept = SignedIn::from(auth.refresh(&kept.refresh_token).await);
    auth.sql("UPDATE refresh_tokens SET expires_at = now() WHERE used_at IS NOT NULL")
        .await;
    auth.register("bob").await;
    auth.sql(
        "UPDATE sessions SET expires_at = now() FROM users \
         WHERE users.id = user_id AND username = 'bob'",
    )
    .await;
    let pool = auth.pool().await;
    assert_eq!(
        Store::new(pool.clone())
            .delete_expired_sessions()
            .await
            .unwrap(),
        2
    );
    let rows: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM refresh_tokens)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(rows, (1, 1), "a session goes with its tokens");
    assert_eq!(
        auth.refresh(&kept.refresh_token).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    auth.get_as("/api/auth/me", &ann.refresh_token)
        .await
        .is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_browser_refreshes_by_cookie_from_a_page_of_ours_only() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let refresh = |origin: Option<&str>| {
        let request = auth.request(Method::POST, "/api/auth/refresh").header(
            COOKIE,
            format!("theme=dark; refresh_token={}", ann.refresh_token),
        );
        match origin {
            Some(origin) => request.header(ORIGIN_HEADER, origin),
            None => request,
        }
    };
    answer(refresh(None)).await.is_problem(403, "csrf_failed");
    answer(refresh(Some("https://evil.example")))
        .await
        .is_problem(403, "csrf_failed");
    answer(refresh(Some("null")))
        .await
        .is_problem(403, "csrf_failed");
    assert_eq!(
        answer(refresh(Some(fixture::ORIGIN))).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_browser_whose_cookie_is_dead_is_signed_out() {
    let auth = Auth::start().await;
    let request = auth
        .request(Method::POST, "/api/auth/refresh")
        .header(COOKIE, "refresh_token=dead")
        .header(ORIGIN_HEADER, fixture::ORIGIN);
    let refused = answer(request).await;
    refused.is_problem(401, "refresh_token_invalid");
    assert!(refused.set_cookie("refresh_token").contains("Max-Age=0"));
    assert!(refused.set_cookie("access_token").contains("Max-Age=0"));
}

#[tokio::test]
async fn a_new_role_shows_in_the_next_access_token() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    auth.sql("UPDATE users SET role = 'admin'").await;
    let refreshed = auth.refresh(&ann.refresh_token).await;
    assert_eq!(refreshed.body["user"]["role"], "admin");
}
