//! Redis: shared soft state that everything must live without.
//!
//! The client connects when first used and again after a loss; every command ends within a
//! second, so that a Redis that is away or hangs slows nobody down for longer.

use std::time::Duration;

use clap::Args;
use futures::FutureExt;
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError,
    RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};

/// Deadline of a connection attempt and of a command.
const DEADLINE: Duration = Duration::from_secs(1);

/// Where Redis is.
#[derive(Clone, Debug, Args)]
pub struct RedisConfig {
    /// Host of Redis.
    #[arg(long, env = "REDIS_HOST", default_value = "localhost")]
    pub redis_host: String,
    /// Port of Redis.
    #[arg(long, env = "REDIS_PORT", default_value_t = 6379)]
    pub redis_port: u16,
}

impl RedisConfig {
    /// For clients that need a connection of their own (pub/sub, client-side caching).
    pub fn connection_info(&self) -> RedisResult<ConnectionInfo> {
        ConnectionAddr::Tcp(self.redis_host.clone(), self.redis_port).into_connection_info()
    }
}

/// A connection that heals; a cheap clone. Commands go through [`redis::AsyncCommands`] or
/// [`redis::cmd`] on a clone.
#[derive(Clone)]
pub struct RedisClient {
    manager: ConnectionManager,
}

impl RedisClient {
    /// Neither connects nor waits.
    pub fn new(config: &RedisConfig) -> RedisResult<Self> {
        let client = Client::open(config.connection_info()?)?;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE))
            // Commands that come while it reconnects wait for that; they shall fail fast and let
            // the next one try again.
            .set_number_of_retries(0);
        let manager = ConnectionManager::new_lazy_with_config(client, settings)?;
        Ok(Self { manager })
    }

    /// Whether Redis answers, for a readiness check.
    pub async fn ping(&self) -> RedisResult<()> {
        redis::cmd("PING").exec_async(&mut self.clone()).await
    }
}

impl ConnectionLike for RedisClient {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        within_deadline(self.manager.req_packed_command(cmd)).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        within_deadline(self.manager.req_packed_commands(pipeline, offset, count)).boxed()
    }

    fn get_db(&self) -> i64 {
        self.manager.get_db()
    }
}

/// Connecting and answering together: the manager's own deadlines cover each alone.
async fn within_deadline<T>(work: RedisFuture<'_, T>) -> RedisResult<T> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(result) => result,
        Err(_) => Err(RedisError::from(std::io::Error::from(
            std::io::ErrorKind::TimedOut,
        ))),
    }
}
