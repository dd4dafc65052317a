//! The launcher: what it starts is found again and stopped again, whatever happened to the launcher.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use marquee_testkit::{
    Infra, eventually,
    process::{MARKER, Record, Spec, kill_marked},
    progress::Progress,
    servers::{ServerOptions, redis},
    stack::{StackDir, down},
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

const ANY_PORTS: ServerOptions = ServerOptions {
    documented_ports: false,
    durable: true,
};

/// A stack's folder whose processes end with the test.
struct Folder {
    dir: StackDir,
    _folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            dir: StackDir::open(folder.path()).unwrap(),
            _folder: folder,
        }
    }

    fn shell(&self, name: &str, script: &str) -> Spec {
        Spec {
            name: name.to_owned(),
            argv: ["sh", "-c", script].map(str::to_owned).into(),
            env: BTreeMap::new(),
            log: self.dir.log(name),
            interrupt: false,
            grace_s: 1,
        }
    }

    async fn down(&self) -> usize {
        down::stop_all(&self.dir, &Progress::new()).await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        kill_marked(self.dir.root());
    }
}

/// Processes that belong to the stack in this folder.
fn members(root: &Path) -> Vec<String> {
    let wanted = format!("{MARKER}={}", root.display());
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let environ = std::fs::read(path.join("environ")).ok()?;
            let member = environ
                .split(|byte| *byte == 0)
                .any(|v| v == wanted.as_bytes());
            member.then(|| std::fs::read_to_string(path.join("comm")).unwrap_or_default())
        })
        .collect()
}

fn stack(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command
        .arg("--dir")
        .arg(folder)
        .args(arguments)
        .env_remove("MARQUEE_STACK")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

#[tokio::test]
async fn a_second_start_finds_what_runs_and_a_third_one_after_a_stop_reuses_its_port() {
    let folder = Folder::new();
    let port = redis::start(&folder.dir, ANY_PORTS).await.unwrap();
    let first = folder.dir.running(redis::NAME).unwrap().unwrap();

    assert_eq!(redis::start(&folder.dir, ANY_PORTS).await.unwrap(), port);
    let second = folder.dir.running(redis::NAME).unwrap().unwrap();
    assert_eq!(first.pid, second.pid);

    assert_eq!(folder.down().await, 1);
    assert!(!first.alive());
    assert_eq!(redis::start(&folder.dir, ANY_PORTS).await.unwrap(), port);
}

#[tokio::test]
async fn two_stacks_run_side_by_side() {
    let (one, two) = (Folder::new(), Folder::new());
    let ports = (
        redis::start(&one.dir, ANY_PORTS).await.unwrap(),
        redis::start(&two.dir, ANY_PORTS).await.unwrap(),
    );
    assert_ne!(ports.0, ports.1);

    one.down().await;
    assert!(two.dir.running(redis::NAME).unwrap().is_some());
}

#[tokio::test]
async fn a_process_whose_start_time_differs_is_somebody_elses() {
    let folder = Folder::new();
    let record = folder.dir.spawn(&folder.shell("ours", "sleep 60")).unwrap();
    let stranger = Record {
        start_ticks: record.start_ticks - 1,
        ..record.clone()
    };
    assert!(!stranger.alive());
    assert!(!stranger.signal(Signal::SIGKILL));
    stranger.stop().await;
    assert!(record.alive());
}

#[tokio::test]
async fn what_does_not_end_is_killed_with_its_children() {
    let folder = Folder::new();
    let stubborn = folder.shell(
        "stubborn",
        "trap '' TERM; sleep 61 & while :; do wait; sleep 0.1; done",
    );
    let record = folder.dir.spawn(&stubborn).unwrap();
    let within = Duration::from_secs(5);
    eventually("its child", within, async || {
        (members(folder.dir.root()).len() > 1).then_some(())
    })
    .await;
    folder.down().await;
    assert!(!record.alive());
    assert_eq!(members(folder.dir.root()), Vec::<String>::new());
}

#[tokio::test]
async fn a_paused_process_can_be_stopped() {
    let folder = Folder::new();
    let mut spec = folder.shell("paused", "exec sleep 62");
    spec.grace_s = 30;
    let record = folder.dir.spawn(&spec).unwrap();
    record.signal(Signal::SIGSTOP);
    let start = Instant::now();
    record.stop().await;
    assert!(!record.alive());
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "it was not asked, but killed"
    );
}

