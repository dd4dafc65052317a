//! Logs and metrics of a process.

mod log_writer;

use std::{
    io::stdout,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

use log_writer::{LogThread, LogWriter};

/// Bounds of every histogram, in seconds: fine where HTTP answers lie, coarse up to a timeout.
const SECONDS_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// How long the end of a process waits for its log to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What writes the log.
static LOG_THREAD: Mutex<Option<LogThread>> = Mutex::new(None);

/// The recorder can be installed once a process; tests start several services in one.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// A service's name and its metrics, ready to be shown at `/metrics`.
#[derive(Clone)]
pub struct Telemetry {
    service: &'static str,
    metrics: PrometheusHandle,
    log: LogWriter,
}

impl Telemetry {
    /// The name given to [`init`]: binary, directory and metric prefix.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        metrics::counter!("log_lines_lost_total").absolute(self.log.lost_lines());
        self.metrics.render()
    }

    /// Fold what histograms hold into their buckets; without it they grow until the next scrape.
    pub(crate) fn upkeep(&self) {
        self.metrics.run_upkeep();
    }
}

/// Start logging and measuring. Call it first in `main`; a second call in a process keeps the
/// first one's logging and shares its metrics.
pub fn init(service: &'static str, config: &LogConfig) -> Telemetry {
    let filter = EnvFilter::try_new(&config.rust_log).unwrap_or_else(|error| {
        // Logging does not run yet, so this is the one place to say it.
        eprintln!("{service}: RUST_LOG: {error}; using \"info\"");
        EnvFilter::new("info")
    });
    let registry = tracing_subscriber::registry().with(filter);
    let (log, thread) = start_log();
    let layer = fmt::layer().with_writer(log.clone());
    let begun = match config.log_format {
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_span_list(false);
            registry.with(layer).try_init()
        }
        LogFormat::Pretty => registry.with(layer.with_target(false)).try_init(),
    };
    match begun {
        Ok(()) => *LOG_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread),
        // A subscriber is there already, with its own writer.
        Err(_) => thread.end(Duration::ZERO),
    }
    Telemetry {
        service,
        metrics: RECORDER.get_or_init(install_recorder).clone(),
        log,
    }
}

/// Writes what waits to be written, at most for a second. Nothing is logged after it: the last thing
/// a process does.
pub fn end_log() {
    let thread = LOG_THREAD
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(thread) = thread {
        thread.end(LAST_LINES);
    }
}

#[expect(
    clippy::expect_used,
    reason = "start-up; a machine without a thread to spare serves nothing"
)]
fn start_log() -> (LogWriter, LogThread) {
    LogWriter::start(stdout()).expect("a thread for the log")
}

#[expect(
    clippy::expect_used,
    reason = "start-up; both fail only by a mistake in this file"
)]
fn install_recorder() -> PrometheusHandle {
    PrometheusBuilder::new()
        .set_buckets(&SECONDS_BUCKETS)
        .expect("there are buckets")
        .install_recorder()
        .expect("RECORDER installs it once")
}
