//! Configuration mistakes as people see them, and whole processes: these tests start their own
//! binary again, as a service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap is a failed test"
)]

use std::{
    net::TcpListener,
    process::{Child, Command as Process, Output, Stdio},
    time::Instant,
};

use clap::CommandFactory;

use super::*;
use crate::{
    config::{AuthConfig, HttpConfig, LogConfig, LogFormat},
    server::Service,
    telemetry,
};

#[derive(Debug, Parser)]
struct TestConfig {
    #[arg(long, env = "PORT", default_value_t = 8081)]
    port: u16,
    #[command(flatten)]
    http: HttpConfig,
    #[command(flatten)]
    log: LogConfig,
    #[command(flatten)]
    auth: AuthConfig,
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn mistakes_of(args: &[&str]) -> Vec<String> {
    let mut command = TestConfig::command();
    command.build();
    let args = std::iter::once(&"auth").chain(args);
    let error = command.clone().try_get_matches_from(args).unwrap_err();
    mistakes(&command, &error).unwrap()
}

#[test]
fn every_missing_secret_is_named_by_its_variable() {
    assert_eq!(
        mistakes_of(&[]),
        ["JWT_SECRET_KEY: is not set", "INTERNAL_API_KEY: is not set"]
    );
}

#[test]
fn a_refused_secret_is_explained_and_not_shown() {
    let lines = mistakes_of(&["--jwt-secret-key=hunter2", "--internal-api-key", SECRET]);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("JWT_SECRET_KEY: 7 bytes are too short"));
    assert!(!lines[0].contains("hunter2"));
}

#[test]
fn a_seeds_example_is_refused_as_one() {
    let example = "your-secret-key-change-in-production";
    let lines = mistakes_of(&["--jwt-secret-key", example, "--internal-api-key", SECRET]);
    assert!(lines[0].starts_with("JWT_SECRET_KEY: this is an example"));
}

#[test]
fn a_port_that_is_no_number_is_named() {
    let lines = mistakes_of(&["--port", "http"]);
    assert_eq!(lines, ["PORT: invalid digit found in string"]);
}

/// No test of its own: what the processes of the tests below run.
#[test]
fn child_process() {
    let Ok(args) = std::env::var("ENTRY_TEST_ARGS") else {
        return;
    };
    let args = args.split(' ').map(OsString::from).collect();
    let code = run_from("tester", args, async |config: TestConfig| {
        let telemetry = telemetry::init("tester", &config.log);
        assert_eq!(config.log.log_format, LogFormat::Json);
        Service::new("tester", telemetry, config.http, config.port)
            .serve()
            .await
    });
    std::process::exit(code.into());
}

fn process(args: &str, port: u16, jwt_variable: &str) -> Process {
    let mut process = Process::new(std::env::current_exe().unwrap());
    process
        .args([
            "--exact",
            "server::entry::tests::child_process",
            "--nocapture",
        ])
        .env_clear()
        .env("ENTRY_TEST_ARGS", args)
        .env("PORT", port.to_string())
        .env("BIND_ADDR", "127.0.0.1")
        .env(jwt_variable, SECRET)
        .env("INTERNAL_API_KEY", SECRET)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process
}

fn run(args: &str, port: u16) -> Output {
    process(args, port, "JWT_SECRET_KEY").output().unwrap()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Ends the process with the test.
struct Running(Option<Child>);

impl Running {
    fn terminate(mut self) -> Output {
        let child = self.0.take().unwrap();
        let killed = Process::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_service_answers_health_while_it_runs_and_exits_with_zero_after_sigterm() {
    let port = free_port();
    assert_eq!(run("tester health", port).status.code(), Some(1));

    // `SECRET_KEY` is seed 002's name of the variable.
    let child = process("tester", port, "SECRET_KEY").spawn().unwrap();
    let running = Running(Some(child));
    let started = Instant::now();
    while run("tester health", port).status.code() != Some(0) {
        assert!(started.elapsed() < Duration::from_secs(20), "never healthy");
    }

    let output = running.terminate();
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("\"message\":\"draining\""), "{log}");
}

#[test]
fn a_port_in_use_ends_with_one_and_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = run("tester", taken.local_addr().unwrap().port());
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("cannot listen on 127.0.0.1"), "{log}");
}

#[test]
fn a_wrong_configuration_ends_with_two_and_a_line() {
    let output = run("tester --jwt-secret-key short", 0);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.starts_with("tester: JWT_SECRET_KEY: 5 bytes"),
        "{errors}"
    );
}

#[test]
fn a_secret_may_come_from_a_file_and_is_judged_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwt");
    std::fs::write(&path, "hunter2\n").unwrap();
    let output = process("tester", 0, "JWT_SECRET_KEY_FILE")
        .env("JWT_SECRET_KEY_FILE", &path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.starts_with("tester: JWT_SECRET_KEY_FILE: 7 bytes"),
        "{errors}"
    );
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn a_secret_file_that_is_not_there_ends_with_two_and_a_line() {
    let output = process("tester", 0, "JWT_SECRET_KEY_FILE")
        .env("JWT_SECRET_KEY_FILE", "/nonexistent")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.starts_with("tester: JWT_SECRET_KEY_FILE: the file cannot be read"),
        "{errors}"
    );
}

#[test]
fn help_names_every_variable() {
    let output = run("tester --help", 0);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for variable in ["PORT", "JWT_SECRET_KEY", "SHUTDOWN_GRACE_S", "LOG_FORMAT"] {
        assert!(
            help.contains(&format!("[env: {variable}")),
            "{variable}: {help}"
        );
    }
    assert!(help.contains("JWT_SECRET_KEY_FILE"), "{help}");
    assert!(!help.contains(SECRET));
}
