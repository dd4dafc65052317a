//! What `auth admin` is told by its arguments and environment; `auth admin --help` lists it.

use clap::{Parser, Subcommand};
use marquee_common::{contract::Role, postgres::PostgresConfig, redis::RedisConfig};

/// Make, change and close accounts and grant subscriptions, directly in `auth_db`.
///
/// Other services are told by the events that the running service sends.
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
    /// Revoke a subscription
    Unsubscribe {
        /// Whose
        #[arg(long)]
        username: String,
    },
    /// Close an account: its sessions and its broadcast end, and nobody signs in to it
    Disable {
        /// Whose
        #[arg(long)]
        username: String,
    },
    /// Open a closed account again
    Enable {
        /// Whose
        #[arg(long)]
        username: String,
    },
    /// Delete an account for good, with all its streams and videos
    Delete {
        /// Whose
        #[arg(long)]
        username: String,
    },
    /// Forget the wrong passwords that were tried for an account, so that nobody waits
    Unlock {
        /// Whose
        #[arg(long)]
        username: String,
    },
    /// List accounts, newest first, one a line: id, username, address, role, state, plan
    List {
        /// Only those whose username, e-mail address or display name contains this
        #[arg(long)]
        search: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
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
