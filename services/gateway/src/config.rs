//! What the gateway is told by its environment; `gateway --help` lists it.

use std::time::Duration;

use clap::{Parser, builder::BoolishValueParser};
use ipnet::IpNet;
use marquee_common::{
    config::{HttpConfig, LogConfig, TokenConfig},
    forwarding::parse_network,
    redis::RedisConfig,
};

use crate::{
    forward::Deadlines,
    rate_limit::{Figures, Rate},
    route_table::ServiceName,
    upstream::{UpstreamUrl, Upstreams},
};

/// The door to the platform's API.
///
/// `BODY_LIMIT_BYTES` bounds the body of every API request (most routes take 64 KiB at most),
/// `REQUEST_TIMEOUT_S` the wait for the head of an answer. Redis only counts requests; while it is
/// away, each gateway counts alone.
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
    /// How often clients may ask.
    #[command(flatten)]
    pub limits: LimitConfig,
    /// Where requests are counted.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// Whose tokens are.
    #[command(flatten)]
    pub tokens: TokenConfig,
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
    /// Until a client has sent the body of an API request, in seconds
    #[arg(long, env = "UPLOAD_TIMEOUT_S", default_value_t = 60)]
    pub upload_timeout_s: u64,
    /// Until an answer under /stream begins, in seconds; low-latency playlists are held back
    #[arg(long, env = "MEDIA_TIMEOUT_S", default_value_t = 60)]
    pub media_timeout_s: u64,
    /// Longest silence within an answer, or within a body sent to /stream, in seconds; event streams
    /// send something more often
    #[arg(long, env = "SILENCE_TIMEOUT_S", default_value_t = 60)]
    pub silence_timeout_s: u64,
}

/// How often clients may ask. A rate is a number and s, min or h (`100/s`): so many at once, and as
/// many again in that time.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitConfig {
    /// Whether requests are counted at all; only a benchmark wants `false`
    #[arg(
        long,
        env = "ENABLE_RATE_LIMITS",
        default_value = "true",
        action = clap::ArgAction::Set,
        value_parser = BoolishValueParser::new(),
    )]
    pub enable_rate_limits: bool,
    /// API requests from one IPv4 address or IPv6 /64
    #[arg(long, env = "RATE_LIMIT_ADDRESS", default_value = "100/s")]
    pub rate_limit_address: Rate,
    /// So many of them at once
    #[arg(long, env = "RATE_LIMIT_ADDRESS_BURST", default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub rate_limit_address_burst: u32,
    /// Attempts to sign in to one account from one address
    #[arg(long, env = "RATE_LIMIT_LOGIN", default_value = "10/min")]
    pub rate_limit_login: Rate,
    /// Registrations from one address
    #[arg(long, env = "RATE_LIMIT_REGISTER", default_value = "60/h")]
    pub rate_limit_register: Rate,
    /// New streams and stream keys of one user
    #[arg(long, env = "RATE_LIMIT_GENERATE_KEY", default_value = "10/h")]
    pub rate_limit_generate_key: Rate,
    /// Heartbeats of one viewer's session, which sends one each 10 s
    #[arg(long, env = "RATE_LIMIT_HEARTBEAT", default_value = "30/min")]
    pub rate_limit_heartbeat: Rate,
    /// Heartbeats of all viewers behind one address (they do not count as its requests)
    #[arg(long, env = "RATE_LIMIT_HEARTBEAT_ADDRESS", default_value = "1000/s")]
    pub rate_limit_heartbeat_address: Rate,
    /// Longest wait for Redis, in milliseconds; after that this gateway counts alone for a while
    #[arg(long, env = "RATE_LIMIT_TIMEOUT_MS", default_value_t = 100)]
    pub rate_limit_timeout_ms: u64,
}

impl LimitConfig {
    /// The buckets of these rates.
    pub fn figures(&self) -> Figures {
        Figures {
            address: self
                .rate_limit_address
                .bucket_of(self.rate_limit_address_burst),
            login: self.rate_limit_login.bucket(),
            register: self.rate_limit_register.bucket(),
            generate_key: self.rate_limit_generate_key.bucket(),
            heartbeat: self.rate_limit_heartbeat.bucket(),
            heartbeat_address: self.rate_limit_heartbeat_address.bucket(),
        }
    }
}

impl Config {
    /// How long each phase of a request may take.
    pub fn deadlines(&self) -> Deadlines {
        Deadlines {
            connect: Duration::from_millis(self.edge.connect_timeout_ms),
            upload: Duration::from_secs(self.edge.upload_timeout_s),
            answer: self.http.request_timeout(),
            media_answer: Duration::from_secs(self.edge.media_timeout_s),
            silence: Duration::from_secs(self.edge.silence_timeout_s),
        }
    }
}
