//! The HTTP server around a service's routes: what every service does the same way.
//!
//! ```text
//! connection (framing) → access log, request id, panics → operations: /health /ready /metrics /docs
//!               │                                       → API routes: timeout, body limit
//!               │                                       → raw routes: neither (they stream)
//!               └─ express, where a service has one, and its answer is ready
//! ```

mod access_log;
mod answer_limit;
mod check;
mod context;
mod entry;
mod express;
mod framing;
mod lifecycle;
mod lingering;
mod listen;
mod openapi;
pub mod redact;
mod unread;
mod workers;

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

use crate::{config::HttpConfig, error::ApiError, extract::Json, telemetry::Telemetry};

pub use check::Check;
pub use context::{RequestContext, TRACEPARENT, X_REQUEST_ID};
pub use entry::main;
pub use express::{Express, ExpressAnswer};
pub use framing::Doubt;
pub use lifecycle::Lifecycle;
pub use lingering::Lingering;
pub use listen::{HEADER_READ_TIMEOUT, Watched, obey_signals};

use check::Checks;
use express::{Answers, SharedExpress};

/// A service being put together: routes, checks, tasks; then [`Self::serve`].
#[must_use = "a service does nothing until it is served"]
pub struct Service {
    telemetry: Telemetry,
    http: HttpConfig,
    port: u16,
    api: OpenApiRouter<()>,
    raw: Router,
    express: SharedExpress,
    longest_answer: Option<Duration>,
    has_document_route: bool,
    checks: Vec<Check>,
    workers: Option<NonZeroUsize>,
    lifecycle: Lifecycle,
}

/// Why a service ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address wanted.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The threads that serve connections cannot be started.
    #[error("cannot start the threads that serve connections")]
    Workers(#[source] std::io::Error),
    /// A task that lasts as long as the process did not ([`Lifecycle::spawn`]); the log has its
    /// end.
    #[error("the task \"{0}\" died")]
    TaskDied(&'static str),
}

impl Service {
    /// A service that will listen on `port` of [`HttpConfig::bind_addr`].
    pub fn new(name: &'static str, telemetry: Telemetry, http: HttpConfig, port: u16) -> Self {
        Self {
            telemetry,
            http,
            port,
            api: openapi::base(name),
            raw: Router::new(),
            express: None,
            longest_answer: None,
            has_document_route: false,
            checks: Vec::new(),
            workers: None,
            lifecycle: Lifecycle::new(),
        }
    }

    /// Add API routes: they appear in the documentation, get 503 after
    /// [`HttpConfig::request_timeout_s`] without an answer, and bodies up to
    /// [`HttpConfig::body_limit_bytes`].
    pub fn routes(mut self, routes: OpenApiRouter<()>) -> Self {
        self.api = self.api.merge(routes);
        self
    }

    /// Add routes that stream: no timeout and no body limit, both are their own business.
    pub fn raw_routes(mut self, routes: Router) -> Self {
        self.raw = self.raw.merge(routes);
        self
    }

    /// Look at each request before everything else of the server does, without its request ids, log
    /// lines and measurements: those of what is answered so are the service's own business. Served
    /// over sockets only, not by [`Self::into_router`].
    pub fn express(mut self, express: impl Express) -> Self {
        self.express = Some(Arc::new(express));
        self
    }

    /// Break connections whose client takes longer than `limit` over an answer that lies ready: what
    /// is sent to it is held as long. Not for answers that are made while they are sent.
    pub fn longest_answer(mut self, limit: Duration) -> Self {
        self.longest_answer = Some(limit);
        self
    }

    /// A raw route answers `/openapi.json` in place of the service's own document; `/docs` shows
    /// what it says.
    pub fn document_by_route(mut self) -> Self {
        self.has_document_route = true;
        self
    }

    /// What the service needs, polled in the background.
    pub fn readiness(mut self, checks: Vec<Check>) -> Self {
        self.checks.extend(checks);
        self
    }

    /// Serve connections on so many threads, each with a runtime of its own, where a request stays from
    /// its first byte to its last. For services that wait for others and compute next to nothing: one
    /// request that computes holds up all others of its thread.
    pub fn workers(mut self, count: NonZeroUsize) -> Self {
        self.workers = Some(count);
        self
    }

    /// The life of the process, for tasks and their end.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.clone()
    }

    /// Listen until SIGTERM or SIGINT, then drain. A second signal cuts the drain short.
    pub async fn serve(self) -> Result<(), ServeError> {
        let signals = tokio::spawn(obey_signals(self.lifecycle.clone()));
        let result = match self.bind().await {
            Ok(bound) => bound.run().await,
            Err(error) => Err(error),
        };
        signals.abort();
        result
    }

    /// Bind the address without serving yet; port 0 takes a free one.
    pub async fn bind(self) -> Result<BoundService, ServeError> {
        let wanted = SocketAddr::new(self.http.bind_addr, self.port);
        let bind_error = |source| ServeError::Bind {
            addr: wanted,
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(bind_error)?;
        let addr = listener.local_addr().map_err(bind_error)?;
        Ok(BoundService {
            listener,
            addr,
            grace: self.http.shutdown_grace(),
            workers: self.workers,
            lifecycle: self.lifecycle.clone(),
            express: self.express.clone(),
            longest_answer: self.longest_answer,
            router: self.into_router(),
        })
    }

    /// All routes with everything around them, and the checks started: what the server serves,
    /// for tests without a socket. Needs a Tokio runtime.
    pub fn into_router(self) -> Router {
        let service = self.telemetry.service();
        let checks = Checks::new(self.checks);
        let stop = self.lifecycle.token();
        self.lifecycle
            .spawn("checks", checks.clone().poll(stop.clone()));
        self.lifecycle.spawn("metrics", {
            let (telemetry, stop) = (self.telemetry.clone(), stop.clone());
            async move {
                while timeout(Duration::from_secs(5), stop.cancelled())
                    .await
                    .is_err()
                {
                    telemetry.upkeep();
                }
            }
        });

        let (api, openapi) = self.api.split_for_parts();
        let api = api
            .layer(middleware::from_fn_with_state(
                self.http.request_timeout(),
                limit_time,
            ))
            .layer(DefaultBodyLimit::max(self.http.body_limit_bytes));
        let raw = self.raw.layer(DefaultBodyLimit::disable());
        let document = (!self.has_document_route).then_some(openapi);
        let operations = operations(checks, self.telemetry, self.lifecycle);
        Router::new()
            .merge(operations)
            .merge(openapi::pages(document))
            .merge(api)
            .merge(raw)
            .fallback(async || ApiError::not_found())
            .method_not_allowed_fallback(async || {
                ApiError::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "This route has no such method; `Allow` lists those it has.",
                )
            })
            .layer(middleware::from_fn(framing::refuse_doubtful))
            .layer(middleware::from_fn_with_state(
                access_log::AccessLog::new(service),
                access_log::access_log,
            ))
    }
}

