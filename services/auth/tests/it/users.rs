//! /api/auth/users: what admins do to accounts.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{Auth, PASSWORD, SignedIn};

const USERS: &str = "/api/auth/users";

async fn names(auth: &Auth, admin: &SignedIn, query: &str) -> Vec<String> {
    let list = auth
        .get_as(&format!("{USERS}{query}"), &admin.access_token)
        .await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.body);
    let items = list.body["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["username"].as_str().unwrap().to_owned())
        .collect()
}

async fn patch(auth: &Auth, admin: &SignedIn, id: &str, body: Value) -> crate::fixture::Answer {
    auth.write(Method::PATCH, &format!("{USERS}/{id}"), admin, body)
        .await
}

#[tokio::test]
async fn accounts_are_listed_newest_first_searched_and_paged() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    for name in ["ann", "bob_1", "bobx1"] {
        auth.register(name).await;
    }
    assert_eq!(
        names(&auth, &admin, "").await,
        ["bobx1", "bob_1", "ann", "root"]
    );
    assert_eq!(names(&auth, &admin, "?q=BOB").await, ["bobx1", "bob_1"]);
    // An underscore is no wildcard.
    assert_eq!(names(&auth, &admin, "?q=b_1").await, ["bob_1"]);
    assert_eq!(names(&auth, &admin, "?q=ann%40example").await, ["ann"]);
    assert!(names(&auth, &admin, "?q=%25").await.is_empty());

    let path = format!("{USERS}?limit=3");
    let page = auth.get_as(&path, &admin.access_token).await.body;
    assert_eq!(page["items"][0]["disabled"], false);
    assert_eq!(page["items"][0]["subscription"]["active"], false);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = names(&auth, &admin, &format!("?limit=3&cursor={cursor}")).await;
    assert_eq!(rest, ["root"]);
    for bad in ["?cursor=x", "?limit=x", "?limit=-1", "?q=%00"] {
        auth.get_as(&format!("{USERS}{bad}"), &admin.access_token)
            .await
            .is_problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn only_admins_may() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    auth.get_as(USERS, &ann.access_token)
        .await
        .is_problem(403, "forbidden");
    patch(&auth, &ann, &ann.id, json!({"role": "admin"}))
        .await
        .is_problem(403, "forbidden");
    let path = format!("{USERS}/{}/subscription", ann.id);
    for method in [Method::PUT, Method::DELETE] {
        auth.write(method, &path, &ann, json!({"plan": "monthly"}))
            .await
            .is_problem(403, "forbidden");
    }
}

#[tokio::test]
async fn a_disabled_users_sessions_end_and_an_enabled_one_signs_in_again() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    let ann = auth.register("ann").await;
    let changed = patch(&auth, &admin, &ann.id, json!({"disabled": true})).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(changed.body["disabled"], true);
    // Refused by the session, as every other service does it.
    auth.get_as("/api/auth/me/subscription", &ann.access_token)
        .await
        .is_problem(401, "unauthenticated");
    auth.refresh(&ann.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    auth.login("ann", PASSWORD)
        .await
        .is_problem(401, "invalid_credentials");

    let changed = patch(&auth, &admin, &ann.id, json!({"disabled": false})).await;
    assert_eq!(changed.body["disabled"], false);
    assert_eq!(auth.login("ann", PASSWORD).await.status, StatusCode::OK);
    auth.refresh(&ann.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
}

#[tokio::test]
async fn a_lost_role_ends_the_sessions_that_claim_it() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    let ann = auth.register("ann").await;
    let promoted = patch(&auth, &admin, &ann.id, json!({"role": "admin"})).await;
    assert_eq!(promoted.body["role"], "admin");
    let ann = SignedIn::from(auth.refresh(&ann.refresh_token).await);
    assert_eq!(names(&auth, &ann, "").await.len(), 2);

    patch(&auth, &admin, &ann.id, json!({"role": "user"})).await;
    auth.get_as(USERS, &ann.access_token)
        .await
        .is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_admin_does_not_lock_themself_out() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    for change in [json!({"role": "user"}), json!({"disabled": true})] {
        patch(&auth, &admin, &admin.id, change)
            .await
            .is_problem(409, "own_account");
    }
    let nothing = patch(&auth, &admin, &admin.id, json!({})).await;
    assert_eq!(nothing.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_user_or_no_change_is_refused() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    let nobody = "0198aaaa-0000-7000-8000-000000000000";
    for id in [nobody, "nonsense"] {
        patch(&auth, &admin, id, json!({"disabled": true}))
            .await
            .is_problem(404, "not_found");
        let path = format!("{USERS}/{id}/subscription");
        auth.write(Method::PUT, &path, &admin, json!({"plan": "monthly"}))
            .await
            .is_problem(404, "not_found");
        auth.write(Method::DELETE, &path, &admin, json!({}))
            .await
            .is_problem(404, "not_found");
    }
    for change in [
        json!({"role": "god"}),
        json!({"disabled": "yes"}),
        json!("admin"),
    ] {
        patch(&auth, &admin, &admin.id, change)
            .await
            .is_problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn a_subscription_is_granted_replaced_and_revoked() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    let ann = auth.register("ann").await;
    let path = format!("{USERS}/{}/subscription", ann.id);
    let put = async |body: Value| auth.write(Method::PUT, &path, &admin, body).await;

    let granted = put(json!({"plan": " monthly ", "expires_at": "2999-01-01T00:00:00Z"})).await;
    let expected = json!({
        "user_id": ann.id, "active": true, "plan": "monthly", "expires_at": "2999-01-01T00:00:00Z",
    });
    assert_eq!(granted.body, expected);
    let replaced = put(json!({"plan": "friend"})).await;
    assert_eq!(replaced.body["plan"], "friend");
    assert!(replaced.body["expires_at"].is_null());
    for bad in [
        json!({"plan": ""}),
        json!({"plan": "a\u{0}b"}),
        json!({"plan": "x", "expires_at": "2001-01-01T00:00:00Z"}),
        json!({"plan": "x", "expires_at": "tomorrow"}),
        json!({}),
    ] {
        put(bad).await.is_problem(422, "validation_failed");
    }
    for _ in 0..2 {
        let revoked = auth.write(Method::DELETE, &path, &admin, json!({})).await;
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    }
    let own = auth
        .get_as("/api/auth/me/subscription", &ann.access_token)
        .await;
    assert_eq!(own.body["active"], false);
}