#[tokio::test]
async fn a_process_is_replaced_only_when_it_is_to_be_started_otherwise() {
    let folder = Folder::new();
    let spec = folder.shell("service", "exec sleep 63");
    let first = folder.dir.ensure(&spec).await.unwrap();
    let same = folder.dir.ensure(&spec).await.unwrap();
    assert_eq!(first.pid, same.pid);

    let mut changed = spec;
    changed
        .env
        .insert("RECONNECT_GRACE_S".to_owned(), "5".to_owned());
    let other = folder.dir.ensure(&changed).await.unwrap();
    assert_ne!(first.pid, other.pid);
    assert!(!first.alive());
}

#[tokio::test]
async fn callers_variables_do_not_leak_into_what_is_started() {
    let folder = Folder::new();
    // Cargo sets this one for every test.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
    let record = folder.dir.spawn(&folder.shell("env", "exec env")).unwrap();
    assert!(record.gone_within(Duration::from_secs(5)).await);
    let log = std::fs::read_to_string(folder.dir.log("env")).unwrap();
    assert!(
        log.contains("PATH=") && !log.contains("CARGO_PKG_NAME"),
        "{log}"
    );
}

#[tokio::test]
async fn secrets_are_long_made_once_and_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let secret = folder.dir.secret("jwt").unwrap();
    assert!(secret.len() >= 32);
    assert_eq!(folder.dir.secret("jwt").unwrap(), secret);
    assert_ne!(folder.dir.secret("internal").unwrap(), secret);
    let file = folder.dir.root().join("secrets.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_launcher_killed_half_way_leaves_nothing_that_down_does_not_clean_and_up_does_not_mend() {
    let folder = Folder::new();
    let root = folder.dir.root().to_owned();

    let mut launcher = stack(&root, &["infra", "up"]).spawn().unwrap();
    let within = Duration::from_secs(30);
    eventually("a first server", within, async || {
        folder.dir.running(redis::NAME).unwrap().map(drop)
    })
    .await;
    launcher.kill().unwrap();
    launcher.wait().unwrap();

    // The next start goes on from there …
    assert!(stack(&root, &["infra", "up"]).status().unwrap().success());
    let report = std::fs::read(folder.dir.stack_file()).unwrap();
    let infra: Infra = serde_json::from_slice(&report).unwrap();
    assert!(infra.postgres_url.contains("@127.0.0.1:"));
    let pids = |dir: &StackDir| -> Vec<i32> {
        dir.records()
            .unwrap()
            .iter()
            .map(|record| record.pid)
            .collect()
    };
    let before = pids(&folder.dir);
    assert_eq!(before.len(), 4);
    assert!(stack(&root, &["infra", "up"]).status().unwrap().success());
    assert_eq!(pids(&folder.dir), before);

    // … a server that was killed is started again under its name …
    assert!(
        stack(&root, &["kill", "postgres"])
            .status()
            .unwrap()
            .success()
    );
    assert!(
        !stack(&root, &["stop", "postgres"])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    assert!(
        stack(&root, &["start", "postgres"])
            .status()
            .unwrap()
            .success()
    );

    // … and `down` leaves neither a process nor the file that says where everything is.
    assert!(stack(&root, &["infra", "down"]).status().unwrap().success());
    assert_eq!(members(&root), Vec::<String>::new());
    assert!(!folder.dir.stack_file().exists());
    assert!(!folder.dir.data("postgres").exists());
}