/// A service that has its address and is about to serve.
#[must_use = "a bound service does nothing until it runs"]
pub struct BoundService {
    listener: TcpListener,
    addr: SocketAddr,
    grace: Duration,
    workers: Option<NonZeroUsize>,
    lifecycle: Lifecycle,
    express: SharedExpress,
    longest_answer: Option<Duration>,
    router: Router,
}

impl BoundService {
    /// The address it has.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serve until [`Lifecycle::shutdown`], then stop accepting, finish what runs, wait for the
    /// tasks; all of that within the grace.
    pub async fn run(self) -> Result<(), ServeError> {
        tracing::info!(addr = %self.addr, "serving");
        let answers = Answers {
            router: self.router,
            express: self.express,
            longest: self.longest_answer,
        };
        if let Some(count) = self.workers {
            let listener = self.listener.into_std().map_err(ServeError::Workers)?;
            workers::start(count, &listener, &answers, &self.lifecycle)
                .map_err(ServeError::Workers)?;
            drop(listener);
            self.lifecycle.token().cancelled().await;
        } else {
            let connections = TaskTracker::new();
            listen::accept(self.listener, &answers, &self.lifecycle, &connections).await;
        }
        tracing::info!(grace_s = self.grace.as_secs(), "draining");
        self.lifecycle.drain(self.grace).await;
        match self.lifecycle.dead_task() {
            Some(task) => Err(ServeError::TaskDied(task)),
            None => Ok(()),
        }
    }
}

/// `/health`, `/ready` and `/metrics`.
fn operations(checks: Checks, telemetry: Telemetry, lifecycle: Lifecycle) -> Router {
    let health = checks.clone();
    Router::new()
        .route(
            "/health",
            get(async move || {
                let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
                (no_store, Json(health.health()))
            }),
        )
        .route("/ready", get(async move || ready(&checks, &lifecycle)))
        .route(
            "/metrics",
            get(async move || {
                let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                ([(header::CONTENT_TYPE, text)], telemetry.render())
            }),
        )
}

fn ready(checks: &Checks, lifecycle: &Lifecycle) -> Response {
    if lifecycle.token().is_cancelled() {
        return ApiError::unavailable("Draining.").into_response();
    }
    if checks.ready() {
        return Json(checks.health()).into_response();
    }
    let missing = checks.missing().join(", ");
    ApiError::unavailable(format!("Waiting for {missing}.")).into_response()
}

async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        ApiError::unavailable("This took too long. Try again later.").into_response()
    })
}
