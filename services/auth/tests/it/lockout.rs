//! Wrong passwords, again and again.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::fixture::{Answer, Auth, PASSWORD, SignedIn, answer};

const OWNER: &str = "203.0.113.1";
const STRANGER: &str = "198.51.100.7";

fn retry_after_s(answer: &Answer) -> u64 {
    answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn fail(auth: &Auth, address: &str, login: &str, times: usize) {
    for _ in 0..times {
        auth.login_from(address, login, "wrong password")
            .await
            .is_problem(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn after_five_wrong_passwords_even_the_right_one_has_to_wait() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    fail(&auth, STRANGER, "ann", 5).await;
    let locked = auth.login_from(STRANGER, "ann", PASSWORD).await;
    locked.is_problem(429, "locked");
    assert!((1..=30).contains(&retry_after_s(&locked)));
    auth.login_from(STRANGER, "ANN", PASSWORD)
        .await
        .is_problem(429, "locked");
    // Nobody else's is touched.
    auth.register("bob").await;
    let bob = auth.login_from(STRANGER, "bob", PASSWORD).await;
    assert_eq!(bob.status, StatusCode::OK);
}

#[tokio::test]
async fn the_wait_ends_by_itself_and_doubles_with_the_next_failure() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    fail(&auth, STRANGER, "ann", 5).await;
    auth.sql("UPDATE failed_sign_ins SET last_at = last_at - interval '30 s'")
        .await;
    fail(&auth, STRANGER, "ann", 1).await;
    let locked = auth.login_from(STRANGER, "ann", PASSWORD).await;
    locked.is_problem(429, "locked");
    assert!((31..=60).contains(&retry_after_s(&locked)));
    auth.sql("UPDATE failed_sign_ins SET last_at = last_at - interval '60 s'")
        .await;
    let right = auth.login_from(STRANGER, "ann", PASSWORD).await;
    assert_eq!(right.status, StatusCode::OK);
    // And all is forgiven.
    fail(&auth, STRANGER, "ann", 4).await;
    let right = auth.login_from(STRANGER, "ann", PASSWORD).await;
    assert_eq!(right.status, StatusCode::OK);
}

#[tokio::test]
async fn a_stranger_does_not_lock_the_owner_out() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    fail(&auth, STRANGER, "ann", 5).await;
    let owner = auth.login_from(OWNER, "ann", PASSWORD).await;
    assert_eq!(owner.status, StatusCode::OK);
}

#[tokio::test]
async fn many_strangers_are_held_together_and_the_owners_own_network_is_not() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    let first = auth.login_from(OWNER, "ann", PASSWORD).await;
    assert_eq!(first.status, StatusCode::OK);
    for n in 0..50 {
        fail(&auth, &format!("198.51.100.{n}"), "ann", 1).await;
    }
    auth.login_from("192.0.2.200", "ann", PASSWORD)
        .await
        .is_problem(429, "locked");
    let owner = auth.login_from(OWNER, "ann", PASSWORD).await;
    assert_eq!(owner.status, StatusCode::OK);
}

/// Strangers guess at an account until the next stranger has to wait.
async fn besiege(auth: &Auth, login: &str) {
    for n in 0..50 {
        fail(auth, &format!("198.51.100.{n}"), login, 1).await;
    }
    auth.login_from("192.0.2.200", login, PASSWORD)
        .await
        .is_problem(429, "locked");
}

#[tokio::test]
async fn an_address_and_a_name_do_not_show_that_they_are_one_account() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    fail(&auth, STRANGER, "ann", 5).await;
    auth.login_from(STRANGER, "ann", "wrong password")
        .await
        .is_problem(429, "locked");
    // As it would be of somebody else.
    fail(&auth, STRANGER, "ann@example.org", 5).await;
    auth.login_from(STRANGER, "ann@example.org", "wrong password")
        .await
        .is_problem(429, "locked");
    // All strangers' guesses are at one account nevertheless.
    for n in 0..20 {
        fail(&auth, &format!("198.51.100.1{n}"), "ann", 1).await;
        fail(&auth, &format!("198.51.100.1{n}"), "ann@example.org", 1).await;
    }
    auth.login_from("192.0.2.200", "ann", PASSWORD)
        .await
        .is_problem(429, "locked");
}

async fn login_with_device(auth: &Auth, address: &str, cookie: &str, password: &str) -> Answer {
    let request = auth
        .request(Method::POST, "/api/auth/login")
        .header("x-forwarded-for", address)
        .header("cookie", cookie)
        .json(&json!({"login": "ann", "password": password}));
    answer(request).await
}

