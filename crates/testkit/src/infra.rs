//! Where the running servers are, for tests, and a database of its own for each of them.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};

/// The servers that `stack infra up` started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Infra {
    /// PostgreSQL as superuser: `postgres://postgres:…@127.0.0.1:PORT/postgres`.
    pub postgres_url: String,
    /// `redis://127.0.0.1:PORT`
    pub redis_url: String,
    /// Kafka's bootstrap servers, `127.0.0.1:PORT`.
    pub kafka: String,
    /// The object store.
    pub s3: S3,
}

/// An S3 server and its root account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct S3 {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    /// The root account's id.
    pub access_key: String,
    /// The root account's secret.
    pub secret_key: String,
}

/// Reads where the servers are from `.local/test/stack.json`, or from the file that `MARQUEE_STACK`
/// names (a whole stack's file will do too).
///
/// # Panics
/// When the file is not there: `make infra` starts the servers.
pub fn infra() -> Infra {
    let file = stack_file();
    let bytes = std::fs::read(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. The tests need real servers: run `make infra` first.",
            file.display()
        )
    });
    serde_json::from_slice(&bytes)
        .unwrap_or_else(|error| panic!("{} is not a stack file: {error}", file.display()))
}

/// The file that [`infra`] reads.
pub fn stack_file() -> PathBuf {
    std::env::var_os("MARQUEE_STACK").map_or_else(
        || workspace_root().join(".local/test/stack.json"),
        PathBuf::from,
    )
}

/// The root of this checkout.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// An empty database, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its URL, as superuser.
    pub url: String,
    /// Its name.
    pub name: String,
    admin_url: String,
}

/// Makes an empty database with a name of its own that contains `name`.
///
/// # Panics
/// When PostgreSQL is not there (`make infra`).
pub async fn database(name: &str) -> TestDatabase {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let admin_url = infra().postgres_url;
    let name = format!(
        "t_{name}_{}_{}_{:08x}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
        rand::random::<u32>()
    );
    execute(&admin_url, &format!("CREATE DATABASE \"{name}\""))
        .await
        .unwrap_or_else(|error| panic!("creating {name}: {error} (is `make infra` running?)"));
    let server = admin_url
        .rsplit_once('/')
        .map_or(admin_url.as_str(), |(server, _)| server);
    TestDatabase {
        url: format!("{server}/{name}"),
        name,
        admin_url,
    }
}

impl Drop for TestDatabase {
    /// Best effort: `stack infra down` removes what is left.
    fn drop(&mut self) {
        let (url, name) = (self.admin_url.clone(), self.name.clone());
        let (done, dropped) = std::sync::mpsc::channel();
        // A thread, because the caller's runtime may be shutting down and cannot be waited on here.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                let sql = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
                let _ = runtime.block_on(execute(&url, &sql));
            }
            let _ = done.send(());
        });
        // Not to its end: the caller's runtime stands still meanwhile, and PostgreSQL drops no
        // database while a client of any other is half-way through its log-in.
        let _ = dropped.recv_timeout(Duration::from_millis(300));
    }
}

async fn execute(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await?;
    connection.close().await
}
