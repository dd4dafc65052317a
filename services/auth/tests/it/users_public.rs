//! What other databases may read of the accounts.

use sqlx::Connection;

use crate::fixture::Auth;

#[tokio::test]
async fn the_fdw_role_reads_names_and_nothing_else() {
    let pool = sqlx::PgPool::connect(&marquee_testkit::infra().postgres_url)
        .await
        .unwrap();
    // The cluster's bootstrap makes the role; where it has not, this test does. Tests run together.
    sqlx::raw_sql(
        "DO $$ BEGIN CREATE ROLE marquee_fdw NOLOGIN; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;

    let mut connection = sqlx::PgConnection::connect(&auth.database.url)
        .await
        .unwrap();
    sqlx::query("SET ROLE marquee_fdw")
        .execute(&mut connection)
        .await
        .unwrap();
    let rows: Vec<(uuid::Uuid, String)> = sqlx::query_as("SELECT id, username FROM users_public")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows, [(ann.id.parse().unwrap(), "ann".to_owned())]);
    auth.write(
        reqwest::Method::DELETE,
        "/api/auth/me",
        &ann,
        serde_json::json!({"password": crate::fixture::PASSWORD}),
    )
    .await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM users_public")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0, "a deleted user is gone from it");
    for forbidden in [
        "SELECT email FROM users",
        "SELECT * FROM refresh_tokens",
        "UPDATE users_public SET username = 'x'",
        "DELETE FROM users_public",
    ] {
        let refused = sqlx::query(forbidden).execute(&mut connection).await;
        let error = refused.unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().code().as_deref(),
            Some("42501"),
            "{forbidden}"
        );
    }
}
