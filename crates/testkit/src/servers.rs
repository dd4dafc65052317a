//! The servers the platform stands on, each started as a private instance from what the machine has.

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::process::Command;

use crate::{
    error::{Result, StackError},
    process::{MARKER, Record, Spec, log_tail},
    stack::StackDir,
    state_file::wait_for_lock,
};

pub mod kafka;
pub mod minio;
pub mod nginx;
pub mod object_store;
pub mod postgres;
pub mod radosgw;
pub mod redis;

/// How servers are started.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Whether the documented ports are asked for first.
    pub documented_ports: bool,
    /// Whether data must survive a crash of the machine. Tests do not pay for that.
    pub durable: bool,
}

impl ServerOptions {
    /// The documented port, if it is wanted.
    pub(crate) fn documented(self, port: u16) -> Option<u16> {
        self.documented_ports.then_some(port)
    }
}

/// How a server's process is described; the defaults suit most.
pub(crate) fn spec(dir: &StackDir, name: &str, argv: Vec<String>) -> Spec {
    Spec {
        name: name.to_owned(),
        argv,
        env: BTreeMap::new(),
        log: dir.log(name),
        interrupt: false,
        grace_s: 20,
    }
}

/// Waits until `check` says yes; fails at once with the end of the log if the process ends.
pub(crate) async fn ready<F, Fut>(record: &Record, within: Duration, mut check: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let start = Instant::now();
    loop {
        let answer = tokio::time::timeout(Duration::from_secs(2), check()).await;
        if answer.unwrap_or(false) {
            return Ok(());
        }
        if !record.alive() || start.elapsed() > within {
            return Err(StackError::NotReady {
                name: record.spec.name.clone(),
                within_s: within.as_secs(),
                log: record.spec.log.clone(),
                tail: log_tail(&record.spec.log, 15),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a GET of `url` is answered with success.
pub(crate) async fn answers(client: &reqwest::Client, url: &str) -> bool {
    client
        .get(url)
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
}

/// Runs a program to its end; its output only shows when it fails.
pub(crate) async fn run(
    dir: &StackDir,
    what: &str,
    argv: &[&str],
    env: &[(&str, &str)],
) -> Result<String> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| StackError::failed(what, &"no program"))?;
    let output = Command::new(program)
        .args(arguments)
        .envs(env.iter().copied())
        .env(MARKER, dir.root())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| StackError::failed(what, &format!("{program}: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    let lines: Vec<&str> = said.lines().collect();
    let end = lines[lines.len().saturating_sub(25)..].join("\n");
    Err(StackError::failed(
        what,
        &format!("{}: {end}", output.status),
    ))
}

/// The full path of a program on PATH (sbin included, where Debian keeps nginx).
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// What was downloaded or built once for all checkouts: `${XDG_CACHE_HOME:-~/.cache}/marquee`.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .ok_or_else(|| StackError::Refused("neither XDG_CACHE_HOME nor HOME is set".to_owned()))?;
    let dir = base.join("marquee");
    std::fs::create_dir_all(&dir).map_err(StackError::io(&dir))?;
    Ok(dir)
}

/// Whether this process is root, whom some servers refuse.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Waits for its turn to fill a place in the cache: two checkouts may start at the same time.
pub(crate) async fn cache_lock(name: &str) -> Result<std::fs::File> {
    wait_for_lock(&cache_dir()?.join(format!("{name}.lock"))).await
}
