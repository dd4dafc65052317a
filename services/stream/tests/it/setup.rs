//! What the service is given: databases as the superuser's bootstrap leaves them, and arguments.

use marquee_testkit::{TestDatabase, infra};
use sqlx::{AssertSqlSafe, PgPool};

pub const INTERNAL_API_KEY: &str = "an internal key that is long enough for tests";
const JWT_SECRET_KEY: &str = "a signing key that is long enough for tests";
const SERVICE_ROLE: &str = "marquee_test_stream";
const READER_ROLE: &str = "marquee_test_reader";
const ROLE_PASSWORD: &str = "roles-of-tests";

/// Arguments of the service for these databases.
pub fn arguments(streams: &TestDatabase, auth: &TestDatabase, extra: &[&str]) -> Vec<String> {
    let infra = infra();
    let redis = infra.redis_url.trim_start_matches("redis://").to_owned();
    let (redis_host, redis_port) = redis.split_once(':').unwrap();
    let server = server_of(&infra.postgres_url);
    let (pg_host, pg_port) = server.split_once(':').unwrap();
    let pairs = [
        ("--port", "0"),
        ("--bind-addr", "127.0.0.1"),
        ("--jwt-secret-key", JWT_SECRET_KEY),
        ("--internal-api-key", INTERNAL_API_KEY),
        ("--public-base-url", "http://tv.example"),
        ("--public-rtmp-url", "rtmp://tv.example:1935"),
        ("--public-srt-url", "srt://tv.example:8890"),
        (
            "--db-url",
            &format!(
                "postgres://{SERVICE_ROLE}:{ROLE_PASSWORD}@{server}/{}",
                streams.name
            ),
        ),
        ("--redis-host", redis_host),
        ("--redis-port", redis_port),
        ("--kafka-bootstrap-servers", &infra.kafka),
        // Of its own, lest one test take another's events.
        ("--consumer-group", &streams.name),
        ("--auth-fdw-host", pg_host),
        ("--auth-fdw-port", pg_port),
        ("--auth-fdw-db", &auth.name),
        ("--auth-fdw-user", READER_ROLE),
        ("--auth-fdw-password", ROLE_PASSWORD),
    ];
    let mut arguments = vec!["stream".to_owned()];
    for (name, value) in pairs {
        arguments.extend([name.to_owned(), value.to_owned()]);
    }
    arguments.extend(extra.iter().map(ToString::to_string));
    arguments
}

/// `host:port` of a database URL.
fn server_of(url: &str) -> &str {
    let after_credentials = url.rsplit_once('@').unwrap().1;
    after_credentials.split_once('/').unwrap().0
}

/// The superuser's part, as the platform's bootstrap does it: roles without more rights than the
/// services have, the extension, the view.
pub async fn bootstrap(db: &PgPool, name: &str, auth_db: &PgPool) {
    let roles = format!(
        "DO $$ BEGIN CREATE ROLE {SERVICE_ROLE} LOGIN PASSWORD '{ROLE_PASSWORD}'; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$; \
         DO $$ BEGIN CREATE ROLE {READER_ROLE} LOGIN PASSWORD '{ROLE_PASSWORD}'; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$; \
         CREATE EXTENSION postgres_fdw; \
         GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {SERVICE_ROLE}; \
         ALTER DATABASE \"{name}\" OWNER TO {SERVICE_ROLE}"
    );
    sqlx::raw_sql(AssertSqlSafe(roles))
        .execute(db)
        .await
        .unwrap();
    let users = format!(
        "CREATE TABLE users (id uuid PRIMARY KEY, username text NOT NULL UNIQUE); \
         CREATE VIEW users_public AS SELECT id, username FROM users; \
         GRANT SELECT ON users_public TO {READER_ROLE}"
    );
    sqlx::raw_sql(AssertSqlSafe(users))
        .execute(auth_db)
        .await
        .unwrap();
}
