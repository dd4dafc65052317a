//! The files, read.

use std::collections::{BTreeMap, BTreeSet};

use marquee_testkit::infra::workspace_root;
use serde::Deserialize;
use serde_json::Value;

/// A file of this checkout.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(workspace_root().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A compose file with its anchors resolved and its variables as they are written.
#[derive(Debug, Deserialize)]
pub struct Compose {
    pub services: BTreeMap<String, Service>,
    #[serde(default)]
    pub networks: BTreeMap<String, Option<Network>>,
    #[serde(default)]
    pub volumes: BTreeMap<String, Option<Value>>,
}

#[derive(Debug, Deserialize)]
pub struct Network {
    #[serde(default)]
    pub internal: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    pub image: Option<String>,
    pub build: Option<Build>,
    pub command: Option<Value>,
    pub user: Option<String>,
    pub container_name: Option<String>,
    pub profiles: Vec<String>,
    pub restart: Option<String>,
    pub stop_grace_period: Option<String>,
    pub read_only: bool,
    pub cap_drop: Vec<String>,
    pub cap_add: Vec<String>,
    pub privileged: bool,
    pub security_opt: Vec<String>,
    pub mem_limit: Option<String>,
    pub pids_limit: Option<u32>,
    pub cpu_shares: Option<u32>,
    pub logging: Option<Logging>,
    pub network_mode: Option<String>,
    pub networks: BTreeSet<String>,
    pub ports: Vec<String>,
    pub volumes: Vec<String>,
    pub environment: BTreeMap<String, Option<String>>,
    pub depends_on: BTreeMap<String, Dependency>,
    pub healthcheck: Option<Healthcheck>,
}

#[derive(Debug, Deserialize)]
pub struct Build {
    pub context: String,
    pub dockerfile: String,
    pub target: String,
    pub args: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub struct Logging {
    pub options: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub condition: String,
}

#[derive(Debug, Deserialize)]
pub struct Healthcheck {
    pub test: Vec<String>,
}

impl Service {
    /// Ends by itself, and is not started again.
    pub fn runs_once(&self) -> bool {
        self.restart.as_deref() == Some("no")
    }

    /// What it mounts: (volume, where, whether read-only).
    pub fn mounts(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.volumes.iter().map(|volume| {
            let parts: Vec<&str> = volume.split(':').collect();
            (parts[0], parts[1], parts.get(2) == Some(&"ro"))
        })
    }
}

/// docker-compose.yml.
pub fn compose() -> Compose {
    serde_saphyr::from_str(&text("docker-compose.yml")).unwrap()
}

/// docker-compose.prod.yml, by itself.
pub fn overlay() -> Compose {
    serde_saphyr::from_str(&text("docker-compose.prod.yml")).unwrap()
}

/// Every `${NAME…}` of docker-compose.yml, with its default.
pub fn interpolations() -> BTreeMap<String, BTreeSet<String>> {
    let text = text("docker-compose.yml");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for part in text.split("${").skip(1) {
        let (inside, _) = part.split_once('}').expect("a closing brace");
        let (name, default) = inside
            .split_once(":-")
            .unwrap_or_else(|| panic!("${{{inside}}} has no default"));
        found
            .entry(name.to_owned())
            .or_default()
            .insert(default.to_owned());
    }
    found
}
