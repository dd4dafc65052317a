//! Marquee's own services: their ports, and the environment each one is given.

use std::collections::BTreeMap;

use super::{Options, StackDir};
use crate::{
    error::{Result, StackError},
    infra::Infra,
    process::Spec,
    servers::spec,
};

/// One instance of a service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name in the stack: the binary's, with a number from the second instance on.
    pub name: String,
    /// Its base URL.
    pub url: String,
    /// Where it takes SRT, if it does.
    pub srt_url: Option<String>,
    /// Where it takes RTMP, if it does.
    pub rtmp_url: Option<String>,
    /// How it is started.
    pub spec: Spec,
}

/// Everything that the services' environments are made of.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The stack's folder.
    pub dir: &'a StackDir,
    /// What the caller decided.
    pub options: &'a Options,
    /// The servers.
    pub infra: &'a Infra,
    /// The edge's port.
    pub edge_port: u16,
}

/// The binaries that are services, with their documented ports.
const SERVICES: [(&str, u16); 5] = [
    ("auth", 8081),
    ("stream", 8082),
    ("transcoder", 8086),
    ("proxy", 8088),
    ("gateway", 8080),
];
const SRT_PORT: u16 = 8890;
const RTMP_PORT: u16 = 1935;

impl Plan<'_> {
    /// Every service, one instance each.
    pub fn services(&self) -> Result<Vec<Service>> {
        SERVICES
            .iter()
            .map(|(binary, port)| self.service(binary, binary, Some(*port)))
            .collect()
    }

    /// A further instance of a service: only the transcoder has more than one on one machine.
    pub fn further(&self, binary: &str) -> Result<Service> {
        if binary != "transcoder" {
            return Err(StackError::Refused(format!(
                "a second {binary} is not something the local stack can add; it can add: transcoder"
            )));
        }
        let name = (2..100)
            .map(|number| format!("{binary}-{number}"))
            .find(|name| matches!(self.dir.record(name), Ok(None)))
            .ok_or_else(|| StackError::Refused("a hundred are enough".to_owned()))?;
        self.service(binary, &name, None)
    }

    /// The URL that browsers use.
    pub fn base_url(&self) -> String {
        format!("http://{}:{}", self.options.host, self.edge_port)
    }

    /// Where publishers push to by SRT.
    pub fn srt_url(&self) -> Result<String> {
        self.srt_url_of("transcoder")
    }

    /// Where publishers push to by RTMP.
    pub fn rtmp_url(&self) -> Result<String> {
        self.rtmp_url_of("transcoder")
    }

    fn srt_url_of(&self, name: &str) -> Result<String> {
        let port = self.srt_port(name)?;
        Ok(format!("srt://{}:{port}", self.options.udp_host()))
    }

    fn rtmp_url_of(&self, name: &str) -> Result<String> {
        let port = self.rtmp_port(name)?;
        Ok(format!("rtmp://{}:{port}", self.options.host))
    }

    /// The base URL of a service's first instance.
    pub fn url(&self, binary: &str) -> Result<String> {
        let port = self.port(binary, documented(binary))?;
        Ok(format!("http://127.0.0.1:{port}"))
    }

    fn service(&self, binary: &str, name: &str, port: Option<u16>) -> Result<Service> {
        let program = self.options.bin_dir.join(binary);
        if !program.is_file() {
            return Err(StackError::Refused(format!(
                "{} is not built: run `cargo build --workspace --bins`",
                program.display()
            )));
        }
        let port = self.port(name, port)?;
        let url = format!("http://127.0.0.1:{port}");
        let mut env = self.common_env()?;
        env.insert("PORT", port.to_string());
        env.extend(self.own_env(binary, name, &url)?);
        let mut spec = spec(self.dir, name, vec![program.display().to_string()]);
        spec.env = env
            .into_iter()
            .map(|(variable, value)| (variable.to_owned(), value))
            .collect();
        spec.env.extend(self.options.settings.clone());
        // SHUTDOWN_GRACE_S and some.
        spec.grace_s = 25;
        let (srt_url, rtmp_url) = match binary {
            "transcoder" => (Some(self.srt_url_of(name)?), Some(self.rtmp_url_of(name)?)),
            _ => (None, None),
        };
        Ok(Service {
            name: name.to_owned(),
            url,
            srt_url,
            rtmp_url,
            spec,
        })
    }

    fn common_env(&self) -> Result<BTreeMap<&'static str, String>> {
        let infra = self.infra;
        let redis_port = infra.redis_url.rsplit(':').next().unwrap_or_default();
        Ok(BTreeMap::from([
            ("BIND_ADDR", "127.0.0.1".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
            ("RUST_LOG", "info".to_owned()),
            ("REDIS_HOST", "127.0.0.1".to_owned()),
            ("REDIS_PORT", redis_port.to_owned()),
            ("KAFKA_BOOTSTRAP_SERVERS", infra.kafka.clone()),
            ("ENABLE_KAFKA", "true".to_owned()),
            ("S3_ENDPOINT_URL", infra.s3.endpoint.clone()),
            ("S3_ACCESS_KEY", infra.s3.access_key.clone()),
            ("S3_SECRET_KEY", infra.s3.secret_key.clone()),
            ("S3_REGION", "us-east-1".to_owned()),
            ("JWT_SECRET_KEY", self.dir.secret("jwt_secret_key")?),
            ("INTERNAL_API_KEY", self.dir.secret("internal_api_key")?),
            ("PUBLIC_BASE_URL", self.base_url()),
            ("PUBLIC_SRT_URL", self.srt_url()?),
            ("PUBLIC_RTMP_URL", self.rtmp_url()?),
            ("TRUSTED_PROXIES", "127.0.0.0/8,::1/128".to_owned()),
            ("CORS_ALLOWED_ORIGINS", self.origins()),
        ]))
    }

    /// The page's own origin under both names of this machine, and Vite's development server.
    fn origins(&self) -> String {
        [
            self.base_url(),
            format!("http://127.0.0.1:{}", self.edge_port),
            "http://localhost:5173".to_owned(),
        ]
        .join(",")
    }

    fn own_env(&self, binary: &str, name: &str, url: &str) -> Result<Vec<(&'static str, String)>> {
        Ok(match binary {
            "auth" => vec![("DB_URL", self.database("auth_db", "auth")?)],
            "stream" => vec![
                ("DB_URL", self.database("streams_db", "stream")?),
                ("USER_SERVICE_URL", self.url("auth")?),
                ("AUTH_FDW_HOST", "127.0.0.1".to_owned()),
                ("AUTH_FDW_PORT", self.postgres_port().to_owned()),
                ("AUTH_FDW_DB", "auth_db".to_owned()),
                ("AUTH_FDW_USER", "marquee_fdw".to_owned()),
                ("AUTH_FDW_PASSWORD", self.dir.secret("db_fdw")?),
            ],
            "transcoder" => vec![
                ("STREAM_SERVICE_URL", self.url("stream")?),
                ("ADVERTISE_URL", url.to_owned()),
                (
                    "ADVERTISE_ADDR",
                    url.trim_start_matches("http://").to_owned(),
                ),
                (
                    "SRT_BIND",
                    format!("{}:{}", self.options.public_address(), self.srt_port(name)?),
                ),
                (
                    "RTMP_BIND",
                    format!(
                        "{}:{}",
                        self.options.public_address(),
                        self.rtmp_port(name)?
                    ),
                ),
                ("SPILL_DIR", self.dir.data(name).display().to_string()),
            ],
            // What it needs is what all have.
            "proxy" => Vec::new(),
            _ => vec![
                ("AUTH_SERVICE_URL", self.url("auth")?),
                ("STREAM_SERVICE_URL", self.url("stream")?),
                ("PROXY_SERVICE_URL", self.url("proxy")?),
                // A hundredfold: all of a test's viewers and broadcasters come from one address.
                ("RATE_LIMIT_ADDRESS", "10000/s".to_owned()),
                ("RATE_LIMIT_ADDRESS_BURST", "20000".to_owned()),
                ("RATE_LIMIT_LOGIN", "1000/min".to_owned()),
                ("RATE_LIMIT_REGISTER", "6000/h".to_owned()),
                ("RATE_LIMIT_GENERATE_KEY", "1000/h".to_owned()),
                ("RATE_LIMIT_HEARTBEAT", "3000/min".to_owned()),
                ("RATE_LIMIT_HEARTBEAT_ADDRESS", "100000/s".to_owned()),
            ],
        })
    }

    fn database(&self, database: &str, role: &str) -> Result<String> {
        Ok(format!(
            "postgres://marquee_{role}:{}@127.0.0.1:{}/{database}",
            self.dir.secret(&format!("db_{role}"))?,
            self.postgres_port()
        ))
    }

    fn postgres_port(&self) -> &str {
        let url = &self.infra.postgres_url;
        let authority = url.rsplit_once('/').map_or(url.as_str(), |(head, _)| head);
        authority.rsplit(':').next().unwrap_or("5432")
    }

    fn port(&self, name: &str, documented: Option<u16>) -> Result<u16> {
        let documented = documented.filter(|_| self.options.documented_ports);
        self.dir.tcp_port(name, name, documented)
    }

    fn srt_port(&self, name: &str) -> Result<u16> {
        let documented =
            (name == "transcoder" && self.options.documented_ports).then_some(SRT_PORT);
        self.dir.udp_port(name, &format!("{name}-srt"), documented)
    }

    fn rtmp_port(&self, name: &str) -> Result<u16> {
        let documented =
            (name == "transcoder" && self.options.documented_ports).then_some(RTMP_PORT);
        self.dir.tcp_port(name, &format!("{name}-rtmp"), documented)
    }
}

fn documented(binary: &str) -> Option<u16> {
    SERVICES
        .iter()
        .find(|(name, _)| *name == binary)
        .map(|(_, port)| *port)
}
