//! What the manifests say.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde::Deserialize;

use super::source::root;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Package {
    fn is_service(&self) -> bool {
        self.folder().starts_with("services/")
    }

    /// Its folder below the root.
    fn folder(&self) -> String {
        let folder = Path::new(&self.manifest_path).parent().unwrap();
        folder.strip_prefix(root()).unwrap().display().to_string()
    }

    fn dir(&self) -> String {
        self.folder().rsplit('/').next().unwrap().to_owned()
    }

    /// Names of the workspace's packages it is built with, or tested with.
    fn own_dependencies(&self, kind: Option<&str>) -> BTreeSet<&str> {
        self.dependencies
            .iter()
            .filter(|dependency| dependency.kind.as_deref() == kind)
            .filter_map(|dependency| dependency.name.strip_prefix("marquee-"))
            .collect()
    }
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    metadata.packages
}

/// Workspace crates that a package may be built with.
fn allowed(folder: &str) -> &'static [&'static str] {
    match folder {
        "services/transcoder" => &["common", "srt", "rtmp", "hls"],
        "services/recording" | "services/playback" => &["common", "hls"],
        "crates/rtmp" => &["hls"],
        "crates/testkit" => &["common"],
        _ if folder.starts_with("services/") => &["common"],
        _ => &[],
    }
}

#[test]
fn a_package_is_built_only_with_the_crates_it_may_know() {
    for package in packages() {
        let allowed = allowed(&package.folder());
        for dependency in package.own_dependencies(None) {
            assert!(
                allowed.contains(&dependency),
                "{} uses {dependency}",
                package.name
            );
        }
    }
}

#[test]
fn no_package_depends_on_a_service_not_even_in_its_tests() {
    let packages = packages();
    let services: BTreeSet<String> = packages
        .iter()
        .filter(|package| package.is_service())
        .map(Package::dir)
        .collect();
    assert!(!services.is_empty());
    for package in &packages {
        for kind in [None, Some("dev"), Some("build")] {
            for dependency in package.own_dependencies(kind) {
                assert!(
                    !services.contains(dependency),
                    "{} uses {dependency}",
                    package.name
                );
            }
        }
    }
}

#[test]
fn package_folder_and_binary_have_one_name() {
    for package in packages() {
        let dir = package.dir();
        assert_eq!(package.name, format!("marquee-{dir}"));
        if package.is_service() {
            let binaries: Vec<&str> = package
                .targets
                .iter()
                .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
                .map(|target| target.name.as_str())
                .collect();
            assert_eq!(binaries, [dir.as_str()], "binaries of {}", package.name);
        }
    }
}

#[test]
fn hls_does_no_io() {
    let packages = packages();
    let hls = packages
        .iter()
        .find(|package| package.name == "marquee-hls")
        .unwrap();
    for dependency in hls
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind.is_none())
    {
        let does_io = [
            "tokio",
            "reqwest",
            "hyper",
            "axum",
            "sqlx",
            "redis",
            "aws-sdk-s3",
        ];
        assert!(
            !does_io.contains(&dependency.name.as_str()),
            "{}",
            dependency.name
        );
    }
}

#[test]
fn servers_are_never_mocked() {
    let mocks = [
        "mockall",
        "mockito",
        "redis-test",
        "aws-smithy-mocks",
        "mini-redis",
    ];
    for package in packages() {
        for dependency in &package.dependencies {
            let mocked = mocks.contains(&dependency.name.as_str());
            assert!(!mocked, "{} uses {}", package.name, dependency.name);
        }
    }
}

#[test]
fn versions_and_features_stand_in_the_root_manifest_alone() {
    for package in packages() {
        let text = fs::read_to_string(&package.manifest_path).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for (name, value) in dependencies {
                let from_root = value.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(from_root, Some(true), "{name} in {}", package.folder());
                // Ours choose the parts of `common`; of others everybody builds the same.
                let has_features = value.get("features").is_some();
                assert!(
                    !has_features || name.starts_with("marquee-"),
                    "features of {name} in {}",
                    package.folder()
                );
            }
        }
    }
}

#[test]
fn every_member_takes_the_workspaces_lints() {
    for package in packages() {
        let text = fs::read_to_string(&package.manifest_path).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        // The one crate with `unsafe` cannot inherit its prohibition.
        let is_srt = package.folder() == "crates/srt";
        assert!(inherits == Some(true) || is_srt, "{}", package.folder());
    }
}
