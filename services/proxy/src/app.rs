//! The proxy put together.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use marquee_common::{
    BoxError,
    auth::AuthContext,
    forwarding::TrustedProxies,
    redis::RedisClient,
    server::{Check, Lifecycle, ServeError, Service, obey_signals},
    telemetry,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access_log::{AccessLog, LogWriter},
    coalesce::{Coalescer, marks::Marks},
    config::Config,
    connections::Resolver,
    headers::LoopGuard,
    lookup::Routes,
    measurements::{self, Measurements},
    open_files,
    route_table::RouteTable,
    routes,
    worker::{self, Connections, Shared},
};

/// How long the last lines of the access log may take.
const LOG_END: Duration = Duration::from_secs(1);
/// How often what has no event of its own is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// What the routes beside `/stream` can reach.
#[derive(Clone)]
pub struct AppState {
    /// The table in Redis.
    pub table: RouteTable,
    /// Names of upstreams: those of the workers, so that a silent name is asked for once by all.
    pub resolver: Resolver,
    /// Who is an admin; `None`: nobody is, for this proxy knows no key.
    pub auth: Option<AuthContext>,
}

/// The proxy, ready to listen.
pub struct App {
    config: Config,
    shared: Shared,
}

/// Why the proxy cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `REDIS_HOST` and `REDIS_PORT` are no address.
    #[error("REDIS_HOST or REDIS_PORT is wrong")]
    Redis(#[from] redis::RedisError),
}

/// Why the proxy ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be had, or a task died.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A thread cannot be started.
    #[error("threads cannot be started")]
    Thread(#[source] std::io::Error),
}

impl App {
    /// Puts everything together. Connects to nothing: Redis may come later.
    pub fn build(config: Config) -> Result<Self, BuildError> {
        let telemetry = telemetry::init("proxy", &config.log);
        measurements::describe();
        let marks = Marks::default();
        let known = Routes::new(&config.redis, marks.clone())?;
        let redis = RedisClient::new(&config.redis)?;
        let resolver = Resolver::default();
        let state = AppState {
            table: RouteTable::new(redis.clone()),
            resolver: resolver.clone(),
            auth: config
                .jwt_secret_key
                .as_ref()
                .map(|key| AuthContext::users_only(key, &config.cors_allowed_origins, Some(redis))),
        };
        let service = Service::new("proxy", telemetry, config.http.clone(), config.port)
            .routes(routes::routes(state))
            .readiness(vec![redis_check(known.clone())]);
        let lifecycle = service.lifecycle();
        let shared = Shared {
            routes: known,
            marks,
            coalescer: Coalescer::default(),
            resolver,
            deadlines: config.traffic.deadlines(),
            trusted_proxies: TrustedProxies::new(config.traffic.trusted_proxies.clone()),
            loop_guard: LoopGuard::default(),
            api: service.into_router(),
            lifecycle,
            connections: Arc::new(Connections::up_to(config.traffic.max_connections)),
            measurements: Measurements::new(),
        };
        Ok(Self { config, shared })
    }

    /// The life of the process.
    pub fn lifecycle(&self) -> Lifecycle {
        self.shared.lifecycle.clone()
    }

    /// The requests that are under way for several.
    pub fn coalescer(&self) -> Coalescer {
        self.shared.coalescer.clone()
    }

    /// Takes its address; port 0 takes a free one.
    pub fn bind(self) -> Result<BoundApp, ServeError> {
        let wanted = SocketAddr::new(self.config.http.bind_addr, self.config.port);
        let bind_error = |source| ServeError::Bind {
            addr: wanted,
            source,
        };
        let listener = worker::listen(wanted).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(BoundApp {
            app: self,
            listener,
            address,
        })
    }

    /// Serves until the process is asked to end; a second signal cuts the drain short.
    pub async fn run(self) -> Result<(), RunError> {
        open_files::raise_limit();
        let signals = tokio::spawn(obey_signals(self.lifecycle()));
        let result = match self.bind() {
            Ok(bound) => bound.run().await,
            Err(error) => Err(error.into()),
        };
        signals.abort();
        result
    }
}

/// The proxy with its address.
pub struct BoundApp {
    app: App,
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl BoundApp {
    /// The address it has.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until [`Lifecycle::shutdown`], then drains within the grace.
    pub async fn run(self) -> Result<(), RunError> {
        let App { config, shared } = self.app;
        let lifecycle = shared.lifecycle.clone();
        let known = shared.routes.clone();
        lifecycle.spawn(
            "connection to Redis",
            known.keep_in_touch(lifecycle.token()),
        );
        lifecycle.spawn("measurements", measure(shared.clone(), lifecycle.token()));
        let writer = LogWriter::start().map_err(RunError::Thread)?;
        let workers = config.traffic.workers().get();
        for number in 0..workers {
            let listener = self.listener.try_clone().map_err(RunError::Thread)?;
            let log = AccessLog::new(
                config.traffic.access_log_format,
                &writer,
                shared.measurements.clone(),
            );
            let ended =
                worker::start(number, listener, shared.clone(), log).map_err(RunError::Thread)?;
            lifecycle.spawn("worker", async move {
                // Said by an end as well as by a panic: the sender is dropped.
                let _ = ended.await;
            });
        }
        // The workers hold what is listened on, until they drain.
        drop((self.listener, shared));
        tracing::info!(addr = %self.address, workers, "serving");
        lifecycle.token().cancelled().await;
        let grace = config.http.shutdown_grace();
        tracing::info!(grace_s = grace.as_secs(), "draining");
        lifecycle.drain(grace).await;
        end_log(writer).await;
        match lifecycle.dead_task() {
            Some(task) => Err(ServeError::TaskDied(task).into()),
            None => Ok(()),
        }
    }
}

/// Gives the access log's last lines a moment.
async fn end_log(writer: LogWriter) {
    let thread = writer.end();
    let joined = tokio::task::spawn_blocking(move || thread.join());
    // Who does not read them by then does not get them.
    let _ = tokio::time::timeout(LOG_END, joined).await;
}

async fn measure(shared: Shared, stop: CancellationToken) {
    let remembered = metrics::gauge!("proxy_routes_remembered");
    let connections = shared.measurements.connections.clone();
    let followers = metrics::gauge!("proxy_joined_followers");
    let mut ticks = tokio::time::interval(MEASURE_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        #[expect(
            clippy::cast_precision_loss,
            reason = "there are fewer than 2^52 of each"
        )]
        {
            remembered.set(shared.routes.remembered() as f64);
            connections.set(shared.connections.open() as f64);
            followers.set(shared.coalescer.followers() as f64);
        }
    }
}

/// Without Redis no stream can be found.
fn redis_check(known: Routes) -> Check {
    Check::new("redis", true, move || {
        let known = known.clone();
        async move { known.ping().await.map_err(BoxError::from) }
    })
}
