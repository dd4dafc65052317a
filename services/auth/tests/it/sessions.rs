//! GET /api/auth/me/sessions and DELETE /api/auth/me/sessions/{id}

use reqwest::{Method, StatusCode, header::USER_AGENT};
use serde_json::{Value, json};

use crate::fixture::{Auth, PASSWORD, SignedIn, answer};

const SESSIONS: &str = "/api/auth/me/sessions";

async fn list(auth: &Auth, user: &SignedIn, query: &str) -> Value {
    let list = auth
        .get_as(&format!("{SESSIONS}{query}"), &user.access_token)
        .await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.body);
    list.body
}

async fn end(auth: &Auth, user: &SignedIn, id: &str) -> crate::fixture::Answer {
    let path = format!("{SESSIONS}/{id}");
    answer(
        auth.request(Method::DELETE, &path)
            .bearer_auth(&user.access_token),
    )
    .await
}

#[tokio::test]
async fn one_sees_where_one_is_signed_in_and_nobody_elses() {
    let auth = Auth::start().await;
    let first = auth.register("ann").await;
    auth.register("bob").await;
    let tv = auth
        .request(Method::POST, "/api/auth/login")
        .header(USER_AGENT, "tv/1.0")
        .header("x-forwarded-for", "203.0.113.9")
        .json(&json!({"login": "ann", "password": PASSWORD}));
    assert_eq!(answer(tv).await.status, StatusCode::OK);

    let page = list(&auth, &first, "").await;
    assert!(page["next_cursor"].is_null());
    let [newest, oldest] = page["items"].as_array().unwrap().as_slice() else {
        panic!("{page}");
    };
    assert_eq!(newest["user_agent"], "tv/1.0");
    assert_eq!(newest["address"], "203.0.113.9");
    assert_eq!(newest["current"], false);
    assert_eq!(oldest["current"], true);
    assert!(oldest["created_at"].is_string() && oldest["expires_at"].is_string());
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    for _ in 0..4 {
        auth.login("ann", PASSWORD).await;
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = list(&auth, &ann, &query).await;
        let items = page["items"].as_array().unwrap();
        assert!((1..=2).contains(&items.len()));
        seen.extend(items.iter().map(|item| item["id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let forged = auth
        .get_as(&format!("{SESSIONS}?cursor=forged"), &ann.access_token)
        .await;
    forged.is_problem(422, "validation_failed");
}

#[tokio::test]
async fn a_session_is_ended_from_another_one() {
    let auth = Auth::start().await;
    let here = auth.register("ann").await;
    let there = SignedIn::from(auth.login("ann", PASSWORD).await);
    let id = list(&auth, &here, "").await["items"][0]["id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(end(&auth, &here, id).await.status, StatusCode::NO_CONTENT);
    auth.get_as(SESSIONS, &there.access_token)
        .await
        .is_problem(401, "unauthenticated");
    auth.refresh(&there.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    // It is over already.
    end(&auth, &here, id).await.is_problem(404, "not_found");
    assert_eq!(
        list(&auth, &here, "").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn ending_the_session_that_asks_signs_the_browser_out() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let id = list(&auth, &ann, "").await["items"][0]["id"].clone();
    let done = end(&auth, &ann, id.as_str().unwrap()).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert!(done.set_cookie("refresh_token").contains("Max-Age=0"));
}

#[tokio::test]
async fn one_session_too_many_ends_the_one_that_was_not_used_for_longest() {
    let auth = Auth::start_with(&["--max-sessions-per-user=2"]).await;
    let bob = auth.register("bob").await;
    let first = auth.register("ann").await;
    let second = SignedIn::from(auth.login("ann", PASSWORD).await);
    let first = SignedIn::from(auth.refresh(&first.refresh_token).await);
    let third = SignedIn::from(auth.login("ann", PASSWORD).await);
    auth.refresh(&second.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    let soon = std::time::Duration::from_secs(15);
    marquee_testkit::eventually("its access token is refused", soon, async || {
        let answer = auth.get_as(SESSIONS, &second.access_token).await;
        (answer.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    for session in [first, third, bob] {
        let again = auth.refresh(&session.refresh_token).await;
        assert_eq!(again.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn nobody_ends_the_session_of_another() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let bob = auth.register("bob").await;
    let id = list(&auth, &ann, "").await["items"][0]["id"].clone();
    for id in [id.as_str().unwrap(), "nonsense", &bob.id] {
        end(&auth, &bob, id).await.is_problem(404, "not_found");
    }
    assert_eq!(
        auth.refresh(&ann.refresh_token).await.status,
        StatusCode::OK
    );
}