#[tokio::test]
async fn a_browser_that_has_signed_in_before_gets_in_from_anywhere_while_strangers_guess() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    auth.register("eve").await;
    let cookie = |answer: &Answer| {
        let line = answer.set_cookie("device");
        assert!(line.contains("HttpOnly") && line.contains("Path=/api/auth"));
        line.split(';').next().unwrap().to_owned()
    };
    let anns = cookie(&auth.login_from(OWNER, "ann", PASSWORD).await);
    let eves = cookie(&auth.login_from(OWNER, "eve", PASSWORD).await);
    besiege(&auth, "ann").await;

    let elsewhere = login_with_device(&auth, "192.0.2.201", &anns, PASSWORD).await;
    assert_eq!(elsewhere.status, StatusCode::OK);
    assert!(
        elsewhere
            .headers
            .get_all("set-cookie")
            .iter()
            .all(|line| !line.to_str().unwrap().starts_with("device=")),
        "it is known already"
    );
    for cookie in [eves.as_str(), "device=made-up"] {
        login_with_device(&auth, "192.0.2.202", cookie, PASSWORD)
            .await
            .is_problem(429, "locked");
    }
    // Whoever has taken the browser guesses no further than anybody, wherever they take it.
    for n in 0..5 {
        let address = format!("192.0.2.{n}");
        login_with_device(&auth, &address, &anns, "wrong password")
            .await
            .is_problem(401, "invalid_credentials");
    }
    login_with_device(&auth, "192.0.2.6", &anns, PASSWORD)
        .await
        .is_problem(429, "locked");
}

#[tokio::test]
async fn a_new_password_makes_strangers_of_the_devices_that_knew_the_old_one() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let signed_in = auth.login_from(OWNER, "ann", PASSWORD).await;
    let line = signed_in.set_cookie("device");
    let cookie = line.split(';').next().unwrap();
    let new = "another battery staple";
    let change = json!({"current_password": PASSWORD, "new_password": new});
    let done = auth
        .write(Method::PUT, "/api/auth/me/password", &ann, change)
        .await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    besiege(&auth, "ann").await;
    login_with_device(&auth, "192.0.2.201", cookie, new)
        .await
        .is_problem(429, "locked");
}

#[tokio::test]
async fn a_network_that_a_session_has_moved_to_is_no_stranger() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    let signed_in = SignedIn::from(auth.login_from(OWNER, "ann", PASSWORD).await);
    let moved = auth
        .request(Method::POST, "/api/auth/refresh")
        .header("x-forwarded-for", "192.0.2.77")
        .json(&json!({"refresh_token": signed_in.refresh_token}));
    assert_eq!(answer(moved).await.status, StatusCode::OK);
    besiege(&auth, "ann").await;
    for address in ["192.0.2.77", OWNER] {
        let owner = auth.login_from(address, "ann", PASSWORD).await;
        assert_eq!(owner.status, StatusCode::OK, "{address}");
    }
}

#[tokio::test]
async fn who_is_signed_in_changes_the_password_from_anywhere_while_strangers_guess() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    besiege(&auth, "ann").await;
    let change = |address: &'static str, password: &str| {
        let request = auth
            .request(Method::PUT, "/api/auth/me/password")
            .header("x-forwarded-for", address)
            .bearer_auth(&ann.access_token)
            .json(&json!({
                "current_password": password, "new_password": "another battery staple",
            }));
        answer(request)
    };
    // A thief of the session guesses no further by moving about.
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        change(address, "wrong password")
            .await
            .is_problem(403, "wrong_password");
    }
    let done = change("192.0.2.5", PASSWORD).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT, "{}", done.body);
    for _ in 0..5 {
        change("192.0.2.6", "wrong password")
            .await
            .is_problem(403, "wrong_password");
    }
    change("192.0.2.7", PASSWORD)
        .await
        .is_problem(429, "locked");
}

#[tokio::test]
async fn an_ipv6_customer_gains_nothing_by_changing_addresses() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    for n in 1..=5 {
        fail(&auth, &format!("2001:db8:1:2::{n}"), "ann", 1).await;
    }
    auth.login_from("2001:db8:1:2:ffff::9", "ann", PASSWORD)
        .await
        .is_problem(429, "locked");
    let next_door = auth.login_from("2001:db8:1:3::1", "ann", PASSWORD).await;
    assert_eq!(next_door.status, StatusCode::OK);
}

#[tokio::test]
async fn a_name_that_nobody_has_locks_just_so() {
    let auth = Auth::start().await;
    fail(&auth, STRANGER, "nobody", 5).await;
    let locked = auth.login_from(STRANGER, "NOBODY", "wrong password").await;
    locked.is_problem(429, "locked");
    assert!((1..=30).contains(&retry_after_s(&locked)));
    let typed: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM failed_sign_ins f WHERE strpos(f::text, 'nobody') > 0",
    )
    .fetch_one(&auth.pool().await)
    .await
    .unwrap();
    assert_eq!(typed, 0, "what was typed is not kept");
}

#[tokio::test]
async fn guesses_side_by_side_get_no_further_than_one_by_one() {
    let auth = Auth::start_with(&["--bcrypt-parallelism=1", "--bcrypt-queue=100"]).await;
    auth.register("ann").await;
    let guesses = (0..40).map(|_| auth.login_from(STRANGER, "ann", "wrong password"));
    let answers = futures::future::join_all(guesses).await;
    let compared = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::UNAUTHORIZED)
        .count();
    // A turn is given back as its comparison ends, and the next may look just before it is counted.
    assert!((5..=6).contains(&compared), "{compared} were compared");
}

#[tokio::test]
async fn who_may_not_speak_for_others_is_taken_for_itself() {
    let auth = Auth::start_with(&["--trusted-proxies=10.0.0.0/8"]).await;
    auth.register("ann").await;
    for n in 0..5 {
        fail(&auth, &format!("198.51.100.{n}"), "ann", 1).await;
    }
    auth.login_from("192.0.2.1", "ann", PASSWORD)
        .await
        .is_problem(429, "locked");
}
