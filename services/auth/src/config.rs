//! What the service is told by its environment; `auth --help` lists it.

mod admin;

use std::{num::NonZeroUsize, thread::available_parallelism};

use clap::{Args, Parser};
use ipnet::IpNet;
use marquee_common::{
    config::{AuthConfig, HttpConfig, LogConfig, PublicUrls},
    forwarding::parse_network,
    kafka::KafkaConfig,
    postgres::PostgresConfig,
    redis::RedisConfig,
};
use time::Duration;

pub use admin::{AdminCommand, AdminConfig, password_from_environment};

use crate::{lockout, password::Bounds};

/// Accounts, sign-in, sessions and subscriptions.
///
/// `auth admin --help` tells of the commands that make accounts and grant subscriptions, `auth
/// health` asks the running service whether it is healthy.
#[derive(Clone, Debug, Parser)]
#[command(name = "auth", version)]
pub struct Config {
    /// Port of the HTTP interface
    #[arg(long, env = "PORT", default_value_t = 8081)]
    pub port: u16,
    /// The HTTP interface.
    #[command(flatten)]
    pub http: HttpConfig,
    /// Logs.
    #[command(flatten)]
    pub log: LogConfig,
    /// `auth_db`.
    #[command(flatten)]
    pub postgres: PostgresConfig,
    /// Where revoked sessions are told to the other services.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// Where `user.deleted`, `user.disabled` and `subscription.changed` go.
    #[command(flatten)]
    pub kafka: KafkaConfig,
    /// What signs access tokens and opens `/internal`.
    #[command(flatten)]
    pub auth: AuthConfig,
    /// Where the platform is reached.
    #[command(flatten)]
    pub public: PublicUrls,
    /// Sessions and passwords.
    #[command(flatten)]
    pub sign_in: SignInConfig,
    /// Guessing.
    #[command(flatten)]
    pub lockout: LockoutConfig,
}

/// When a password may not be tried any more, and whose tries those are.
#[derive(Clone, Debug, Args)]
pub struct LockoutConfig {
    /// Wrong passwords in a row for one account from one network before that network has to wait
    #[arg(long, env = "LOCKOUT_AFTER_FAILURES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub lockout_after_failures: u32,
    /// The longest wait, in seconds; the first is 30 and each further failure doubles it
    #[arg(long, env = "LOCKOUT_MAX_S", default_value_t = 15 * 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub lockout_max_s: u32,
    /// Networks of the gateway and of the proxies before it, whose `X-Forwarded-For` tells where a
    /// client sits (`10.0.0.0/8,::1/128`); without them all clients seem to sit in one place
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_network)]
    pub trusted_proxies: Vec<IpNet>,
}

impl LockoutConfig {
    /// As the rule wants them.
    pub fn policy(&self) -> lockout::Policy {
        lockout::Policy {
            failures: self.lockout_after_failures,
            max_wait: std::time::Duration::from_secs(self.lockout_max_s.into()),
        }
    }
}

/// Sessions and passwords.
#[derive(Clone, Debug, Args)]
pub struct SignInConfig {
    /// Life of an access token, in seconds
    #[arg(long, env = "ACCESS_TOKEN_TTL_S", default_value_t = 15 * 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub access_token_ttl_s: u32,
    /// Life of a refresh token, in seconds; each use begins it anew
    #[arg(long, env = "REFRESH_TOKEN_TTL_S", default_value_t = 30 * 86_400, value_parser = clap::value_parser!(u32).range(1..))]
    pub refresh_token_ttl_s: u32,
    /// How long a used refresh token may be repeated before that counts as theft, in seconds
    #[arg(long, env = "REFRESH_REUSE_GRACE_S", default_value_t = 10)]
    pub refresh_reuse_grace_s: u32,
    /// Sessions a user may have; a further sign-in ends the one that was not used for longest
    #[arg(long, env = "MAX_SESSIONS_PER_USER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_sessions_per_user: u32,
    /// Whether cookies are for HTTPS only; follows the scheme of `PUBLIC_BASE_URL` when unset
    #[arg(long, env = "COOKIE_SECURE")]
    pub cookie_secure: Option<bool>,
    /// bcrypt cost of new passwords: 2^cost rounds
    #[arg(long, env = "BCRYPT_COST", default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=20))]
    pub bcrypt_cost: u32,
    /// Passwords hashed at a time; as many as there are cores when unset. They give way to whatever
    /// else runs on the machine
    #[arg(long, env = "BCRYPT_PARALLELISM")]
    pub bcrypt_parallelism: Option<NonZeroUsize>,
    /// Passwords that may wait for their turn before further ones get 503; 16 for each that is
    /// hashed at a time when unset, which is four seconds at cost 12
    #[arg(long, env = "BCRYPT_QUEUE")]
    pub bcrypt_queue: Option<u16>,
    /// Of those hashed and those that wait, how many may come from one IPv4 address or IPv6 /64; half
    /// of all when unset, and at least one
    #[arg(long, env = "BCRYPT_PER_NETWORK")]
    pub bcrypt_per_network: Option<NonZeroUsize>,
}

impl SignInConfig {
    /// Life of an access token.
    pub fn access_token_ttl(&self) -> Duration {
        Duration::seconds(self.access_token_ttl_s.into())
    }

    /// Life of a refresh token.
    pub fn refresh_token_ttl(&self) -> Duration {
        Duration::seconds(self.refresh_token_ttl_s.into())
    }

    /// How long a used refresh token may be repeated.
    pub fn refresh_reuse_grace(&self) -> Duration {
        Duration::seconds(self.refresh_reuse_grace_s.into())
    }

    /// How many passwords are hashed at a time.
    pub fn bcrypt_bounds(&self) -> Bounds {
        let parallelism = self.bcrypt_parallelism.map_or_else(
            || available_parallelism().map_or(1, NonZeroUsize::get),
            NonZeroUsize::get,
        );
        let queue = self.bcrypt_queue.map_or(parallelism * 16, usize::from);
        let per_network = self
            .bcrypt_per_network
            .map_or(parallelism.midpoint(queue).max(1), NonZeroUsize::get);
        Bounds {
            parallelism,
            queue,
            per_network,
        }
    }
}
