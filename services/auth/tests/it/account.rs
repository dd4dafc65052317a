//! DELETE /api/auth/me and PUT /api/auth/me/password

use reqwest::{
    Method, StatusCode,
    header::{COOKIE, ORIGIN as ORIGIN_HEADER},
};
use serde_json::json;

use crate::fixture::{self, Auth, PASSWORD, SignedIn, answer};

const ME: &str = "/api/auth/me";
const CHANGE: &str = "/api/auth/me/password";
const NEW_PASSWORD: &str = "another battery staple";

#[tokio::test]
async fn an_account_is_deleted_with_its_password_and_everything_of_it_is_over() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let elsewhere = SignedIn::from(auth.login("ann", PASSWORD).await);

    let wrong = json!({"password": "wrong password"});
    auth.write(Method::DELETE, ME, &ann, wrong)
        .await
        .is_problem(403, "wrong_password");
    let done = auth
        .write(Method::DELETE, ME, &ann, json!({"password": PASSWORD}))
        .await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert!(done.set_cookie("access_token").contains("Max-Age=0"));

    for token in [&ann.access_token, &elsewhere.access_token] {
        auth.get_as("/api/auth/me/subscription", token)
            .await
            .is_problem(401, "unauthenticated");
    }
    auth.refresh(&elsewhere.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    auth.login("ann", PASSWORD)
        .await
        .is_problem(401, "invalid_credentials");
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM users_public) + (SELECT count(*) FROM sessions)",
    )
    .fetch_one(&auth.pool().await)
    .await
    .unwrap();
    assert_eq!(left, 0);
    // The name is free again.
    auth.register("ann").await;
}

#[tokio::test]
async fn an_admin_does_not_close_their_own_account() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    let password = json!({"password": PASSWORD});
    auth.write(Method::DELETE, ME, &admin, password.clone())
        .await
        .is_problem(409, "own_account");
    // One who is no admin any more does.
    auth.sql("UPDATE users SET role = 'user'").await;
    let done = auth.write(Method::DELETE, ME, &admin, password).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn another_sites_page_cannot_delete_an_account() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let delete = |origin: &str| {
        auth.request(Method::DELETE, ME)
            .header(COOKIE, format!("access_token={}", ann.access_token))
            .header(ORIGIN_HEADER, origin)
            .json(&json!({"password": PASSWORD}))
    };
    answer(delete("https://evil.example"))
        .await
        .is_problem(403, "csrf_failed");
    assert_eq!(
        answer(delete(fixture::ORIGIN)).await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions_and_not_this_one() {
    let auth = Auth::start().await;
    let here = auth.register("ann").await;
    let there = SignedIn::from(auth.login("ann", PASSWORD).await);
    let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let done = auth.write(Method::PUT, CHANGE, &here, change.clone()).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT, "{}", done.body);

    let me = auth.get_as(ME, &here.access_token).await;
    assert_eq!(me.status, StatusCode::OK);
    assert_eq!(
        auth.refresh(&here.refresh_token).await.status,
        StatusCode::OK
    );
    auth.get_as(ME, &there.access_token)
        .await
        .is_problem(401, "unauthenticated");
    auth.refresh(&there.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    auth.login("ann", PASSWORD)
        .await
        .is_problem(401, "invalid_credentials");
    assert_eq!(auth.login("ann", NEW_PASSWORD).await.status, StatusCode::OK);
    // The old one no longer does.
    auth.write(Method::PUT, CHANGE, &here, change)
        .await
        .is_problem(403, "wrong_password");
}

#[tokio::test]
async fn a_new_password_must_be_one_that_could_be_registered() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    for bad in [
        "short".to_owned(),
        "x".repeat(73),
        "nul\0nul\0nul".to_owned(),
    ] {
        let change = json!({"current_password": PASSWORD, "new_password": bad});
        let problem = auth
            .write(Method::PUT, CHANGE, &ann, change)
            .await
            .is_problem(422, "validation_failed");
        assert_eq!(problem.errors[0].field, "new_password");
    }
    assert_eq!(auth.login("ann", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn of_two_new_passwords_at_once_one_counts() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let changes = (0..4).map(|n| {
        let new = format!("{NEW_PASSWORD} {n}");
        let change = json!({"current_password": PASSWORD, "new_password": new});
        auth.write(Method::PUT, CHANGE, &ann, change)
    });
    let answers = futures::future::join_all(changes).await;
    let won = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::NO_CONTENT)
        .count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn whoever_has_found_a_browser_cannot_guess_the_password_there() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    for _ in 0..5 {
        auth.write(
            Method::DELETE,
            ME,
            &ann,
            json!({"password": "wrong password"}),
        )
        .await
        .is_problem(403, "wrong_password");
    }
    let locked = auth
        .write(Method::DELETE, ME, &ann, json!({"password": PASSWORD}))
        .await;
    locked.is_problem(429, "locked");
    assert!(locked.headers.contains_key("retry-after"));
    let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    auth.write(Method::PUT, CHANGE, &ann, change)
        .await
        .is_problem(429, "locked");
}
