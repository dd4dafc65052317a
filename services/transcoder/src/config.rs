//! Every variable of the transcoder; the only place that reads the environment.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use marquee_common::config::{HttpConfig, LogConfig, PublicUrls, Secret};
use marquee_common::{redis::RedisConfig, s3::S3Config};
use url::Url;

/// Live ingest: SRT and RTMP in, an ffmpeg ladder, HLS out: to S3, and with low latency from memory.
#[derive(Clone, Debug, Parser)]
#[command(name = "transcoder", version)]
pub struct Config {
    /// HTTP port: the live edge, health, metrics, internal calls.
    #[arg(long, env = "PORT", default_value_t = 8086)]
    pub port: u16,
    /// HTTP server.
    #[command(flatten)]
    pub http: HttpConfig,
    /// Logs.
    #[command(flatten)]
    pub log: LogConfig,
    /// Object storage.
    #[command(flatten)]
    pub s3: S3Config,
    /// URLs that viewers use.
    #[command(flatten)]
    pub public: PublicUrls,
    /// Ingest.
    #[command(flatten)]
    pub ingest: IngestConfig,
    /// Output.
    #[command(flatten)]
    pub output: OutputConfig,
    /// Base URL of the stream service, the authority on keys and broadcasts.
    #[arg(
        long,
        env = "STREAM_SERVICE_URL",
        default_value = "http://localhost:8082"
    )]
    pub stream_service_url: Url,
    /// Key that services show each other in X-Internal-API-Key; at least 32 bytes.
    #[arg(long, env = "INTERNAL_API_KEY", hide_env_values = true)]
    pub internal_api_key: Secret,
    /// Base URL under which the stream service reaches this transcoder; it is its identity, too.
    #[arg(long, env = "ADVERTISE_URL", default_value = "http://localhost:8086")]
    pub advertise_url: Url,
    /// Where the routes to this transcoder's live edge stand.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// `host:port` under which proxies reach this transcoder's live edge; that of `ADVERTISE_URL`
    /// when it is not set.
    #[arg(long, env = "ADVERTISE_ADDR", value_parser = parse_address)]
    pub advertise_addr: Option<String>,
}

impl Config {
    /// `ADVERTISE_ADDR`, or what `ADVERTISE_URL` says.
    pub fn edge_address(&self) -> String {
        if let Some(address) = &self.advertise_addr {
            return address.clone();
        }
        let host = self.advertise_url.host_str().unwrap_or("localhost");
        let port = self.advertise_url.port_or_known_default().unwrap_or(80);
        format!("{host}:{port}")
    }
}

/// `host:port` or `[v6]:port`, as proxies read it.
fn parse_address(text: &str) -> Result<String, &'static str> {
    let problem = "expected host:port or [v6]:port";
    let (host, port) = text.rsplit_once(':').ok_or(problem)?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_sane = if is_bracketed {
        host[1..host.len() - 1]
            .parse::<std::net::Ipv6Addr>()
            .is_ok()
    } else {
        !host.is_empty() && host.bytes().all(is_host)
    };
    let has_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_sane && has_port {
        Ok(text.to_owned())
    } else {
        Err(problem)
    }
}

/// How publishers come in.
#[derive(Clone, Debug, clap::Args)]
pub struct IngestConfig {
    /// Address and UDP port of the SRT listener.
    #[arg(long, env = "SRT_BIND", default_value = "0.0.0.0:8890")]
    pub srt_bind: SocketAddr,
    /// SRT latency in ms: how long a lost packet may be asked for again.
    #[arg(long, env = "SRT_LATENCY_MS", default_value_t = 120)]
    pub srt_latency_ms: u64,
    /// SRT passphrase of 10 to 79 bytes; publishers without it are refused when it is set.
    #[arg(long, env = "SRT_PASSPHRASE", hide_env_values = true)]
    pub srt_passphrase: Option<String>,
    /// AES key length in bytes for `SRT_PASSPHRASE`: 16, 24 or 32.
    #[arg(long, env = "SRT_KEY_LENGTH", default_value = "16")]
    pub srt_key_length: SrtKeyLength,
    /// Address and TCP port of the RTMP listener.
    #[arg(long, env = "RTMP_BIND", default_value = "0.0.0.0:1935")]
    pub rtmp_bind: SocketAddr,
    /// A publisher that sends nothing for so many ms is taken as gone.
    #[arg(long, env = "INGEST_NO_DATA_TIMEOUT_MS", default_value_t = 4000)]
    pub no_data_timeout_ms: u64,
    /// Seconds in which a publisher that left may come back to the same broadcast.
    #[arg(long, env = "RECONNECT_GRACE_S", default_value_t = 30)]
    pub reconnect_grace_s: u64,
    /// Streams this machine takes at once; 0: one a processor, at least two.
    #[arg(long, env = "MAX_STREAMS", default_value_t = 0)]
    pub max_streams: usize,
    /// A source above this is encoded even where it could be passed through, in kbit/s.
    #[arg(long, env = "MAX_PASSTHROUGH_KBPS", default_value_t = 8000)]
    pub max_passthrough_kbps: u32,
}

/// `SRT_KEY_LENGTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SrtKeyLength {
    /// AES-128.
    #[value(name = "16")]
    Aes128,
    /// AES-192.
    #[value(name = "24")]
    Aes192,
    /// AES-256.
    #[value(name = "32")]
    Aes256,
}

impl IngestConfig {
    /// The time a publisher has to come back.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.reconnect_grace_s)
    }

    /// Streams at once, `MAX_STREAMS` or what the processors suggest.
    pub fn capacity(&self) -> usize {
        match self.max_streams {
            0 => std::thread::available_parallelism()
                .map_or(2, std::num::NonZeroUsize::get)
                .max(2),
            n => n,
        }
    }
}

/// Where the ladder goes.
#[derive(Clone, Debug, clap::Args)]
pub struct OutputConfig {
    /// Bucket of the live segments and playlists.
    #[arg(long, env = "LIVE_BUCKET", default_value = "live-segments")]
    pub live_bucket: String,
    /// How far viewers can seek back, in seconds.
    #[arg(long, env = "DVR_WINDOW_S", default_value_t = 1800)]
    pub dvr_window_s: u64,
    /// Segments that storage does not take for a while are kept in memory up to so many bytes a
    /// stream, or 60 s, then on disk.
    #[arg(long, env = "UPLOAD_MEMORY_BYTES", default_value_t = 128 << 20)]
    pub upload_memory_bytes: u64,
    /// Folder for segments that wait on disk; it survives a restart, and is this process's alone.
    #[arg(long, env = "SPILL_DIR", default_value = "/var/tmp/marquee-spill")]
    pub spill_dir: PathBuf,
    /// Bytes that may wait on disk, all streams together.
    #[arg(long, env = "SPILL_MAX_BYTES", default_value_t = 2 << 30)]
    pub spill_max_bytes: u64,
}
