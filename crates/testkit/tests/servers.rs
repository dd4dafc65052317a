//! The servers that every other test stands on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use marquee_testkit::{database, infra};
use sqlx::{Connection, PgConnection, Row};

#[tokio::test]
async fn each_database_is_empty_its_own_and_gone_when_it_is_dropped() {
    let one = database("kept").await;
    let two = database("kept").await;
    assert_ne!(one.name, two.name);

    let mut connection = PgConnection::connect(&one.url).await.unwrap();
    sqlx::query("CREATE TABLE t (id int)")
        .execute(&mut connection)
        .await
        .unwrap();
    let name = one.name.clone();
    // The open connection does not keep it alive.
    drop(one);

    let mut admin = PgConnection::connect(&infra().postgres_url).await.unwrap();
    let admin = &mut admin;
    let start = Instant::now();
    loop {
        let left: i64 = sqlx::query("SELECT count(*) FROM pg_database WHERE datname = $1")
            .bind(&name)
            .fetch_one(&mut *admin)
            .await
            .unwrap()
            .get(0);
        if left == 0 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{name} is there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn postgres_asks_for_a_password_on_loopback_too() {
    let url = infra().postgres_url;
    let (start, rest) = url.split_once("//postgres:").unwrap();
    let (_, server) = rest.split_once('@').unwrap();
    let refused = PgConnection::connect(&format!("{start}//postgres:wrong@{server}")).await;
    assert!(refused.is_err());
}
