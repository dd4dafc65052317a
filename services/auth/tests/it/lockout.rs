//! Wrong passwords, again and again.

use reqwest::StatusCode;

use crate::fixture::{Answer, Auth, PASSWORD};

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
    // Whatever one calls the account.
    for login in ["ANN", "ann@example.org"] {
        auth.login_from(STRANGER, login, PASSWORD)
            .await
            .is_problem(429, "locked");
    }
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
