//! `docker-compose.yml` is something that compose understands, under the names that are documented.
//! Only its text is looked at: no engine is needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use marquee_testkit::infra::workspace_root;

/// `docker compose`, else Debian's `docker-compose`, on our file and without anybody's `.env`.
fn compose() -> Command {
    let has_plugin = Command::new("docker")
        .args(["compose", "version"])
        .output()
        .is_ok_and(|output| output.status.success());
    let mut command = if has_plugin {
        let mut docker = Command::new("docker");
        docker.arg("compose");
        docker
    } else {
        Command::new("docker-compose")
    };
    command.current_dir(workspace_root()).args([
        "--file",
        "docker-compose.yml",
        "--env-file",
        ".env.example",
    ]);
    command
}

/// What `compose config` says with every variable of `.env.example` given.
fn config(arguments: &[&str]) -> String {
    let mut command = compose();
    let example = std::fs::read_to_string(workspace_root().join(".env.example")).unwrap();
    for line in example.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = line.split_once('=') {
            let value = if value.is_empty() {
                "x".repeat(43)
            } else {
                value.to_owned()
            };
            command.env(name, value);
        }
    }
    let output = command
        .arg("config")
        .args(arguments)
        .output()
        .expect("neither `docker compose` nor `docker-compose`: run scripts/bootstrap");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // A variable that the file uses and .env.example does not name.
    assert!(!errors.contains("variable is not set"), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn compose_accepts_the_file() {
    config(&["--quiet"]);
}

#[test]
fn services_have_their_documented_names() {
    let services = config(&["--services"]);
    let mut names: Vec<&str> = services.lines().collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "api-gateway",
            "auth-service",
            "frontend",
            "kafka",
            "minio",
            "postgres",
            "proxy",
            "redis",
            "stream-service",
            "transcoder",
        ]
    );
    let text = config(&[]);
    for name in ["pay-per-view-redis", "pay-per-view-openresty"] {
        assert!(text.contains(&format!("container_name: {name}")), "{name}");
    }
}

#[test]
fn every_service_is_watched() {
    let services = config(&["--services"]).lines().count();
    assert_eq!(config(&[]).matches("healthcheck:").count(), services);
}

#[test]
fn no_secret_has_a_default() {
    let mut command = compose();
    command.args(["config", "--quiet"]);
    let example = std::fs::read_to_string(workspace_root().join(".env.example")).unwrap();
    for line in example.lines().filter(|line| line.ends_with('=')) {
        command.env_remove(line.trim_end_matches('='));
    }
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("scripts/compose-env"), "{said}");
}
