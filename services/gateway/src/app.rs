//! The gateway put together.

use std::time::Duration;

use marquee_common::{
    BoxError,
    auth::AuthContext,
    forwarding::TrustedProxies,
    http,
    redis::RedisClient,
    server::{BoundService, Check, Lifecycle, ServeError, Service},
    telemetry,
};

use crate::{
    config::Config,
    cors::Cors,
    forward::Forwarder,
    openapi::MergedDocument,
    rate_limit::{RateLimiter, shared::SharedBuckets},
    route_table::ServiceName,
    routes,
    upstream::{UpstreamUrl, Upstreams},
};

/// A service that has not told of itself by then is left out of the documentation, or not ready.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// What every handler can reach.
#[derive(Clone)]
pub struct AppState {
    /// Where the services are.
    pub upstreams: Upstreams,
    /// The way there.
    pub forwarder: Forwarder,
    /// Which pages may call.
    pub cors: Cors,
    /// Whom to believe about a client's address.
    pub trusted_proxies: TrustedProxies,
    /// How often each client may ask; `None`: as often as it likes.
    pub rate_limiter: Option<RateLimiter>,
    /// Whose a token is.
    pub auth: AuthContext,
    /// The documentation of all of them.
    pub document: MergedDocument,
    /// Largest body of any API request, in bytes.
    pub body_limit_bytes: u64,
}

/// The gateway, ready to serve.
pub struct App {
    service: Service,
}

/// Why the gateway cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `REDIS_HOST` and `REDIS_PORT` are no address.
    #[error("REDIS_HOST or REDIS_PORT is wrong")]
    Redis(#[source] BoxError),
}

impl App {
    /// Puts the routes together. Connects to nothing: services, and Redis, may come later.
    pub fn build(config: Config) -> Result<Self, BuildError> {
        let telemetry = telemetry::init("gateway", &config.log);
        let deadlines = config.deadlines();
        let upstreams = config.services.upstreams();
        let probes = http::client(PROBE_DEADLINE);
        let redis =
            RedisClient::new(&config.redis).map_err(|error| BuildError::Redis(error.into()))?;
        let service = Service::new("gateway", telemetry, config.http.clone(), config.port);
        let mut checks: Vec<Check> = upstreams
            .iter()
            .map(|(service, url)| readiness(service, url, probes.clone()))
            .collect();
        let rate_limiter = config.limits.enable_rate_limits.then(|| {
            checks.push(redis_check(redis.clone()));
            start_rate_limiter(&config, redis, &service.lifecycle())
        });
        let origins = &config.edge.cors_allowed_origins;
        let state = AppState {
            forwarder: Forwarder::new(deadlines, service.lifecycle().token()),
            cors: Cors::new(origins),
            auth: AuthContext::tokens_only(&config.tokens, origins),
            trusted_proxies: TrustedProxies::new(config.edge.trusted_proxies),
            rate_limiter,
            document: MergedDocument::new(upstreams.clone(), probes),
            body_limit_bytes: config.http.body_limit_bytes as u64,
            upstreams,
        };
        let service = service
            .raw_routes(routes::routes(state))
            .document_by_route()
            .readiness(checks);
        Ok(Self { service })
    }

    /// The life of the process.
    pub fn lifecycle(&self) -> Lifecycle {
        self.service.lifecycle()
    }

    /// Takes its address.
    pub async fn bind(self) -> Result<BoundService, ServeError> {
        self.service.bind().await
    }

    /// Serves until the process is asked to end.
    pub async fn run(self) -> Result<(), ServeError> {
        self.service.serve().await
    }
}

fn start_rate_limiter(config: &Config, redis: RedisClient, lifecycle: &Lifecycle) -> RateLimiter {
    let limits = &config.limits;
    let limiter = RateLimiter::new(
        limits.figures(),
        SharedBuckets::new(redis),
        Duration::from_millis(limits.rate_limit_timeout_ms),
    );
    lifecycle.spawn("watch of Redis", limiter.clone().watch(lifecycle.token()));
    limiter
}

/// The platform is ready when every service that this installation runs is; `/health` says which is
/// not. (What balances gateways asks `/health`: one absent service must not close the door to all.)
fn readiness(service: ServiceName, url: &UpstreamUrl, client: reqwest::Client) -> Check {
    let url = format!("{url}/ready");
    Check::new(service.as_str(), true, move || {
        let request = client.get(&url);
        async move {
            request.send().await?.error_for_status()?;
            Ok::<_, BoxError>(())
        }
    })
}

/// Without Redis each gateway counts alone, which is no reason to take it out of service.
fn redis_check(redis: RedisClient) -> Check {
    Check::new("redis", false, move || {
        let redis = redis.clone();
        async move { redis.ping().await }
    })
}
