//! What the proxy is told by its environment; `proxy --help` lists it.

mod routes;

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use clap::{Args, Parser};
use ipnet::IpNet;
use marquee_common::{
    config::{HttpConfig, LogConfig, Secret},
    forwarding::parse_network,
    redis::RedisConfig,
};

pub use routes::{RoutesCommand, RoutesConfig};

use crate::{access_log::Format, forward::Deadlines};

/// `/stream/{stream_id}` to the `host:port` that Redis holds under `streams:{stream_id}`.
///
/// `proxy routes --help` tells of the commands that list, set, delete and check routes, `proxy
/// health` asks the running proxy whether it is healthy. `REQUEST_TIMEOUT_S` and
/// `BODY_LIMIT_BYTES` are about /api/proxy alone.
#[derive(Clone, Debug, Parser)]
#[command(name = "proxy", version)]
pub struct Config {
    /// Port of the HTTP interface
    #[arg(long, env = "PORT", default_value_t = 8088)]
    pub port: u16,
    /// The HTTP interface.
    #[command(flatten)]
    pub http: HttpConfig,
    /// Logs.
    #[command(flatten)]
    pub log: LogConfig,
    /// Where the routes are.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// Clients in front, upstreams behind.
    #[command(flatten)]
    pub traffic: TrafficConfig,
    /// Key that signs access tokens (HS256), the same in every service; without it nobody is an
    /// admin, and /api/proxy/routes answers 503
    #[arg(long, env = "JWT_SECRET_KEY", hide_env_values = true)]
    pub jwt_secret_key: Option<Secret>,
    /// Origins whose pages may change routes with cookies
    #[arg(
        long,
        env = "CORS_ALLOWED_ORIGINS",
        value_delimiter = ',',
        default_value = "http://localhost"
    )]
    pub cors_allowed_origins: Vec<String>,
}

/// Clients in front, upstreams behind.
#[derive(Clone, Debug, Args)]
pub struct TrafficConfig {
    /// Threads that pass requests on; one a core when unset
    #[arg(long, env = "WORKERS")]
    pub workers: Option<NonZeroUsize>,
    /// Open connections of clients; further ones are closed at once
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 50_000)]
    pub max_connections: usize,
    /// Networks of the proxies in front whose forwarded headers are believed (`10.0.0.0/8,::1/128`)
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Until a connection to an upstream stands, in milliseconds
    #[arg(long, env = "CONNECT_TIMEOUT_MS", default_value_t = 2_000)]
    pub connect_timeout_ms: u64,
    /// Until an upstream's answer begins, in seconds; low-latency playlists are held back. Shorter
    /// than the gateway's, so that this is the answer that is given
    #[arg(long, env = "MEDIA_TIMEOUT_S", default_value_t = 55)]
    pub media_timeout_s: u64,
    /// Longest silence of an upstream or a client in the middle of a body, in seconds
    #[arg(long, env = "SILENCE_TIMEOUT_S", default_value_t = 60)]
    pub silence_timeout_s: u64,
    /// Shape of the access log's lines for streams
    #[arg(long, env = "ACCESS_LOG_FORMAT", value_enum, default_value_t)]
    pub access_log_format: Format,
}

impl TrafficConfig {
    /// Threads that pass requests on.
    pub fn workers(&self) -> NonZeroUsize {
        let cores = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores)
    }

    /// How long each phase of a request may take.
    pub fn deadlines(&self) -> Deadlines {
        Deadlines {
            connect: Duration::from_millis(self.connect_timeout_ms),
            answer: Duration::from_secs(self.media_timeout_s),
            silence: Duration::from_secs(self.silence_timeout_s),
        }
    }
}
