//! What stands in a file is as good as what stands in a variable, and nothing of it is ever shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap is a failed test"
)]

use std::{collections::HashMap, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser};
use tempfile::TempDir;

use super::*;
use crate::{
    config::{AuthConfig, Secret},
    s3::S3Config,
};

const JWT: &str = "0123456789abcdef0123456789abcdef";
const INTERNAL: &str = "fedcba9876543210fedcba9876543210";

#[derive(Debug, Parser)]
struct TestConfig {
    #[command(flatten)]
    auth: AuthConfig,
    #[command(flatten)]
    s3: S3Config,
    #[arg(long, env = "SRT_PASSPHRASE", hide_env_values = true)]
    srt_passphrase: Option<String>,
    /// Not a secret: has no `…_FILE`.
    #[arg(long, env = "REALM", default_value = "here")]
    realm: String,
}

/// A folder of secrets and an environment that names them.
struct Given {
    folder: TempDir,
    environment: HashMap<String, OsString>,
}

impl Given {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            environment: HashMap::new(),
        }
    }

    fn path(&self, variable: &str) -> PathBuf {
        self.folder.path().join(variable)
    }

    fn file(self, variable: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.path(variable), content).unwrap();
        self.names_a_file(variable)
    }

    fn names_a_file(mut self, variable: &str) -> Self {
        let path = self.path(variable).into_os_string();
        self.environment.insert(format!("{variable}_FILE"), path);
        self
    }

    fn variable(mut self, variable: &str, value: &str) -> Self {
        self.environment.insert(variable.to_owned(), value.into());
        self
    }

    fn expand(&self, args: &[&str]) -> Result<Vec<OsString>, Vec<SecretFileError>> {
        let mut command = TestConfig::command();
        command.build();
        let args = args.iter().map(OsString::from).collect();
        expand(&command, args, |name| {
            let value = self.environment.get(name).cloned();
            value.filter(|value| !value.is_empty())
        })
    }

    fn config(&self, args: &[&str]) -> TestConfig {
        let args = self.expand(args).unwrap();
        let matches = TestConfig::command().try_get_matches_from(args).unwrap();
        TestConfig::from_arg_matches(&matches).unwrap()
    }

    fn only_error(&self) -> String {
        let errors = self.expand(&["auth"]).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].to_string()
    }
}

fn both_keys() -> Given {
    Given::new()
        .file("JWT_SECRET_KEY", JWT)
        .file("INTERNAL_API_KEY", INTERNAL)
}

#[test]
fn a_file_gives_what_the_variable_would() {
    let config = both_keys()
        .file("S3_SECRET_KEY", "abcdefghijklmnopqrstuvwxyz012345")
        .config(&["auth", "--s3-access-key", "marquee"]);
    assert_eq!(config.auth.jwt_secret_key, JWT.parse::<Secret>().unwrap());
    assert_eq!(config.auth.internal_api_key.expose(), INTERNAL);
    assert_eq!(
        config.s3.s3_secret_key.unwrap().expose(),
        "abcdefghijklmnopqrstuvwxyz012345"
    );
}

#[test]
fn only_the_newline_at_its_end_is_taken_off() {
    for (content, passphrase) in [
        (" two words \n", " two words "),
        (" two words \r\n", " two words "),
        ("--looks=like a flag", "--looks=like a flag"),
        ("a line\n\n", "a line\n"),
    ] {
        let config = both_keys()
            .file("SRT_PASSPHRASE", content)
            .config(&["auth"]);
        assert_eq!(config.srt_passphrase.as_deref(), Some(passphrase));
    }
}

#[test]
fn an_argument_counts_more_than_a_file() {
    for args in [
        ["auth", "--srt-passphrase", "of the command line"].as_slice(),
        &["auth", "--srt-passphrase=of the command line"],
    ] {
        let config = both_keys()
            .file("SRT_PASSPHRASE", "of the file")
            .config(args);
        assert_eq!(config.srt_passphrase.unwrap(), "of the command line");
    }
}

#[test]
fn a_variable_and_its_file_at_once_are_refused_by_name() {
    let given = both_keys().variable("JWT_SECRET_KEY", JWT);
    assert_eq!(
        given.only_error(),
        "JWT_SECRET_KEY and JWT_SECRET_KEY_FILE are both set, set one of them"
    );
}

#[test]
fn an_empty_variable_is_not_set() {
    let given = both_keys()
        .variable("JWT_SECRET_KEY", "")
        .variable("SRT_PASSPHRASE_FILE", "");
    let config = given.config(&["auth"]);
    assert_eq!(config.auth.jwt_secret_key.expose(), JWT);
    assert_eq!(config.srt_passphrase, None);
}

#[test]
fn every_bad_file_is_told_of_by_its_variable() {
    let errors = Given::new()
        .names_a_file("JWT_SECRET_KEY")
        .names_a_file("INTERNAL_API_KEY")
        .expand(&["auth"])
        .unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("JWT_SECRET_KEY_FILE: the file cannot be read: No such file"));
    assert!(lines[1].starts_with("INTERNAL_API_KEY_FILE: the file cannot be read: No such file"));
}

#[test]
fn a_secret_that_was_written_where_the_path_belongs_is_not_shown() {
    let given = Given::new().variable("JWT_SECRET_KEY_FILE", JWT);
    let error = given.expand(&["auth"]).unwrap_err().remove(0);
    assert!(!format!("{error} {error:?}").contains(JWT), "{error:?}");
}

#[test]
fn what_is_no_secret_is_refused_and_not_shown() {
    let largest = usize::try_from(MAX_BYTES).unwrap();
    for (content, complaint) in [
        (vec![b'x'; largest + 1], "is larger than 16384 bytes"),
        (b"hunter2\xff".to_vec(), "is not text"),
        (b"\n".to_vec(), "is empty"),
    ] {
        let error = Given::new().file("JWT_SECRET_KEY", content).only_error();
        assert!(error.starts_with("JWT_SECRET_KEY_FILE: "), "{error}");
        assert!(error.contains(complaint), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_largest_file_is_still_read() {
    let largest = usize::try_from(MAX_BYTES).unwrap();
    let config = both_keys()
        .file("SRT_PASSPHRASE", vec![b'x'; largest])
        .config(&["auth"]);
    assert_eq!(config.srt_passphrase.unwrap().len(), largest);
}

#[test]
fn what_could_block_is_refused_before_it_is_opened() {
    let given = Given::new().names_a_file("JWT_SECRET_KEY");
    let path = given.path("JWT_SECRET_KEY");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    assert_eq!(
        given.only_error(),
        "JWT_SECRET_KEY_FILE: not a regular file"
    );
}

#[test]
fn a_variable_that_is_no_secret_has_no_file() {
    let config = both_keys().file("REALM", "elsewhere").config(&["auth"]);
    assert_eq!(config.realm, "here");
}

#[test]
fn the_help_names_them() {
    let help = documented(TestConfig::command()).render_help().to_string();
    for name in [
        "JWT_SECRET_KEY_FILE",
        "INTERNAL_API_KEY_FILE",
        "S3_SECRET_KEY_FILE",
        "SRT_PASSPHRASE_FILE",
    ] {
        assert!(help.contains(name), "{name}: {help}");
    }
    assert!(!help.contains("REALM_FILE"), "{help}");
}
