//! GET /api/auth/me/subscription and GET /internal/users/{id}/subscription

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{Answer, Auth, INTERNAL_API_KEY, SignedIn, answer};

async fn internal(auth: &Auth, id: &str, key: Option<&str>) -> Answer {
    let path = format!("/internal/users/{id}/subscription");
    let request = auth.request(Method::GET, &path);
    answer(match key {
        Some(key) => request.header("X-Internal-API-Key", key),
        None => request,
    })
    .await
}

async fn both(auth: &Auth, user: &SignedIn) -> (Value, Value) {
    let own = auth
        .get_as("/api/auth/me/subscription", &user.access_token)
        .await;
    assert_eq!(own.status, StatusCode::OK);
    let internal = internal(auth, &user.id, Some(INTERNAL_API_KEY)).await;
    assert_eq!(internal.status, StatusCode::OK);
    (own.body, internal.body)
}

#[tokio::test]
async fn a_user_who_never_subscribed_has_none() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let (own, internal) = both(&auth, &ann).await;
    assert_eq!(
        own,
        json!({"active": false, "plan": null, "expires_at": null})
    );
    let expected = json!({"user_id": ann.id, "active": false, "plan": null, "expires_at": null});
    assert_eq!(internal, expected);
}

#[tokio::test]
async fn a_subscription_is_active_until_it_expires() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    auth.sql(
        "INSERT INTO subscriptions (user_id, plan, expires_at) \
         SELECT id, 'monthly', '2999-01-01T00:00:00Z' FROM users",
    )
    .await;
    let (own, internal) = both(&auth, &ann).await;
    let expected = json!({"active": true, "plan": "monthly", "expires_at": "2999-01-01T00:00:00Z"});
    assert_eq!(own, expected);
    assert_eq!(internal["active"], true);

    auth.sql("UPDATE subscriptions SET expires_at = now()")
        .await;
    let (own, internal) = both(&auth, &ann).await;
    assert_eq!(
        (&own["active"], &own["plan"]),
        (&json!(false), &json!("monthly"))
    );
    assert_eq!(internal["active"], false);

    auth.sql("UPDATE subscriptions SET expires_at = NULL").await;
    assert_eq!(both(&auth, &ann).await.0["active"], true);
}

#[tokio::test]
async fn only_services_ask_about_others() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    internal(&auth, &ann.id, None)
        .await
        .is_problem(401, "unauthenticated");
    internal(&auth, &ann.id, Some("guess"))
        .await
        .is_problem(401, "unauthenticated");
    let path = format!("/internal/users/{}/subscription", ann.id);
    auth.get_as(&path, &ann.access_token)
        .await
        .is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn of_an_unknown_user_there_is_nothing_to_tell() {
    let auth = Auth::start().await;
    for id in ["0198aaaa-0000-7000-8000-000000000000", "nonsense"] {
        internal(&auth, id, Some(INTERNAL_API_KEY))
            .await
            .is_problem(404, "not_found");
    }
}
