//! The service's variables.

use std::{fmt, str::FromStr, time::Duration};

use clap::{Args, Parser};
use marquee_common::{
    config::{AuthConfig, HttpConfig, LogConfig, PublicUrls},
    kafka::KafkaConfig,
    postgres::PostgresConfig,
    redis::RedisConfig,
};

use crate::store::{AuthDatabase, Rules};

/// Streams, their keys, who may publish, and what is live.
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
pub struct Config {
    /// Port of the HTTP server.
    #[arg(long, env = "PORT", default_value_t = 8082)]
    pub port: u16,
    /// How it listens.
    #[command(flatten)]
    pub http: HttpConfig,
    /// What it logs.
    #[command(flatten)]
    pub log: LogConfig,
    /// Whom it believes.
    #[command(flatten)]
    pub auth: AuthConfig,
    /// What the URLs in answers are made of.
    #[command(flatten)]
    pub urls: PublicUrls,
    /// `streams_db`.
    #[command(flatten)]
    pub postgres: PostgresConfig,
    /// Viewer counts and revoked sessions.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// Where `live.started` and `live.ended` go, and `user.deleted` and `user.disabled` come from.
    #[command(flatten)]
    pub kafka: KafkaConfig,
    /// Kafka consumer group that all instances share.
    #[arg(long, env = "KAFKA_CONSUMER_GROUP", default_value = "stream")]
    pub consumer_group: String,
    /// Where usernames come from.
    #[command(flatten)]
    pub auth_fdw: AuthFdwConfig,
    /// The rules of streams and broadcasts.
    #[command(flatten)]
    pub rules: RulesConfig,
}

/// `auth_db` as the Postgres server of `streams_db` reaches it, for `postgres_fdw`.
#[derive(Clone, Debug, Args)]
pub struct AuthFdwConfig {
    /// Host of `auth_db`.
    #[arg(long, env = "AUTH_FDW_HOST", default_value = "localhost")]
    pub auth_fdw_host: String,
    /// Port of `auth_db`.
    #[arg(long, env = "AUTH_FDW_PORT", default_value_t = 5432)]
    pub auth_fdw_port: u16,
    /// Name of the database.
    #[arg(long, env = "AUTH_FDW_DB", default_value = "auth_db")]
    pub auth_fdw_db: String,
    /// The role that may read `users_public` and nothing else.
    #[arg(long, env = "AUTH_FDW_USER", default_value = "marquee_fdw")]
    pub auth_fdw_user: String,
    /// Its password; without one, answers have no usernames.
    #[arg(long, env = "AUTH_FDW_PASSWORD", hide_env_values = true)]
    pub auth_fdw_password: Option<Password>,
}

impl AuthFdwConfig {
    /// Where `auth_db` is, if that is configured.
    pub fn database(&self) -> Option<AuthDatabase> {
        let password = self.auth_fdw_password.as_ref()?;
        Some(AuthDatabase {
            host: self.auth_fdw_host.clone(),
            port: self.auth_fdw_port,
            database: self.auth_fdw_db.clone(),
            user: self.auth_fdw_user.clone(),
            password: password.0.clone(),
        })
    }
}

/// A database password; its `Debug` shows nothing.
#[derive(Clone)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Password {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Figures an operator may change.
#[derive(Clone, Debug, Args)]
pub struct RulesConfig {
    /// Hours a stream key opens its stream.
    #[arg(long, env = "STREAM_KEY_TTL_H", default_value_t = 24,
          value_parser = clap::value_parser!(u64).range(1..=87_600))]
    pub stream_key_ttl_h: u64,
    /// Active streams a user may have; 0: any number.
    #[arg(long, env = "MAX_ACTIVE_STREAMS_PER_USER", default_value_t = 1)]
    pub max_active_streams_per_user: u32,
    /// Seconds a key is refused after its stream was stopped.
    #[arg(long, env = "STOP_HOLD_S", default_value_t = 60)]
    pub stop_hold_s: u64,
    /// Seconds between two rotations of a key.
    #[arg(long, env = "KEY_COOLDOWN_S", default_value_t = 30)]
    pub key_cooldown_s: u64,
    /// Seconds a publisher has to come back to its broadcast (the transcoders' variable too).
    #[arg(long, env = "RECONNECT_GRACE_S", default_value_t = 30)]
    pub reconnect_grace_s: u64,
    /// Connections that may follow streams' events at this instance at a time.
    #[arg(long, env = "EVENT_FOLLOWERS_MAX", default_value_t = 10_000)]
    pub event_followers_max: u32,
    /// Seconds one of them lasts at the most; its page then asks again.
    #[arg(long, env = "EVENT_FEED_MAX_S", default_value_t = 1_200,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub event_feed_max_s: u64,
    /// Seconds beyond the grace after which a broadcast of which nothing is heard is over.
    #[arg(long, env = "SILENCE_MARGIN_S", default_value_t = 15)]
    pub silence_margin_s: u64,
    /// Seconds without a word after which a transcoder no longer finishes an ended broadcast.
    #[arg(long, env = "FINALIZE_CONFIRM_S", default_value_t = 10)]
    pub finalize_confirm_s: u64,
}

impl RulesConfig {
    /// As the store wants them.
    pub const fn rules(&self) -> Rules {
        Rules {
            key_ttl: Duration::from_secs(self.stream_key_ttl_h * 3600),
            max_active_streams: self.max_active_streams_per_user,
            stop_hold: Duration::from_secs(self.stop_hold_s),
            key_cooldown: Duration::from_secs(self.key_cooldown_s),
            silence: Duration::from_secs(self.reconnect_grace_s + self.silence_margin_s),
            finalize_confirm: Duration::from_secs(self.finalize_confirm_s),
        }
    }
}
