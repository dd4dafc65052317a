//! The gateway put together.

use std::time::Duration;

use marquee_common::{
    BoxError,
    config::HttpConfig,
    http,
    server::{Check, ServeError, Service},
    telemetry,
};

use crate::{
    config::Config,
    cors::Cors,
    edge::Edge,
    forward::Forwarder,
    forwarded::TrustedProxies,
    openapi::MergedDocument,
    route_table::ServiceName,
    routes,
    upstream::{UpstreamUrl, Upstreams},
};

/// A service that has not told of itself by then is left out of the documentation, or not ready.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// What every handler can reach.
#[derive(Clone, Debug)]
pub struct AppState {
    /// Where the services are.
    pub upstreams: Upstreams,
    /// The way there.
    pub forwarder: Forwarder,
    /// Which pages may call.
    pub cors: Cors,
    /// Whom to believe about a client's address.
    pub trusted_proxies: TrustedProxies,
    /// The documentation of all of them.
    pub document: MergedDocument,
    /// Largest body of an API request, in bytes.
    pub api_body_limit: u64,
}

/// The gateway, ready to serve.
pub struct App {
    service: Service,
    http: HttpConfig,
    port: u16,
}

impl App {
    /// Puts the routes together. Connects to nothing: services may come later.
    pub fn build(config: Config) -> Self {
        let telemetry = telemetry::init("gateway", &config.log);
        let upstreams = config.services.upstreams();
        let probes = http::client(PROBE_DEADLINE);
        let state = AppState {
            forwarder: Forwarder::new(config.deadlines()),
            cors: Cors::new(&config.edge.cors_allowed_origins),
            trusted_proxies: TrustedProxies::new(config.edge.trusted_proxies),
            document: MergedDocument::new(upstreams.clone(), probes.clone()),
            api_body_limit: config.http.body_limit_bytes as u64,
            upstreams: upstreams.clone(),
        };
        let service = Service::new("gateway", telemetry, config.http.clone(), config.port)
            .raw_routes(routes::routes(state))
            .readiness(
                upstreams
                    .iter()
                    .map(|(service, url)| readiness(service, url, probes.clone()))
                    .collect(),
            );
        Self {
            service,
            http: config.http,
            port: config.port,
        }
    }

    /// Takes its address.
    pub async fn bind(self) -> Result<Edge, ServeError> {
        Edge::bind(self.service, &self.http, self.port).await
    }

    /// Serves until the process is asked to end.
    pub async fn run(self) -> Result<(), ServeError> {
        self.bind().await?.run().await
    }
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
