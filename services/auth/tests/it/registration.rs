//! POST /api/auth/register

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use marquee_common::contract::{AccessClaims, Role};
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use crate::fixture::{Auth, JWT_SECRET_KEY, PASSWORD, answer, registration};

#[tokio::test]
async fn registering_makes_an_account_and_signs_in_to_it() {
    let auth = Auth::start().await;
    let answer = auth.post("/api/auth/register", registration("Ann")).await;

    assert_eq!(answer.status, StatusCode::CREATED);
    let user = &answer.body["user"];
    assert_eq!(user["username"], "Ann");
    assert_eq!(user["email"], "Ann@example.org");
    assert_eq!(user["role"], "user");
    assert!(user["display_name"].is_null() && user["bio"].is_null());
    assert!(user["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        user.as_object().unwrap().len(),
        7,
        "nothing else is told: {user}"
    );
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 900);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let me = auth.get_as(
        "/api/auth/me",
        answer.body["access_token"].as_str().unwrap(),
    );
    assert_eq!(me.await.body, *user);
}

#[tokio::test]
async fn the_access_token_is_what_the_contract_says() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;

    let header = decode_header(&ann.access_token).unwrap();
    assert_eq!(header.alg, Algorithm::HS256);
    assert!(header.kid.is_some());
    let key = DecodingKey::from_secret(JWT_SECRET_KEY.as_bytes());
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["marquee"]);
    let claims = decode::<AccessClaims>(&ann.access_token, &key, &validation);
    let claims = claims.unwrap().claims;
    assert_eq!(claims.sub.to_string(), ann.id);
    assert_eq!(claims.username, "ann");
    assert_eq!(claims.role, Role::User);
    assert_eq!(claims.exp - claims.iat, 15 * 60);
}

#[tokio::test]
async fn both_tokens_come_as_cookies_too() {
    let auth = Auth::start_with(&["--public-base-url=https://video.example"]).await;
    let answer = auth.post("/api/auth/register", registration("ann")).await;

    let token = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    assert_eq!(
        answer.set_cookie("access_token"),
        format!(
            "access_token={}; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure",
            token("access_token")
        ),
    );
    assert_eq!(
        answer.set_cookie("refresh_token"),
        format!(
            "refresh_token={}; Path=/api/auth; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure",
            token("refresh_token"),
        ),
    );
}

#[tokio::test]
async fn cookies_work_over_plain_http_where_the_platform_is_reached_so() {
    let auth = Auth::start_with(&["--public-base-url=http://localhost:8000"]).await;
    let answer = auth.post("/api/auth/register", registration("ann")).await;
    assert!(!answer.set_cookie("access_token").contains("Secure"));

    let auth = Auth::start_with(&["--cookie-secure=true"]).await;
    let answer = auth.post("/api/auth/register", registration("ann")).await;
    assert!(answer.set_cookie("access_token").contains("; Secure"));
}

#[tokio::test]
async fn a_name_and_an_address_belong_to_one_account_in_any_case() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    let register = |username: &str, email: &str| {
        let body = json!({"username": username, "email": email, "password": PASSWORD});
        async { auth.post("/api/auth/register", body).await }
    };

    register("ANN", "other@example.org")
        .await
        .is_problem(409, "username_taken");
    register("bob", "Ann@Example.ORG")
        .await
        .is_problem(409, "email_taken");
    assert_eq!(
        register("bob", "bob@example.org").await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn of_many_registrations_of_one_name_at_once_exactly_one_wins() {
    let auth = Auth::start().await;
    let attempts = (0..12).map(|n| {
        let body = json!({
            "username": if n % 2 == 0 { "ann" } else { "ANN" },
            "email": format!("ann{n}@example.org"),
            "password": PASSWORD,
        });
        auth.post("/api/auth/register", body)
    });
    let answers = futures::future::join_all(attempts).await;

    let (won, lost): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!(won.len(), 1);
    for answer in lost {
        answer.is_problem(409, "username_taken");
    }
}

#[tokio::test]
async fn every_field_at_fault_is_named() {
    let auth = Auth::start().await;
    let body = json!({"username": "a b", "email": "nowhere", "password": "short"});
    let problem = auth
        .post("/api/auth/register", body)
        .await
        .is_problem(422, "validation_failed");
    let fields: Vec<_> = problem
        .errors
        .iter()
        .map(|error| error.field.as_str())
        .collect();
    assert_eq!(fields, ["username", "email", "password"]);
    assert!(problem.errors.iter().all(|error| !error.message.is_empty()));
}

#[tokio::test]
async fn a_password_longer_than_bcrypt_reads_is_refused() {
    let auth = Auth::start().await;
    let register = |username: &str, password: String| {
        let email = format!("{username}@example.org");
        let body = json!({"username": username, "email": email, "password": password});
        async { auth.post("/api/auth/register", body).await }
    };

    let refused = register("ann", "é".repeat(37)).await;
    let problem = refused.is_problem(422, "validation_failed");
    assert_eq!(problem.errors[0].field, "password");
    assert_eq!(
        register("ann", "é".repeat(36)).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        auth.login("ann", &"é".repeat(36)).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn bad_bodies_are_problems() {
    let auth = Auth::start().await;
    let post = |body: &'static str| {
        auth.request(Method::POST, "/api/auth/register")
            .header(CONTENT_TYPE, "application/json")
            .body(body)
    };
    answer(post("{\"username\":"))
        .await
        .is_problem(400, "bad_json");
    answer(post("")).await.is_problem(400, "bad_json");
    answer(post("[]"))
        .await
        .is_problem(422, "validation_failed");
    answer(post("{}"))
        .await
        .is_problem(422, "validation_failed");
    let wrong_type = r#"{"username": 1, "email": "a@b.c", "password": "correct horse"}"#;
    answer(post(wrong_type))
        .await
        .is_problem(422, "validation_failed");
    let nul = r#"{"username": "a\u0000nn", "email": "a@b.c", "password": "correct horse"}"#;
    answer(post(nul)).await.is_problem(422, "validation_failed");

    let plain = auth.request(Method::POST, "/api/auth/register").body("{}");
    answer(plain)
        .await
        .is_problem(415, "unsupported_media_type");
    let large = auth
        .request(Method::POST, "/api/auth/register")
        .header(CONTENT_TYPE, "application/json")
        .body(vec![b' '; 2 << 20]);
    answer(large).await.is_problem(413, "body_too_large");
}

#[tokio::test]
async fn neither_password_nor_refresh_token_is_stored_as_it_is() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let pool = auth.pool().await;
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT u::text FROM users u UNION ALL SELECT s::text FROM sessions s \
         UNION ALL SELECT t::text FROM refresh_tokens t",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(
            !row.contains(PASSWORD) && !row.contains(&ann.refresh_token),
            "{row}"
        );
    }
}
