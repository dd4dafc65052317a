//! `stack`: starts and stops Marquee's servers and services on this machine.

use std::{collections::BTreeMap, error::Error, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use marquee_testkit::{
    error::{Result, StackError},
    infra::workspace_root,
    progress::Progress,
    stack::{
        Options, StackDir, control,
        demo::{demo, or_stop},
        down, infra, up,
    },
};

/// Starts and stops Marquee's servers and services on this machine, without containers and without
/// a daemon: everything is in one folder.
#[derive(Debug, Parser)]
#[command(name = "stack")]
struct Arguments {
    /// The stack's folder [default: that of the file `MARQUEE_STACK`, else .local of this checkout]
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything in the background, or what is missing of it
    Up(UpArguments),
    /// The same and a synthetic broadcast, in the foreground until Ctrl-C
    Demo(UpArguments),
    /// Stops everything; the data stays
    Down {
        /// Removes data, logs, ports and secrets, too
        #[arg(long)]
        purge: bool,
    },
    /// Shows what runs
    Status,
    /// Asks one process to end and waits for it
    Stop {
        /// Its name, as `stack status` shows it
        name: String,
    },
    /// Starts a stopped or killed process again and waits until it serves
    Start {
        /// Its name
        name: String,
    },
    /// Kills one process (SIGKILL); its children are left to notice
    Kill {
        /// Its name
        name: String,
    },
    /// Freezes one process (SIGSTOP)
    Pause {
        /// Its name
        name: String,
    },
    /// Lets a frozen process go on (SIGCONT)
    Resume {
        /// Its name
        name: String,
    },
    /// Starts a further instance of a service and prints its name and URLs as JSON
    Add {
        /// `transcoder`
        service: String,
    },
    /// Only PostgreSQL, Redis, Kafka and the S3 server, for tests [default folder: .local/test]
    Infra {
        #[command(subcommand)]
        action: InfraAction,
    },
}

#[derive(Debug, Subcommand)]
enum InfraAction {
    /// Starts what does not run yet
    Up,
    /// Stops the servers and removes their data
    Down,
}

#[derive(Debug, Args)]
struct UpArguments {
    /// Name or address under which browsers and encoders reach this machine; any but localhost opens
    /// the edge, SRT and RTMP to the network
    #[arg(long, default_value = "localhost")]
    host: String,
    /// Does not ask for the documented ports first
    #[arg(long)]
    any_ports: bool,
    /// A variable for every service (`--set RECONNECT_GRACE_S=5`); repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// The folder of the services' binaries [default: this program's]
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// The folder of the built web page [default: web/dist of this checkout]
    #[arg(long)]
    web_root: Option<PathBuf>,
}

impl UpArguments {
    fn options(self) -> Options {
        let default = Options::default();
        Options {
            host: self.host,
            documented_ports: !self.any_ports,
            settings: self.settings.into_iter().collect::<BTreeMap<_, _>>(),
            bin_dir: self.bin_dir.unwrap_or(default.bin_dir),
            web_root: self.web_root.unwrap_or(default.web_root),
        }
    }
}

fn setting(text: &str) -> std::result::Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "must be NAME=VALUE".to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Arguments::parse())).await {
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

async fn run(arguments: Arguments) -> Result<()> {
    let progress = Progress::new();
    let path = folder(&arguments);
    match arguments.command {
        Command::Up(options) => {
            let dir = StackDir::open(&path)?;
            let _lock = dir.lock()?;
            let options = options.options();
            let work = up::up(&dir, &options, &progress);
            or_stop(&dir, &progress, Box::pin(work)).await.map(drop)
        }
        Command::Demo(options) => {
            let dir = StackDir::open(&path)?;
            let _lock = dir.lock()?;
            demo(&dir, &options.options(), &progress).await
        }
        Command::Infra {
            action: InfraAction::Up,
        } => {
            let dir = StackDir::open(&path)?;
            let _lock = dir.lock()?;
            let work = infra::up(&dir, &progress);
            or_stop(&dir, &progress, Box::pin(work)).await.map(drop)
        }
        Command::Infra {
            action: InfraAction::Down,
        } => match StackDir::existing(&path) {
            Some(dir) => {
                let _lock = dir.lock()?;
                infra::down(&dir, &progress).await
            }
            None => Ok(()),
        },
        Command::Down { purge } => match StackDir::existing(&path) {
            Some(dir) => {
                let _lock = dir.lock()?;
                down::stop_all(&dir, &progress).await?;
                if purge { down::purge(&dir) } else { Ok(()) }
            }
            None => Ok(()),
        },
        Command::Status => control::status(&existing(&path)?, &progress),
        Command::Stop { name } => control::stop(&existing(&path)?, &name).await,
        Command::Start { name } => control::start(&existing(&path)?, &name).await,
        Command::Kill { name } => control::kill(&existing(&path)?, &name).await,
        Command::Pause { name } => control::pause(&existing(&path)?, &name),
        Command::Resume { name } => control::resume(&existing(&path)?, &name),
        Command::Add { service } => {
            let added = up::add(&existing(&path)?, &service).await?;
            let line = serde_json::json!({
                "name": added.name, "url": added.url,
                "srt_url": added.srt_url, "rtmp_url": added.rtmp_url
            });
            progress.say(&line.to_string());
            Ok(())
        }
    }
}

fn folder(arguments: &Arguments) -> PathBuf {
    if let Some(dir) = &arguments.dir {
        return dir.clone();
    }
    if let Some(parent) = std::env::var_os("MARQUEE_STACK")
        .map(PathBuf::from)
        .and_then(|file| file.parent().map(PathBuf::from))
    {
        return parent;
    }
    let default = match arguments.command {
        Command::Infra { .. } => ".local/test",
        _ => ".local",
    };
    workspace_root().join(default)
}

fn existing(path: &std::path::Path) -> Result<StackDir> {
    StackDir::existing(path).ok_or_else(|| {
        StackError::Refused(format!(
            "{} holds no stack: `make up` starts one",
            path.display()
        ))
    })
}
