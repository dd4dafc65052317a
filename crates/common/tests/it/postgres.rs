//! The database at a service's start.

use marquee_common::postgres::{self, ConnectError, PostgresConfig};
use marquee_testkit::database;
use sqlx::{Executor, migrate::Migrator};

static MIGRATIONS: Migrator = sqlx::migrate!("tests/it/migrations");

fn config(url: &str) -> PostgresConfig {
    PostgresConfig {
        db_url: url.parse().unwrap(),
        db_max_connections: 2,
    }
}

#[tokio::test]
async fn two_instances_that_start_together_migrate_once() {
    let database = database("migrate").await;
    let config = config(&database.url);
    let (one, two) = tokio::join!(
        postgres::connect(&config, &MIGRATIONS),
        postgres::connect(&config, &MIGRATIONS)
    );
    for pool in [one.unwrap(), two.unwrap()] {
        let things: i64 = sqlx::query_scalar("SELECT count(*) FROM things")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(things, 1);
        postgres::ping(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_is_made_after_the_service_started_is_waited_for() {
    let database = database("late").await;
    let late = format!("{}_late", database.name);
    let url = database.url.replace(&database.name, &late);
    let config = config(&url);
    let starting = tokio::spawn(async move { postgres::connect(&config, &MIGRATIONS).await });

    let admin = sqlx::PgPool::connect(&database.url).await.unwrap();
    let create = format!("CREATE DATABASE \"{late}\"");
    admin.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    let pool = starting.await.unwrap().unwrap();
    postgres::ping(&pool).await.unwrap();

    pool.close().await;
    let drop = format!("DROP DATABASE \"{late}\" WITH (FORCE)");
    admin.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
}

#[tokio::test]
async fn a_migration_that_does_not_fit_what_ran_is_an_error_at_once() {
    let database = database("mismatch").await;
    let config = config(&database.url);
    let pool = postgres::connect(&config, &MIGRATIONS).await.unwrap();
    pool.execute("UPDATE _sqlx_migrations SET checksum = 'other' WHERE version = 1")
        .await
        .unwrap();
    let again = postgres::connect(&config, &MIGRATIONS).await;
    assert!(matches!(again, Err(ConnectError::Migrate(_))));
}

#[tokio::test]
async fn statements_idle_transactions_and_vanished_clients_have_deadlines() {
    let database = database("deadlines").await;
    let pool = postgres::connect(&config(&database.url), &MIGRATIONS)
        .await
        .unwrap();
    for (setting, wanted) in [
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "1min"),
        // The server lets go of a client whose host has vanished.
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "2"),
        ("tcp_user_timeout", "15000"),
    ] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(value, wanted, "{setting}");
    }
}
