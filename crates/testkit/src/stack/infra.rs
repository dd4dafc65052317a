//! `stack infra`: only PostgreSQL, Redis, Kafka and the S3 server, for the tests.

use super::{StackDir, down};
use crate::{
    error::Result,
    infra::Infra,
    progress::Progress,
    servers::{ServerOptions, kafka, object_store, postgres, redis},
    state_file::{remove_dir, remove_file},
};

/// Starts what does not run yet and writes `stack.json`.
pub async fn up(dir: &StackDir, progress: &Progress) -> Result<Infra> {
    let _turn = dir.turn().await?;
    dir.end_strays()?;
    let options = ServerOptions {
        documented_ports: false,
        durable: false,
    };
    let infra = start_servers(dir, options, progress).await?;
    dir.write(&dir.stack_file(), &infra)?;
    progress.done(&format!(
        "servers for tests are up: {}",
        dir.stack_file().display()
    ));
    Ok(infra)
}

/// Stops the servers and removes their data: the next start is a clean one.
pub async fn down(dir: &StackDir, progress: &Progress) -> Result<()> {
    down::stop_all(dir, progress).await?;
    remove_dir(&dir.root().join("data"))?;
    remove_file(&dir.stack_file())
}

/// Starts the four servers at the same time.
pub(super) async fn start_servers(
    dir: &StackDir,
    options: ServerOptions,
    progress: &Progress,
) -> Result<Infra> {
    let postgres = async {
        let url = postgres::start(dir, options).await?;
        progress.done("postgres");
        Result::Ok(url)
    };
    let redis = async {
        let port = redis::start(dir, options).await?;
        progress.done("redis");
        Result::Ok(port)
    };
    let kafka = async {
        let port = kafka::start(dir, options, progress).await?;
        progress.done("kafka");
        Result::Ok(port)
    };
    let s3 = object_store::start(dir, options, progress);
    let (postgres_url, redis, kafka, s3) = tokio::try_join!(postgres, redis, kafka, s3)?;
    Ok(Infra {
        postgres_url,
        redis_url: format!("redis://127.0.0.1:{redis}"),
        kafka: format!("127.0.0.1:{kafka}"),
        s3,
    })
}
