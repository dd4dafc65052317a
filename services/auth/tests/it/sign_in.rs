//! POST /api/auth/login

use std::time::{Duration, Instant};

use marquee_testkit::eventually;
use reqwest::StatusCode;
use serde_json::json;

use crate::fixture::{Answer, Auth, PASSWORD, SignedIn};

#[tokio::test]
async fn one_signs_in_by_username_or_address_in_any_case() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    for login in ["ann", "ANN", " ann ", "ann@example.org", "Ann@Example.org"] {
        let answer = auth.login(login, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::OK, "{login}");
        assert_eq!(answer.body["user"]["id"], ann.id.as_str());
        assert!(answer.set_cookie("access_token").contains("HttpOnly"));
    }
}

#[tokio::test]
async fn a_letter_that_only_lower_takes_for_ascii_is_another() {
    let auth = Auth::start().await;
    auth.register("kim").await;
    // The Kelvin sign, and a capital I with a dot.
    for login in ["\u{212a}im", "k\u{130}m"] {
        auth.login(login, PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn the_login_may_be_called_username_or_email() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    for body in [
        json!({"username": "ann", "password": PASSWORD}),
        json!({"email": "ann@example.org", "password": PASSWORD}),
    ] {
        assert_eq!(
            auth.post("/api/auth/login", body).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn every_sign_in_is_a_session_of_its_own() {
    let auth = Auth::start().await;
    let first = auth.register("ann").await;
    let second = auth.login("ann", PASSWORD).await;
    assert_ne!(second.body["refresh_token"], first.refresh_token.as_str());
    let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
        .fetch_one(&auth.pool().await)
        .await
        .unwrap();
    assert_eq!(sessions, 2);
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    let wrong = auth.login("ann", "wrong password").await;
    let unknown = auth.login("nobody", "wrong password").await;
    let too_long = auth.login("ann", &"x".repeat(100)).await;
    let strange = auth.login("ann\0", PASSWORD).await;

    let told = wrong.is_problem(401, "invalid_credentials");
    for answer in [unknown, too_long, strange] {
        let problem = answer.is_problem(401, "invalid_credentials");
        assert_eq!(
            (problem.title, problem.detail),
            (told.title.clone(), told.detail.clone())
        );
        assert!(!answer.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    // Dear enough that bcrypt outweighs everything else by far: without it an answer would take a
    // hundredth of the time, so the bounds can be wide enough for a busy machine.
    let auth = Auth::start_with(&["--bcrypt-cost=9"]).await;
    auth.register("ann").await;
    let time = async |login: &str| {
        let start = Instant::now();
        let answer = auth.login(login, "wrong password").await;
        answer.is_problem(401, "invalid_credentials");
        start.elapsed()
    };
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        known = known.min(time("ann").await);
        unknown = unknown.min(time("nobody").await);
    }
    let ratio = unknown.as_secs_f64() / known.as_secs_f64();
    assert!(
        (0.25..4.0).contains(&ratio),
        "{unknown:?} against {known:?}"
    );
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_one_whose_hash_is_of_another_cost() {
    for (before, now) in [(4, 9), (9, 4)] {
        let auth = Auth::start_with(&[&format!("--bcrypt-cost={before}")]).await;
        auth.register("ann").await;
        let url = auth.database.url.clone();
        let cost = format!("--bcrypt-cost={now}");
        let auth = Auth::start_on(auth.end(), &url, &[&cost]).await;
        let time = async |login: &str| {
            let start = Instant::now();
            let answer = auth.login(login, "wrong password").await;
            answer.is_problem(401, "invalid_credentials");
            start.elapsed()
        };
        let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            known = known.min(time("ann").await);
            unknown = unknown.min(time("nobody").await);
        }
        let ratio = unknown.as_secs_f64() / known.as_secs_f64();
        assert!(
            (0.25..4.0).contains(&ratio),
            "{before} to {now}: {unknown:?} against {known:?}"
        );
    }
}

#[tokio::test]
async fn whoever_signs_in_gets_a_hash_of_todays_cost() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    let url = auth.database.url.clone();
    let auth = Auth::start_on(auth.end(), &url, &["--bcrypt-cost=5"]).await;
    // All at once: each of them knows the password.
    let sign_ins = (0..4).map(|_| auth.login("ann", PASSWORD));
    for answer in futures::future::join_all(sign_ins).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let hash: String = sqlx::query_scalar("SELECT password_hash FROM users")
        .fetch_one(&auth.pool().await)
        .await
        .unwrap();
    assert!(hash.starts_with("$2b$05$"), "{hash}");
    assert_eq!(auth.login("ann", PASSWORD).await.status, StatusCode::OK);
    auth.login("ann", "wrong password")
        .await
        .is_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_disabled_account_is_as_good_as_none() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    auth.sql("UPDATE users SET disabled_at = now()").await;
    auth.login("ann", PASSWORD)
        .await
        .is_problem(401, "invalid_credentials");
    auth.refresh(&ann.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    auth.get_as("/api/auth/me", &ann.access_token)
        .await
        .is_problem(401, "unauthenticated");
}

/// Signs in while `change` to the account is under way: the sign-in reads the account as it was, and
/// then has to wait for the change's end.
async fn sign_in_during(auth: &Auth, change: &'static str) -> Answer {
    let pool = auth.pool().await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query(change).execute(&mut *tx).await.unwrap();
    let committed = async {
        eventually("the sign-in waits", Duration::from_secs(10), async || {
            let waits: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock')",
            )
            .fetch_one(&pool)
            .await
            .unwrap();
            waits.then_some(())
        })
        .await;
        tx.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(auth.login("ann", PASSWORD), committed);
    answer
}

#[tokio::test]
async fn a_password_or_account_that_goes_while_it_is_compared_opens_no_session() {
    for change in [
        // Of no password that anybody knows.
        "UPDATE users SET password_hash = \
         '$2b$04$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui'",
        "UPDATE users SET disabled_at = now()",
    ] {
        let auth = Auth::start().await;
        auth.register("ann").await;
        let answer = sign_in_during(&auth, change).await;
        answer.is_problem(401, "invalid_credentials");
        let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
            .fetch_one(&auth.pool().await)
            .await
            .unwrap();
        assert_eq!(sessions, 1, "only the registration's");
    }
}

#[tokio::test]
async fn a_role_that_is_lost_while_the_password_is_compared_is_in_no_token() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    auth.sql("UPDATE users SET role = 'admin'").await;
    let answer = sign_in_during(&auth, "UPDATE users SET role = 'user'").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["user"]["role"], "user");
    let ann = SignedIn::from(answer);
    auth.get_as("/api/auth/users", &ann.access_token)
        .await
        .is_problem(403, "forbidden");
}

#[tokio::test]
async fn missing_fields_are_named() {
    let auth = Auth::start().await;
    let no_password = auth.post("/api/auth/login", json!({"login": "ann"})).await;
    no_password.is_problem(422, "validation_failed");
    let no_login = auth
        .post("/api/auth/login", json!({"password": PASSWORD}))
        .await;
    no_login.is_problem(422, "validation_failed");
}
