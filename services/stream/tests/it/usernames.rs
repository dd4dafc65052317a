//! Usernames from `auth_db` through the real `postgres_fdw`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::join_all;
use marquee_common::{config::LogConfig, telemetry};
use marquee_stream::app::App;
use marquee_testkit::eventually;
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::world::World;

/// Rows the foreign scans of a plan returned, over all of their loops.
fn foreign_rows(plan: &Value) -> Option<f64> {
    let own = (plan["Node Type"] == "Foreign Scan")
        .then(|| plan["Actual Rows"].as_f64().unwrap() * plan["Actual Loops"].as_f64().unwrap());
    let children = plan["Plans"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(foreign_rows);
    own.into_iter().chain(children).reduce(|a, b| a + b)
}

#[tokio::test]
async fn a_page_fetches_at_most_its_own_users_from_auth_db() {
    let world = World::start().await;
    sqlx::raw_sql(
        "INSERT INTO users SELECT gen_random_uuid(), 'user' || n FROM generate_series(1, 20000) n",
    )
    .execute(&world.auth_db)
    .await
    .unwrap();
    sqlx::raw_sql("ANALYZE users")
        .execute(&world.auth_db)
        .await
        .unwrap();
    let users: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT id FROM users LIMIT 400")
        .fetch_all(&world.auth_db)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO streams (id, user_id, stream_key, title, expires_at) \
         SELECT gen_random_uuid(), u, \
                translate(encode(sha256(u::text::bytea), 'base64'), '+/=', '-_'), 'stream', \
                now() + interval '1 day' \
         FROM unnest($1::uuid[]) u",
    )
    .bind(users)
    .execute(&world.db)
    .await
    .unwrap();
    sqlx::raw_sql("ANALYZE streams")
        .execute(&world.db)
        .await
        .unwrap();

    let plan = world.state.store.explain_public_list(50).await.unwrap();
    let rows = foreign_rows(&plan[0]["Plan"]).expect("a foreign scan");
    assert!(
        (1.0..=50.0).contains(&rows),
        "{rows} rows from auth_db for a page of 50: {plan:#}"
    );
    let page = world
        .get("/api/streams/public?limit=50", None)
        .await
        .expect(200);
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 50);
    assert!(items.iter().all(|item| item["username"].is_string()));
}

#[tokio::test]
async fn without_auth_db_lists_go_on_with_null_for_a_name_and_names_come_back() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    assert_eq!(world.show(stream.id).await["username"], "ada");

    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&world.auth_db)
        .await
        .unwrap();
    admit_to(&world, &name, false).await;
    assert!(world.show(stream.id).await["username"].is_null());
    let list = world.get("/api/streams/public", None).await.expect(200);
    assert_eq!(list["items"][0]["id"], stream.id.to_string());
    world.get("/api/streams", Some(&ada)).await.expect(200);

    admit_to(&world, &name, true).await;
    eventually("names are back", Duration::from_secs(15), async || {
        (world.show(stream.id).await["username"] == "ada").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_auth_db_that_hangs_leaves_connections_to_those_who_publish() {
    // It accepts and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut world = World::configured(&[], |config| {
        "127.0.0.1".clone_into(&mut config.auth_fdw.auth_fdw_host);
        config.auth_fdw.auth_fdw_port = port;
        config.postgres.db_max_connections = 3;
    })
    .await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, "http://t1.invalid:8086").await;
    // An instance that does not know yet that auth_db hangs.
    let fresh = world.another_instance().await;
    world.url.clone_from(&fresh.url);
    let done = AtomicBool::new(false);
    let shown = async {
        for shown in join_all((0..50).map(|_| world.show(stream.id))).await {
            assert!(shown["username"].is_null());
        }
        done.store(true, Ordering::SeqCst);
    };
    // Who cannot have a connection for 3 s is answered 503.
    let renewed = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while !done.load(Ordering::SeqCst) {
            ticks.tick().await;
            world
                .renew("http://t1.invalid:8086", &[(&held, 1, 0)])
                .await;
        }
    };
    tokio::join!(shown, renewed);
}

#[tokio::test]
async fn one_refused_statement_does_not_take_the_names_from_the_next_list() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    for (rename, name) in [
        ("ALTER VIEW users_public RENAME TO elsewhere", Value::Null),
        (
            "ALTER VIEW elsewhere RENAME TO users_public",
            Value::from("ada"),
        ),
    ] {
        sqlx::raw_sql(rename).execute(&world.auth_db).await.unwrap();
        assert_eq!(world.show(stream.id).await["username"], name);
    }
}

/// Opens or closes `auth_db` to the foreign server, whose sessions end.
async fn admit_to(world: &World, name: &str, admitted: bool) {
    let sql = format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS {admitted}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&world.db)
        .await
        .unwrap();
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
        .bind(name)
        .execute(&world.db)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_second_instance_changes_nothing_and_a_new_address_is_taken_over() {
    let world = World::start().await;
    let server =
        "SELECT oid::int8 FROM pg_foreign_server WHERE srvname = 'auth_db' AND $1 IS NOT NULL";
    let any = uuid::Uuid::nil();
    let before: i64 = world.scalar(server, any).await;
    let build = async |config| {
        let app = App::build(config, telemetry::init("stream", &LogConfig::default())).await;
        app.unwrap().state().lifecycle.shutdown();
    };
    build(world.config.clone()).await;
    assert_eq!(world.scalar::<i64>(server, any).await, before);

    let mut moved = world.config.clone();
    moved.auth_fdw.auth_fdw_user = "somebody_else".to_owned();
    build(moved).await;
    let user: String = world
        .scalar(
            "SELECT array_to_string(umoptions, ',') FROM pg_user_mappings \
             WHERE srvname = 'auth_db' AND $1 IS NOT NULL",
            any,
        )
        .await;
    assert!(user.contains("user=somebody_else"), "{user}");
}

#[tokio::test]
async fn without_a_configured_auth_db_names_are_null() {
    let world = World::configured(&[], |config| config.auth_fdw.auth_fdw_password = None).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    assert!(world.show(stream.id).await["username"].is_null());
}
