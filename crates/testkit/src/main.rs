//! `stack`: starts and stops Marquee's servers and services on this machine.

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use marquee_testkit::{
    error::Result,
    infra::workspace_root,
    progress::Progress,
    stack::{StackDir, infra},
};

#[derive(Debug, Parser)]
#[command(
    name = "stack",
    about = "Starts and stops Marquee's servers and services on this machine"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Only PostgreSQL, Redis, Kafka and the S3 server, for tests
    Infra {
        #[command(subcommand)]
        action: InfraAction,
    },
}

#[derive(Debug, Subcommand)]
enum InfraAction {
    /// Starts what does not run yet
    Up {
        /// The stack's folder [default: .local/test of this checkout]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Stops the servers and removes their data
    Down {
        /// The stack's folder [default: .local/test of this checkout]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stack: {error}");
            let mut cause = error.source();
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    let progress = Progress::new();
    match command {
        Command::Infra { action } => match action {
            InfraAction::Up { dir } => {
                let dir = open(dir, ".local/test")?;
                let _lock = dir.lock()?;
                infra::up(&dir, &progress).await.map(drop)
            }
            InfraAction::Down { dir } => match existing(dir, ".local/test") {
                Some(dir) => {
                    let _lock = dir.lock()?;
                    infra::down(&dir, &progress).await
                }
                None => Ok(()),
            },
        },
    }
}

fn open(dir: Option<PathBuf>, default: &str) -> Result<StackDir> {
    StackDir::open(&dir.unwrap_or_else(|| workspace_root().join(default)))
}

fn existing(dir: Option<PathBuf>, default: &str) -> Option<StackDir> {
    StackDir::existing(&dir.unwrap_or_else(|| workspace_root().join(default)))
}
