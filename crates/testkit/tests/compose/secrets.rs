//! Each container gets its own secrets and no others, and production none that was made up: deploy/compose/secrets.sh
//! is run here on folders in place of volumes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Command, Output},
};

use marquee_testkit::infra::workspace_root;
use tempfile::TempDir;

use crate::files::{compose, overlay};

const GOOD: &str = "kL9-x_2vQ8rT5yU1iO4pA7sD0fG3hJ6z";
const ADDRESSES: [(&str, &str); 4] = [
    ("PUBLIC_BASE_URL", "https://live.example.org"),
    ("PUBLIC_SRT_URL", "srt://live.example.org:8890"),
    ("PUBLIC_RTMP_URL", "rtmp://live.example.org:1935"),
    ("CORS_ALLOWED_ORIGINS", "https://live.example.org"),
];

/// The volumes that `secrets` mounts, as folders.
struct Volumes(TempDir);

impl Volumes {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (_, path, _) in compose().services["secrets"].mounts() {
            let name = path.strip_prefix("/secrets/").unwrap();
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn run(&self, mode: &str, environment: &[(&str, &str)]) -> Output {
        Command::new(workspace_root().join("deploy/compose/secrets.sh"))
            .arg(mode)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("SECRETS_VOLUMES", self.0.path())
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    fn generate(&self, environment: &[(&str, &str)]) {
        let output = self.run("generate", environment);
        assert!(output.status.success(), "{output:?}");
    }

    /// What it says when it refuses.
    fn refuses(&self, mode: &str, environment: &[(&str, &str)]) -> String {
        let output = self.run(mode, environment);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(self.handed_out().is_empty(), "secrets were handed out");
        String::from_utf8(output.stderr).unwrap()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Every file that a consumer got, as `consumer/NAME`, with its content.
    fn handed_out(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for consumer in std::fs::read_dir(self.0.path()).unwrap() {
            let consumer = consumer.unwrap().file_name().into_string().unwrap();
            if consumer == "kept" {
                continue;
            }
            for file in std::fs::read_dir(self.path(&consumer)).unwrap() {
                let name = file.unwrap().file_name().into_string().unwrap();
                let path = format!("{consumer}/{name}");
                found.insert(path.clone(), self.read(&path));
            }
        }
        found
    }
}

/// The secrets of production, as docker-compose.yml passes them on.
fn required() -> Vec<String> {
    let demo = ["ADMIN_PASSWORD", "VIEWER_PASSWORD", "DEMO_PASSWORD"];
    let environment = compose().services["secrets"].environment.clone();
    environment
        .into_keys()
        .filter(|name| !demo.contains(&name.as_str()))
        .collect()
}

/// An environment with which production starts.
fn complete(required: &[String]) -> Vec<(&str, &str)> {
    let secrets = required.iter().map(|name| (name.as_str(), GOOD));
    secrets.chain(ADDRESSES).collect()
}

#[test]
fn a_second_start_hands_out_what_the_first_one_made() {
    let volumes = Volumes::new();
    volumes.generate(&[]);
    let first = volumes.handed_out();
    volumes.generate(&[]);
    assert_eq!(volumes.handed_out(), first);

    let fresh = Volumes::new();
    fresh.generate(&[]);
    for (file, secret) in fresh.handed_out() {
        assert_ne!(first[&file], secret, "{file}");
    }
}

#[test]
fn what_is_made_is_long_and_used_once() {
    let volumes = Volumes::new();
    volumes.generate(&[]);
    let mut seen = BTreeSet::new();
    for file in std::fs::read_dir(volumes.path("kept")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let secret = volumes.read(&format!("kept/{name}"));
        // Passwords of the demo's accounts are typed by people: 96 bits. All others have 256.
        let is_typed =
            ["ADMIN_PASSWORD", "VIEWER_PASSWORD", "DEMO_PASSWORD"].contains(&name.as_str());
        assert_eq!(secret.len(), if is_typed { 16 } else { 43 }, "{name}");
        assert!(seen.insert(secret), "{name} is another one's");
    }
    assert_eq!(seen.len(), required().len() + 3);
}

#[test]
fn everybody_is_given_what_it_reads_and_nothing_else() {
    let volumes = Volumes::new();
    volumes.generate(&[]);
    let mut read = BTreeSet::new();
    for (name, service) in compose().services {
        for (volume, path, is_read_only) in service.mounts() {
            let Some(consumer) = volume.strip_prefix("secrets-") else {
                continue;
            };
            if name == "secrets" {
                assert_eq!(path, format!("/secrets/{consumer}"));
                continue;
            }
            assert_eq!((path, is_read_only), ("/run/secrets", true), "{name}");
            let files = service
                .environment
                .iter()
                .filter(|(name, _)| name.ends_with("_FILE"));
            for (_, file) in files {
                let file = file
                    .as_ref()
                    .unwrap()
                    .strip_prefix("/run/secrets/")
                    .unwrap();
                read.insert(format!("{consumer}/{file}"));
            }
            // These scripts read theirs by name.
            let script = match name.as_str() {
                "accounts" => "ADMIN_PASSWORD VIEWER_PASSWORD DEMO_PASSWORD",
                "broadcaster" => "DEMO_PASSWORD",
                "databases" => {
                    "POSTGRES_PASSWORD AUTH_DB_PASSWORD STREAM_DB_PASSWORD RECORDING_DB_PASSWORD \
                     VOD_DB_PASSWORD PLAYBACK_DB_PASSWORD AUTH_FDW_PASSWORD"
                }
                _ => "",
            };
            read.extend(
                script
                    .split_whitespace()
                    .map(|file| format!("{consumer}/{file}")),
            );
        }
    }
    let given: BTreeSet<String> = volumes.handed_out().into_keys().collect();
    assert_eq!(given, read);
}

#[test]
fn a_volume_of_secrets_has_one_reader() {
    let mut readers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, service) in compose().services {
        for (volume, ..) in service
            .mounts()
            .filter(|(volume, ..)| volume.starts_with("secrets"))
        {
            readers
                .entry(volume.to_owned())
                .or_default()
                .push(name.clone());
        }
    }
    for (volume, readers) in readers {
        let expected = if volume == "secrets" { 1 } else { 2 };
        assert_eq!(readers.len(), expected, "{volume}: {readers:?}");
        assert!(readers.contains(&"secrets".to_owned()), "{volume}");
    }
}

#[test]
fn no_secret_stands_in_an_environment() {
    let required = required();
    for (name, service) in compose().services {
        if name == "secrets" {
            assert!(
                service.environment.values().all(Option::is_none),
                "a secret has a default"
            );
            continue;
        }
        for secret in &required {
            assert!(
                !service.environment.contains_key(secret),
                "{name}: {secret}"
            );
        }
    }
}

#[test]
fn one_that_is_set_wins_and_the_kept_one_comes_back() {
    let volumes = Volumes::new();
    volumes.generate(&[]);
    let made = volumes.read("gateway/JWT_SECRET_KEY");
    volumes.generate(&[("JWT_SECRET_KEY", GOOD)]);
    for consumer in ["auth", "gateway", "proxy", "stream"] {
        assert_eq!(volumes.read(&format!("{consumer}/JWT_SECRET_KEY")), GOOD);
    }
    volumes.generate(&[("JWT_SECRET_KEY", "")]);
    assert_eq!(volumes.read("gateway/JWT_SECRET_KEY"), made);
}

#[test]
fn a_password_with_signs_of_all_kinds_fits_into_a_url() {
    let volumes = Volumes::new();
    let password = "p@ss/w:rd?with#all%of&them+and=32.bytes";
    volumes.generate(&[("AUTH_DB_PASSWORD", password)]);
    assert_eq!(volumes.read("databases/AUTH_DB_PASSWORD"), password);
    assert_eq!(
        volumes.read("auth/AUTH_DB_URL"),
        "postgres://marquee_auth:p%40ss%2Fw%3Ard%3Fwith%23all%25of%26them%2Band%3D32.bytes@postgres:5432/auth_db"
    );
}

#[test]
fn a_bad_one_is_refused_by_name_and_not_shown() {
    for (secret, complaint) in [
        (
            "hunter2hunter2",
            "JWT_SECRET_KEY: 14 characters are too short",
        ),
        (
            "hunter2hunter2hunter2hunter2 hunter2",
            "JWT_SECRET_KEY: spaces",
        ),
        (
            "hunter2hunter2hunter2hunter2\nhunter2",
            "JWT_SECRET_KEY: spaces",
        ),
    ] {
        let said = Volumes::new().refuses("generate", &[("JWT_SECRET_KEY", secret)]);
        assert!(said.starts_with(&format!("secrets: {complaint}")), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn an_example_of_the_documents_is_refused() {
    let example = "Your-Secret-Key-Change-In-Production";
    for mode in ["generate", "check"] {
        let said = Volumes::new().refuses(mode, &[("JWT_SECRET_KEY", example)]);
        assert!(
            said.starts_with("secrets: JWT_SECRET_KEY: this is an example"),
            "{said}"
        );
    }
}

#[test]
fn production_says_everything_that_is_missing() {
    let said = Volumes::new().refuses("check", &[]);
    let lines: Vec<&str> = said.lines().collect();
    let required = required();
    assert_eq!(required.len(), 10);
    for name in required
        .iter()
        .map(String::as_str)
        .chain(ADDRESSES.map(|(name, _)| name))
    {
        let about = format!("secrets: {name} is not set");
        assert_eq!(
            lines.iter().filter(|line| line.starts_with(&about)).count(),
            1,
            "{said}"
        );
    }
    assert_eq!(lines.len(), required.len() + ADDRESSES.len() + 1);
}

#[test]
fn production_refuses_each_short_secret_and_each_local_address() {
    let required = required();
    let bad = required.iter().map(|name| (name.as_str(), "short")).chain([
        ("PUBLIC_BASE_URL", "http://localhost"),
        ("PUBLIC_SRT_URL", "srt://127.0.0.1:8890"),
        ("PUBLIC_RTMP_URL", "rtmp://localhost:1935"),
        ("CORS_ALLOWED_ORIGINS", "https://live.example.org,*"),
    ]);
    for (name, value) in bad {
        let mut environment = complete(&required);
        environment.push((name, value));
        let said = Volumes::new().refuses("check", &environment);
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.starts_with(&format!("secrets: {name}: ")), "{said}");
    }
}

#[test]
fn production_starts_with_all_of_them_and_without_a_demo() {
    let volumes = Volumes::new();
    volumes.generate(&[]);
    let required = required();
    let output = volumes.run("check", &complete(&required));
    assert!(output.status.success(), "{output:?}");
    let handed_out = volumes.handed_out();
    assert_eq!(handed_out["auth/JWT_SECRET_KEY"], GOOD);
    let of_the_demo: Vec<&String> = handed_out
        .keys()
        .filter(|file| file.starts_with("accounts/") || file.starts_with("broadcaster/"))
        .collect();
    assert!(of_the_demo.is_empty(), "{of_the_demo:?}");
}

#[test]
fn production_passes_on_what_it_judges() {
    let overlay = overlay();
    let environment = &overlay.services["secrets"].environment;
    let expected: BTreeMap<String, Option<String>> =
        ADDRESSES.map(|(name, _)| (name.to_owned(), None)).into();
    assert_eq!(environment, &expected);
}
