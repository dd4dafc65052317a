//! Compose itself takes the files: the plugin where there is one, else Debian's `docker-compose`.

use std::process::{Command, Output};

use marquee_testkit::infra::workspace_root;

use crate::files::text;

const PRODUCTION: &[&str] = &["docker-compose.yml", "docker-compose.prod.yml"];

/// `compose config` on `files`, with the variables of `env_file` and nobody's own `.env`.
fn config(files: &[&str], env_file: &str, arguments: &[&str]) -> Output {
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
    command.current_dir(workspace_root());
    for file in files {
        command.args(["--file", file]);
    }
    command
        .args(["--env-file", env_file, "config"])
        .args(arguments)
        .output()
        .expect("neither `docker compose` nor `docker-compose`: run scripts/bootstrap")
}

fn accepts(files: &[&str], env_file: &str) {
    let output = config(files, env_file, &["--quiet"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("variable is not set"), "{errors}");
}

/// .env.example with each of its lines in effect; what has no default gets a value.
fn everything_set() -> tempfile::NamedTempFile {
    let lines: Vec<String> = text(".env.example")
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| match line.strip_suffix('=') {
            Some(name) => format!("{name}=0123456789abcdef0123456789abcdef"),
            None => line.to_owned(),
        })
        .collect();
    assert!(lines.len() > 80, "{lines:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    file
}

#[test]
fn with_nothing_set() {
    let nothing = tempfile::NamedTempFile::new().unwrap();
    let path = nothing.path().display().to_string();
    accepts(&["docker-compose.yml"], &path);
    accepts(PRODUCTION, &path);
}

#[test]
fn with_everything_set() {
    let env_file = everything_set();
    let path = env_file.path().display().to_string();
    accepts(&["docker-compose.yml"], &path);
    accepts(PRODUCTION, &path);
}

#[test]
fn what_stands_in_env_reaches_the_services() {
    let env_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        env_file.path(),
        "STREAM_KEY_TTL_H=31\nPROXY_MEDIA_TIMEOUT_S=32\nREDIS_IMAGE=redis:of-env\n",
    )
    .unwrap();
    let path = env_file.path().display().to_string();
    let output = config(&["docker-compose.yml"], &path, &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    for (name, value) in [
        ("STREAM_KEY_TTL_H", "31"),
        ("MEDIA_TIMEOUT_S", "32"),
        ("image", "redis:of-env"),
    ] {
        let is_said = said.lines().any(|line| {
            line.trim()
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(": "))
                .is_some_and(|rest| rest.trim_matches(['"', '\'']) == value)
        });
        assert!(is_said, "{name}: {said}");
    }
}
