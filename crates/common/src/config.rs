//! The variables that mean the same in every service, as clap fragments.
//!
//! A service's `config.rs` flattens these into its own `Config`, so that one name is one thing
//! everywhere and `--help` documents each variable with its default. Only `config.rs` files read
//! the environment.

mod secret;
pub mod secret_file;

use std::{net::IpAddr, sync::LazyLock, time::Duration};

use clap::{Args, ValueEnum};
use url::Url;

pub use secret::{Secret, SecretError};

/// How the HTTP server listens and how long it waits. The port is the service's own argument,
/// for its default differs: `#[arg(long, env = "PORT", default_value_t = 8081)] port: u16`.
#[derive(Clone, Debug, Args)]
pub struct HttpConfig {
    /// Address the HTTP server binds.
    #[arg(long, env = "BIND_ADDR", default_value = "0.0.0.0")]
    pub bind_addr: IpAddr,
    /// Seconds running requests and tasks get to finish after SIGTERM.
    #[arg(long, env = "SHUTDOWN_GRACE_S", default_value_t = 20)]
    pub shutdown_grace_s: u64,
    /// Seconds until a request without an answer gets 503.
    #[arg(long, env = "REQUEST_TIMEOUT_S", default_value_t = 30)]
    pub request_timeout_s: u64,
    /// Largest accepted request body, in bytes.
    #[arg(long, env = "BODY_LIMIT_BYTES", default_value_t = 1024 * 1024)]
    pub body_limit_bytes: usize,
}

impl Default for HttpConfig {
    /// The documented defaults, on loopback: what in-process tests start from.
    fn default() -> Self {
        Self {
            bind_addr: IpAddr::from([127, 0, 0, 1]),
            shutdown_grace_s: 20,
            request_timeout_s: 30,
            body_limit_bytes: 1024 * 1024,
        }
    }
}

impl HttpConfig {
    /// [`Self::shutdown_grace_s`] as a duration.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_s)
    }

    /// [`Self::request_timeout_s`] as a duration.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Coloured text, for people.
    Pretty,
}

/// What is logged, and how it looks.
#[derive(Clone, Debug, Args)]
pub struct LogConfig {
    /// Shape of the log lines.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Filter of the log lines (`info`, `debug`, `marquee_stream=debug,info`, …).
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub rust_log: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            rust_log: "info".to_owned(),
        }
    }
}

/// The platform's addresses as the public sees them: what the URLs in answers are made of.
#[derive(Clone, Debug, Args)]
pub struct PublicUrls {
    /// Where browsers reach the platform (nginx).
    #[arg(long, env = "PUBLIC_BASE_URL", default_value = "http://localhost")]
    pub public_base_url: Url,
    /// Where publishers reach SRT.
    #[arg(long, env = "PUBLIC_SRT_URL", default_value = "srt://localhost:8890")]
    pub public_srt_url: Url,
    /// Where publishers reach RTMP.
    #[arg(long, env = "PUBLIC_RTMP_URL", default_value = "rtmp://localhost:1935")]
    pub public_rtmp_url: Url,
}

impl PublicUrls {
    /// `path` (which begins with `/`) under [`Self::public_base_url`].
    pub fn absolute(&self, path: &str) -> String {
        format!(
            "{}{path}",
            self.public_base_url.as_str().trim_end_matches('/')
        )
    }
}

/// `SECRET_KEY`, seed 002's name of `JWT_SECRET_KEY`. clap knows one variable an argument, so the
/// alias stands in as the argument's default.
static JWT_SECRET_ALIAS: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var("SECRET_KEY").ok());

/// Who is believed: users by token, services by key, browsers by origin.
#[derive(Clone, Debug, Args)]
pub struct AuthConfig {
    /// Key that signs access tokens (HS256), the same in every service; `SECRET_KEY` is an alias.
    #[arg(
        long,
        env = "JWT_SECRET_KEY",
        hide_env_values = true,
        hide_default_value = true,
        required = JWT_SECRET_ALIAS.is_none(),
        default_value = JWT_SECRET_ALIAS.as_deref(),
    )]
    pub jwt_secret_key: Secret,
    /// Key by which services know each other (`X-Internal-API-Key`).
    #[arg(long, env = "INTERNAL_API_KEY", hide_env_values = true)]
    pub internal_api_key: Secret,
    /// Origins whose pages may write with cookies, and for which the gateway answers CORS. A `*`
    /// never covers cookies.
    #[arg(
        long,
        env = "CORS_ALLOWED_ORIGINS",
        value_delimiter = ',',
        default_value = "http://localhost"
    )]
    pub cors_allowed_origins: Vec<String>,
}

/// For a service that asks who a token's user is, and is believed nothing itself: it needs no
/// internal key.
#[derive(Clone, Debug, Args)]
pub struct TokenConfig {
    /// Key that signs access tokens (HS256), the same in every service; `SECRET_KEY` is an alias.
    #[arg(
        long,
        env = "JWT_SECRET_KEY",
        hide_env_values = true,
        hide_default_value = true,
        required = JWT_SECRET_ALIAS.is_none(),
        default_value = JWT_SECRET_ALIAS.as_deref(),
    )]
    pub jwt_secret_key: Secret,
}
