//! What the caller of `stack up` decides, kept in the folder so that `stack add` decides the same.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{infra::workspace_root, servers::ServerOptions};

/// How a stack is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The name under which browsers and encoders reach this machine. With any but `localhost` the
    /// edge and the SRT and RTMP listeners are open to the network.
    pub host: String,
    /// Whether the documented ports are asked for first.
    pub documented_ports: bool,
    /// Variables for every service, over what the launcher sets.
    pub settings: BTreeMap<String, String>,
    /// The folder of the services' binaries.
    pub bin_dir: PathBuf,
    /// The folder of the built web page.
    pub web_root: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        // The launcher is built together with the services, wherever `CARGO_TARGET_DIR` is.
        let bin_dir = std::env::current_exe()
            .ok()
            .and_then(|exe| exe.parent().map(PathBuf::from))
            .unwrap_or_else(|| workspace_root().join("target/debug"));
        Self {
            host: "localhost".to_owned(),
            documented_ports: true,
            settings: BTreeMap::new(),
            bin_dir,
            web_root: workspace_root().join("web/dist"),
        }
    }
}

impl Options {
    /// The address that what the public reaches listens on.
    pub(crate) fn public_address(&self) -> &'static str {
        if self.host == "localhost" {
            "127.0.0.1"
        } else {
            "0.0.0.0"
        }
    }

    /// The host for URLs of UDP: `localhost` may be tried as IPv6, and nobody says that nothing
    /// listens there.
    pub(crate) fn udp_host(&self) -> &str {
        if self.host == "localhost" {
            "127.0.0.1"
        } else {
            &self.host
        }
    }

    pub(crate) fn servers(&self) -> ServerOptions {
        ServerOptions {
            documented_ports: self.documented_ports,
            durable: true,
        }
    }
}
