//! GET and PATCH /api/auth/me

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, COOKIE, ORIGIN as ORIGIN_HEADER},
};
use serde_json::{Value, json};

use crate::fixture::{self, Answer, Auth, JWT_SECRET_KEY, answer};

async fn patch(auth: &Auth, token: &str, body: Value) -> Answer {
    let request = auth
        .request(Method::PATCH, "/api/auth/me")
        .bearer_auth(token);
    answer(request.json(&body)).await
}

#[tokio::test]
async fn a_user_sees_their_account_by_bearer_or_cookie() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let by_bearer = auth.get_as("/api/auth/me", &ann.access_token).await;
    let cookie = format!("access_token={}", ann.access_token);
    let by_cookie = answer(
        auth.request(Method::GET, "/api/auth/me")
            .header(COOKIE, cookie),
    )
    .await;
    assert_eq!(by_bearer.status, StatusCode::OK);
    assert_eq!(by_bearer.body["id"], ann.id.as_str());
    assert_eq!(by_cookie.body, by_bearer.body);
}

#[tokio::test]
async fn a_profile_field_left_out_stays_and_null_empties_it() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let patch = async |body: Value| {
        let answer = patch(&auth, &ann.access_token, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        (
            answer.body["display_name"].clone(),
            answer.body["bio"].clone(),
        )
    };
    let full = patch(json!({"display_name": " Ann Ünal 🎬 ", "bio": "two\nlines"})).await;
    assert_eq!(full, (json!("Ann Ünal 🎬"), json!("two\nlines")));
    assert_eq!(
        patch(json!({"bio": null})).await,
        (json!("Ann Ünal 🎬"), Value::Null)
    );
    assert_eq!(patch(json!({})).await, (json!("Ann Ünal 🎬"), Value::Null));
}

#[tokio::test]
async fn what_does_not_fit_a_profile_is_named() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let body = json!({"display_name": "a\u{0}b", "bio": "x".repeat(501)});
    let problem = patch(&auth, &ann.access_token, body)
        .await
        .is_problem(422, "validation_failed");
    let fields: Vec<_> = problem
        .errors
        .iter()
        .map(|error| error.field.as_str())
        .collect();
    assert_eq!(fields, ["display_name", "bio"]);
    patch(&auth, &ann.access_token, json!({"bio": 1}))
        .await
        .is_problem(422, "validation_failed");
}

#[tokio::test]
async fn nobody_changes_their_role_name_or_address_by_patching() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let body = json!({"role": "admin", "username": "root", "email": "x@y.z", "id": "0"});
    let answer = patch(&auth, &ann.access_token, body).await;
    assert_eq!(answer.body["role"], "user");
    assert_eq!(answer.body["username"], "ann");
    assert_eq!(answer.body["email"], "ann@example.org");
}

#[tokio::test]
async fn a_write_by_cookie_must_come_from_a_page_of_ours() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let patch = |origin: &str| {
        auth.request(Method::PATCH, "/api/auth/me")
            .header(COOKIE, format!("access_token={}", ann.access_token))
            .header(ORIGIN_HEADER, origin)
            .json(&json!({"bio": "hello"}))
    };
    answer(patch("https://evil.example"))
        .await
        .is_problem(403, "csrf_failed");
    assert_eq!(answer(patch(fixture::ORIGIN)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_that_is_expired_forged_or_of_another_audience_is_refused() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let kid = jsonwebtoken::decode_header(&ann.access_token).unwrap().kid;
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let claims = json!({
        "sub": ann.id, "username": "ann", "role": "admin", "sid": ann.id, "aud": "marquee",
        "iat": now, "exp": now + 60, "jti": "1",
    });
    let sign = |key: &str, change: &dyn Fn(&mut Value)| {
        let mut claims = claims.clone();
        change(&mut claims);
        let mut header = Header::new(Algorithm::HS256);
        header.kid.clone_from(&kid);
        encode(&header, &claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
    };
    let good = sign(JWT_SECRET_KEY, &|_| ());
    assert_eq!(
        auth.get_as("/api/auth/me", &good).await.status,
        StatusCode::OK
    );

    let payload = good.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
    for token in [
        sign("another key that is long enough for HS256", &|_| ()),
        sign(JWT_SECRET_KEY, &|claims| claims["exp"] = json!(now - 1)),
        sign(JWT_SECRET_KEY, &|claims| claims["aud"] = json!("other")),
        unsigned,
        "nonsense".to_owned(),
        String::new(),
    ] {
        auth.get_as("/api/auth/me", &token)
            .await
            .is_problem(401, "unauthenticated");
    }
    let basic = auth
        .request(Method::GET, "/api/auth/me")
        .header(AUTHORIZATION, "Basic YTpi");
    answer(basic).await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_account_of_a_deleted_user_is_gone() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    auth.sql("DELETE FROM users").await;
    auth.get_as("/api/auth/me", &ann.access_token)
        .await
        .is_problem(401, "unauthenticated");
    patch(&auth, &ann.access_token, json!({}))
        .await
        .is_problem(401, "unauthenticated");
    auth.refresh(&ann.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
}
