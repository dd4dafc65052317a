//! `stack.json`: where everything of a running stack is, for scripts, tests and people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StackDir;
use crate::{
    error::{Result, StackError},
    infra::{Infra, S3},
    state_file::read_json,
};

/// The file's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What a browser opens.
    pub base_url: String,
    /// The API without the edge.
    pub gateway_url: String,
    /// Where publishers push, without the stream id.
    pub srt_url: String,
    /// The same for RTMP, without `/live` and the key.
    pub rtmp_url: String,
    /// The proxy, where it runs.
    pub proxy_url: Option<String>,
    /// The playback service, where it runs.
    pub playback_url: Option<String>,
    /// The S3 server with its root account.
    pub s3: S3,
    /// `redis://127.0.0.1:PORT`
    pub redis_url: String,
    /// Kafka's bootstrap servers.
    pub kafka: String,
    /// PostgreSQL as superuser.
    pub postgres_url: String,
    /// What opens `/internal`.
    pub internal_api_key: String,
    /// Base URLs of the services by name.
    pub services: BTreeMap<String, String>,
    /// Where each transcoder takes SRT.
    pub srt_urls: BTreeMap<String, String>,
    /// Where each transcoder takes RTMP.
    pub rtmp_urls: BTreeMap<String, String>,
    /// The processes by name, those that run now.
    pub pids: BTreeMap<String, i32>,
    /// Accounts to log in with.
    pub users: Vec<User>,
}

/// An account of the local stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub username: String,
    /// Its e-mail address.
    pub email: String,
    /// Its password.
    pub password: String,
    /// `admin` or `user`.
    pub role: String,
    /// Whether it has a subscription.
    pub subscribed: bool,
}

impl Report {
    /// The report of a running stack.
    pub fn read(dir: &StackDir) -> Result<Self> {
        read_json(&dir.stack_file())?.ok_or_else(|| {
            StackError::Refused(format!(
                "no stack runs in {}: `make up` starts one",
                dir.root().display()
            ))
        })
    }

    /// Writes the report with the pids of this moment.
    pub fn write(&mut self, dir: &StackDir) -> Result<()> {
        self.pids = dir
            .records()?
            .into_iter()
            .filter(crate::process::Record::alive)
            .map(|record| (record.spec.name, record.pid))
            .collect();
        dir.write(&dir.stack_file(), self)
    }

    /// The servers' part.
    pub fn infra(&self) -> Infra {
        Infra {
            postgres_url: self.postgres_url.clone(),
            redis_url: self.redis_url.clone(),
            kafka: self.kafka.clone(),
            s3: self.s3.clone(),
        }
    }

    /// An account by name.
    pub fn user(&self, name: &str) -> Result<&User> {
        self.users
            .iter()
            .find(|user| user.username == name)
            .ok_or_else(|| StackError::Refused(format!("this stack has no user {name}")))
    }
}
