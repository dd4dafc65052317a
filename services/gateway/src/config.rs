//! What the gateway is told by its environment; `gateway --help` lists it.

use std::{net::IpAddr, time::Duration};

use clap::Parser;
use ipnet::IpNet;
use marquee_common::config::{HttpConfig, LogConfig};

use crate::{
    forward::Deadlines,
    route_table::ServiceName,
    upstream::{UpstreamUrl, Upstreams},
};

/// The door to the platform's API.
///
/// `BODY_LIMIT_BYTES` bounds the body of every API request, `REQUEST_TIMEOUT_S` the wait for the
/// head of an answer.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway", version)]
pub struct Config {
    /// Port of the HTTP interface
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// The HTTP interface.
    #[command(flatten)]
    pub http: HttpConfig,
    /// Logs.
    #[command(flatten)]
    pub log: LogConfig,
    /// The services behind.
    #[command(flatten)]
    pub services: ServiceUrls,
    /// The world in front.
    #[command(flatten)]
    pub edge: EdgeConfig,
}

/// Where the services are. Paths of a service without a URL are answered 503.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceUrls {
    /// The auth service
    #[arg(
        long,
        env = "AUTH_SERVICE_URL",
        default_value = "http://localhost:8081"
    )]
    pub auth_service_url: UpstreamUrl,
    /// The stream service
    #[arg(
        long,
        env = "STREAM_SERVICE_URL",
        default_value = "http://localhost:8082"
    )]
    pub stream_service_url: UpstreamUrl,
    /// The recording service
    #[arg(long, env = "RECORDING_SERVICE_URL")]
    pub recording_service_url: Option<UpstreamUrl>,
    /// The vod service
    #[arg(long, env = "VOD_SERVICE_URL")]
    pub vod_service_url: Option<UpstreamUrl>,
    /// The playback service
    #[arg(long, env = "PLAYBACK_SERVICE_URL")]
    pub playback_service_url: Option<UpstreamUrl>,
    /// The proxy
    #[arg(long, env = "PROXY_SERVICE_URL")]
    pub proxy_service_url: Option<UpstreamUrl>,
}

impl ServiceUrls {
    /// The services that are run.
    pub fn upstreams(&self) -> Upstreams {
        ServiceName::ALL
            .into_iter()
            .filter_map(|service| Some((service, self.url(service)?.clone())))
            .collect()
    }

    fn url(&self, service: ServiceName) -> Option<&UpstreamUrl> {
        match service {
            ServiceName::Auth => Some(&self.auth_service_url),
            ServiceName::Stream => Some(&self.stream_service_url),
            ServiceName::Recording => self.recording_service_url.as_ref(),
            ServiceName::Vod => self.vod_service_url.as_ref(),
            ServiceName::Playback => self.playback_service_url.as_ref(),
            ServiceName::Proxy => self.proxy_service_url.as_ref(),
        }
    }
}

/// Who is in front, and how long anything may take.
#[derive(Clone, Debug, clap::Args)]
pub struct EdgeConfig {
    /// Origins whose pages may call the API with cookies; `*` admits every page without them
    #[arg(
        long,
        env = "CORS_ALLOWED_ORIGINS",
        value_delimiter = ',',
        default_value = "http://localhost"
    )]
    pub cors_allowed_origins: Vec<String>,
    /// Networks of the proxies in front whose forwarded headers are believed (`10.0.0.0/8,::1/128`)
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Until a connection to a service stands, in milliseconds
    #[arg(long, env = "CONNECT_TIMEOUT_MS", default_value_t = 2_000)]
    pub connect_timeout_ms: u64,
    /// Until a client has sent its body, in seconds
    #[arg(long, env = "UPLOAD_TIMEOUT_S", default_value_t = 60)]
    pub upload_timeout_s: u64,
    /// Longest silence within an answer, in seconds; event streams send something more often
    #[arg(long, env = "SILENCE_TIMEOUT_S", default_value_t = 60)]
    pub silence_timeout_s: u64,
}

impl Config {
    /// How long each phase of a request may take.
    pub fn deadlines(&self) -> Deadlines {
        Deadlines {
            connect: Duration::from_millis(self.edge.connect_timeout_ms),
            upload: Duration::from_secs(self.edge.upload_timeout_s),
            answer: self.http.request_timeout(),
            silence: Duration::from_secs(self.edge.silence_timeout_s),
        }
    }
}

/// A network, or a single address.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "must be like 10.0.0.0/8, ::1/128 or 10.0.0.1".to_owned())
}
