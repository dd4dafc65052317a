//! Processes that outlive their launcher and are found again: each is recorded with the moment it
//! started, so that a pid the kernel has given to somebody else is never signalled.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::error::{Result, StackError};

/// The variable that marks every process of a stack and what they start in turn, with the stack's
/// folder as its value: `down` finds by it what no pid file knows any more.
pub const MARKER: &str = "MARQUEE_STACK_MEMBER";

/// What a private server may see of the caller's environment; a `DB_URL` or `PORT` that happens to
/// be exported must not reach it.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "RUST_BACKTRACE",
    "JAVA_HOME",
];

/// A log larger than this is put aside when its process starts again.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// How a process is started, and how it is asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its name in the stack, such as `transcoder-2`.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its variables, besides the few that are inherited.
    pub env: BTreeMap<String, String>,
    /// Where its output goes, appended.
    pub log: PathBuf,
    /// `true`: SIGINT, which PostgreSQL takes as "disconnect clients and stop"; else SIGTERM.
    pub interrupt: bool,
    /// How long it may take to end before it is killed.
    pub grace_s: u64,
}

/// A started process: its spec and which process it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its pid.
    pub pid: i32,
    /// When it started, in clock ticks since boot (`/proc/{pid}/stat`, field 22).
    pub start_ticks: u64,
    /// The boot in which that was.
    pub boot_id: String,
    /// How it was started.
    #[serde(flatten)]
    pub spec: Spec,
}

impl Spec {
    /// Starts the process in a session of its own, so that Ctrl-C in the launcher's terminal does
    /// not reach it, and says which one it is.
    pub fn spawn(&self, marker: &Path) -> Result<Record> {
        let log = open_log(&self.log)?;
        let errors = log.try_clone().map_err(StackError::io(&self.log))?;
        let mut child = command(&self.argv, &self.env, marker)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| StackError::failed(format!("starting {}", self.name), &e))?;
        let started = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(|pid| Some((pid, stat(pid)?)));
        let Some((pid, stat)) = started else {
            let status = child.try_wait().ok().flatten();
            return Err(StackError::failed(
                format!("starting {}", self.name),
                &format!("it ended at once ({status:?})"),
            ));
        };
        // tokio reaps a dropped child when it ends.
        drop(child);
        Ok(Record {
            pid,
            start_ticks: stat.start_ticks,
            boot_id: boot_id(),
            spec: self.clone(),
        })
    }
}

impl Record {
    /// Whether this very process still runs.
    pub fn alive(&self) -> bool {
        self.boot_id == boot_id()
            && stat(self.pid).is_some_and(|stat| !stat.dead && stat.start_ticks == self.start_ticks)
    }

    /// Whether its program file has been replaced, by a newer build say.
    pub fn is_outdated(&self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid))
            .is_ok_and(|exe| exe.to_string_lossy().ends_with(" (deleted)"))
    }

    /// Sends a signal to the process itself; `false` if it is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        self.alive() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }

    /// Sends a signal to the process and all its descendants, parents first.
    pub fn signal_tree(&self, signal: Signal) {
        if self.alive() {
            for pid in tree(self.pid) {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }

    /// Asks the process to end, waits for its grace, kills it if it must, and then whatever it left
    /// behind of its descendants.
    pub async fn stop(&self) {
        if !self.alive() {
            return;
        }
        let family = identities(&tree(self.pid));
        let polite = if self.spec.interrupt {
            Signal::SIGINT
        } else {
            Signal::SIGTERM
        };
        self.signal(polite);
        // A paused process handles nothing until it goes on.
        self.signal_tree(Signal::SIGCONT);
        if !self
            .gone_within(Duration::from_secs(self.spec.grace_s))
            .await
        {
            self.signal(Signal::SIGKILL);
            self.gone_within(Duration::from_secs(5)).await;
        }
        kill_all(&family);
    }

    /// Waits until the process is gone; `false` if it is not.
    pub async fn gone_within(&self, within: Duration) -> bool {
        let start = Instant::now();
        while self.alive() {
            if start.elapsed() > within {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }
}

/// Kills every process that carries `marker`, whoever started it, and returns how many there were.
/// The caller itself is spared.
pub fn kill_marked(marker: &Path) -> usize {
    kill_marked_except(marker, &BTreeSet::new())
}

/// The same, but for the processes `known` and their descendants.
pub fn kill_marked_except(marker: &Path, known: &BTreeSet<i32>) -> usize {
    let wanted = format!("{MARKER}={}", marker.display());
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let spared: BTreeSet<i32> = known.iter().flat_map(|pid| tree(*pid)).collect();
    let members: Vec<i32> = pids()
        .filter(|pid| *pid != own && !spared.contains(pid) && carries(*pid, &wanted))
        .collect();
    let found = identities(&members);
    kill_all(&found);
    found.len()
}

/// The last lines of a log, for an error message.
pub fn log_tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(64 * 1024)..]);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn command(argv: &[String], env: &BTreeMap<String, String>, marker: &Path) -> Command {
    // setsid(1) replaces itself by the program, so the pid stays; std offers no setsid without
    // `unsafe`.
    let mut command = Command::new("setsid");
    command.arg("--").args(argv).env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(env).env(MARKER, marker);
    command
}

fn open_log(path: &Path) -> Result<File> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_BYTES) {
        fs::rename(path, path.with_extension("log.1")).map_err(StackError::io(path))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(StackError::io(path))
}

struct Stat {
    dead: bool,
    parent: i32,
    start_ticks: u64,
}

/// `None` if there is no such process. The name in parentheses may hold spaces and parentheses, so
/// the fields are counted from the last one.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Stat {
        dead: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn tree(root: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children.remove(&pid).unwrap_or_default());
        next += 1;
    }
    found
}

fn identities(pids: &[i32]) -> BTreeSet<(i32, u64)> {
    pids.iter()
        .filter_map(|pid| Some((*pid, stat(*pid).filter(|stat| !stat.dead)?.start_ticks)))
        .collect()
}

fn kill_all(processes: &BTreeSet<(i32, u64)>) {
    for (pid, start_ticks) in processes {
        if stat(*pid).is_some_and(|stat| stat.start_ticks == *start_ticks) {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
    }
}

fn carries(pid: i32, wanted: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
        environ
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
    })
}

/// A process that a test started; killed with its descendants when this is dropped.
#[derive(Debug)]
pub struct TestProcess {
    child: Child,
    /// Its pid.
    pub pid: i32,
    /// Where its output goes.
    pub log: PathBuf,
}

impl TestProcess {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        // A child that was waited for is gone, and its pid may be anybody's.
        if self.child.id().is_some() {
            kill_all(&identities(&tree(self.pid)));
        }
    }
}

/// Starts a program for a test, with `env` and little else of the caller's environment, its output
/// in `log`.
///
/// # Panics
/// If it cannot be started.
pub fn spawn_process(argv: &[&str], env: &[(&str, &str)], log: &Path) -> TestProcess {
    let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let start = || -> Result<TestProcess> {
        let out = open_log(log)?;
        let errors = out.try_clone().map_err(StackError::io(log))?;
        let child = command(&argv, &env, log)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .map_err(|e| StackError::failed(format!("starting {argv:?}"), &e))?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .ok_or_else(|| StackError::failed("starting", &"it has no pid"))?;
        Ok(TestProcess {
            child,
            pid,
            log: log.into(),
        })
    };
    start().unwrap_or_else(|error| panic!("{error}"))
}
