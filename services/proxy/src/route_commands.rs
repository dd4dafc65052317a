//! `proxy routes …`: the table of streams, from a shell.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use futures::{StreamExt, stream};
use marquee_common::{error_chain, redis::RedisClient};
use redis::RedisError;

use crate::{
    config::{RoutesCommand, RoutesConfig},
    connections::Resolver,
    probe::{self, Health, probe},
    route_table::{Entry, RouteTable},
    stream_id::{self, StreamIdError},
};

/// Entries that are read at a time.
const PAGE: usize = 500;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("the stream id {0}")]
    StreamId(#[from] StreamIdError),
    #[error("there is no route of {0}")]
    NoSuchRoute(String),
    #[error("Redis cannot be asked")]
    Redis(#[from] RedisError),
    #[error("{0} of {1} upstreams do not answer")]
    Silent(usize, usize),
    #[error("threads cannot be started")]
    Runtime(#[source] std::io::Error),
}

/// Runs the command that the arguments name; the first of them is `routes`.
pub fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let config = RoutesConfig::parse_from(args);
    let done = tokio::runtime::Runtime::new()
        .map_err(CommandError::Runtime)
        .and_then(|runtime| runtime.block_on(execute(config)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy routes: {}", error_chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn execute(config: RoutesConfig) -> Result<(), CommandError> {
    let table = RouteTable::new(RedisClient::new(&config.redis)?);
    match config.command {
        RoutesCommand::List => {
            for entry in all(&table).await? {
                println!("{}", line(&entry));
            }
            Ok(())
        }
        RoutesCommand::Set {
            stream_id,
            upstream,
            ttl_s,
        } => {
            stream_id::check(&stream_id)?;
            let ttl = ttl_s.map(|seconds| Duration::from_secs(seconds.get()));
            table.set(&stream_id, &upstream, ttl).await?;
            println!("{stream_id}: {upstream}");
            Ok(())
        }
        RoutesCommand::Delete { stream_id } => {
            if !table.delete(&stream_id).await? {
                return Err(CommandError::NoSuchRoute(stream_id));
            }
            println!("{stream_id}: deleted");
            Ok(())
        }
        RoutesCommand::Check { stream_id } => check(&table, stream_id).await,
    }
}

async fn check(table: &RouteTable, stream_id: Option<String>) -> Result<(), CommandError> {
    let entries = match stream_id {
        None => all(table).await?,
        Some(id) => match table.find(&id).await? {
            Some(entry) => vec![entry],
            None => return Err(CommandError::NoSuchRoute(id)),
        },
    };
    let asked = entries.len();
    let resolver = Resolver::default();
    let mut checked = stream::iter(entries)
        .map(async |entry| {
            let health = probe(&resolver, &entry).await;
            (entry, health)
        })
        .buffered(probe::AT_A_TIME);
    let mut silent = 0;
    while let Some((entry, health)) = checked.next().await {
        silent += usize::from(!health.answers);
        println!("{}\t{}", line(&entry), verdict(&health));
    }
    match silent {
        0 => Ok(()),
        silent => Err(CommandError::Silent(silent, asked)),
    }
}

async fn all(table: &RouteTable) -> Result<Vec<Entry>, CommandError> {
    let mut entries = Vec::new();
    let mut after = None;
    loop {
        let page = table.list(after.as_deref(), PAGE).await?;
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return Ok(entries);
        }
    }
}

/// An entry on one line, in columns by tabs.
fn line(entry: &Entry) -> String {
    let ttl = entry
        .ttl
        .map_or_else(|| "-".to_owned(), |ttl| format!("{} s", ttl.as_secs()));
    // A value that is no address may hold anything.
    let value = match &entry.value {
        Some(value) => value.escape_debug().to_string(),
        None => "(not a string)".to_owned(),
    };
    format!("{}\t{value}\t{ttl}", entry.stream_id)
}

fn verdict(health: &Health) -> String {
    match (health.http_status, health.latency_ms) {
        (Some(status), Some(latency)) => format!("answers {status} in {latency} ms"),
        _ => health.error.clone().unwrap_or_default(),
    }
}
