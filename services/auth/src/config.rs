//! What the service is told by its environment; `auth --help` lists it.

use std::{num::NonZeroUsize, thread::available_parallelism};

use clap::{Args, Parser, Subcommand};
use marquee_common::{
    config::{AuthConfig, HttpConfig, LogConfig, PublicUrls},
    contract::Role,
    postgres::PostgresConfig,
    redis::RedisConfig,
};
use time::Duration;

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
    /// What signs access tokens and opens `/internal`.
    #[command(flatten)]
    pub auth: AuthConfig,
    /// Where the platform is reached.
    #[command(flatten)]
    pub public: PublicUrls,
    /// Sessions and passwords.
    #[command(flatten)]
    pub sign_in: SignInConfig,
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
    /// Whether cookies are for HTTPS only; follows the scheme of `PUBLIC_BASE_URL` when unset
    #[arg(long, env = "COOKIE_SECURE")]
    pub cookie_secure: Option<bool>,
    /// bcrypt cost of new passwords: 2^cost rounds
    #[arg(long, env = "BCRYPT_COST", default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=20))]
    pub bcrypt_cost: u32,
    /// Passwords hashed at a time; the number of cores when unset
    #[arg(long, env = "BCRYPT_PARALLELISM")]
    pub bcrypt_parallelism: Option<NonZeroUsize>,
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

    /// Passwords hashed at a time.
    pub fn bcrypt_parallelism(&self) -> usize {
        self.bcrypt_parallelism
            .or_else(|| available_parallelism().ok())
            .map_or(1, NonZeroUsize::get)
    }
}

/// Make accounts and grant subscriptions, directly in `auth_db`.
#[derive(Clone, Debug, Parser)]
#[command(name = "auth admin", bin_name = "auth admin", version)]
pub struct AdminConfig {
    /// `auth_db`.
    #[command(flatten)]
    pub postgres: PostgresConfig,
    /// Where revoked sessions are told to the other services.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// bcrypt cost of new passwords: 2^cost rounds
    #[arg(long, env = "BCRYPT_COST", default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=20))]
    pub bcrypt_cost: u32,
    /// What to do.
    #[command(subcommand)]
    pub command: AdminCommand,
}

/// What an operator can do.
#[derive(Clone, Debug, Subcommand)]
pub enum AdminCommand {
    /// Make an account; one that exists already is left as it is
    ///
    /// The password comes from `MARQUEE_PASSWORD`, or as a line on stdin: arguments are for every
    /// process of the machine to read.
    Create {
        /// Its name
        #[arg(long)]
        username: String,
        /// Its e-mail address
        #[arg(long)]
        email: String,
        /// What it may do
        #[arg(long, default_value = "user", value_parser = parse_role)]
        role: Role,
        /// Give an account that exists this password, and end its sessions
        #[arg(long)]
        reset_password: bool,
    },
    /// Give an account a role; its access tokens show it from their next refresh on
    Promote {
        /// Whom
        #[arg(long)]
        username: String,
        /// What it may do
        #[arg(long, default_value = "admin", value_parser = parse_role)]
        role: Role,
    },
    /// Grant a subscription, in place of the one there may be
    Subscribe {
        /// Whom
        #[arg(long)]
        username: String,
        /// The plan
        #[arg(long)]
        plan: String,
        /// Days from now; without it the subscription does not end by itself
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
    },
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "user" => Ok(Role::User),
        "admin" => Ok(Role::Admin),
        _ => Err("must be user or admin".to_owned()),
    }
}

/// The password for `auth admin create`, if the environment has one.
pub fn password_from_environment() -> Option<String> {
    std::env::var("MARQUEE_PASSWORD").ok()
}
