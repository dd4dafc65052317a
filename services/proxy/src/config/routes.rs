//! The arguments of `proxy routes …`.

use std::num::NonZeroU64;

use clap::{Parser, Subcommand};
use marquee_common::redis::RedisConfig;

use crate::upstream::Upstream;

/// The table of streams in Redis, from a shell.
#[derive(Clone, Debug, Parser)]
#[command(name = "proxy routes", version)]
pub struct RoutesConfig {
    /// Where the routes are.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// What to do.
    #[command(subcommand)]
    pub command: RoutesCommand,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum RoutesCommand {
    /// Show every stream, its upstream and its time to live
    List,
    /// Let a stream's requests go to an upstream
    Set {
        /// The stream
        stream_id: String,
        /// Where it is: host:port, host (port 80) or [v6]:port
        upstream: Upstream,
        /// Forget it again after so many seconds
        #[arg(long)]
        ttl_s: Option<NonZeroU64>,
    },
    /// Let a stream's requests go nowhere
    Delete {
        /// The stream
        stream_id: String,
    },
    /// Ask upstreams whether they answer; exits 1 if one does not
    Check {
        /// One stream; all of them when it is left out
        stream_id: Option<String>,
    },
}
