//! Logs and metrics of a process.
//!
//! A thread of its own writes the log, several lines at a time where they come fast: whoever reads
//! it slowly, a container's log driver say, holds up no request. What it is too slow for is counted
//! and dropped, so that memory stays bounded.

use std::{
    io::{BufWriter, stdout},
    sync::{Mutex, OnceLock, PoisonError},
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

/// Bounds of every histogram, in seconds: fine where HTTP answers lie, coarse up to a timeout.
const SECONDS_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Lines that wait to be written, a few MB at the most.
const WAITING_LINES: usize = 16 * 1024;

/// Ends the thread that writes the log, once all is written.
static LOG_WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// The recorder can be installed once a process; tests start several services in one.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// A service's name and its metrics, ready to be shown at `/metrics`.
#[derive(Clone)]
pub struct Telemetry {
    service: &'static str,
    metrics: PrometheusHandle,
    lost_lines: ErrorCounter,
}

impl Telemetry {
    /// The name given to [`init`]: binary, directory and metric prefix.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        metrics::counter!("log_lines_lost_total").absolute(self.lost_lines.dropped_lines() as u64);
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
    let (writer, guard) = log_writer();
    let lost_lines = writer.error_counter();
    let layer = fmt::layer().with_writer(writer);
    let begun = match config.log_format {
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_span_list(false);
            registry.with(layer).try_init()
        }
        LogFormat::Pretty => registry.with(layer.with_target(false)).try_init(),
    };
    // An error means that a subscriber is there already, with its own writer.
    if begun.is_ok() {
        *LOG_WRITER.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
    }
    Telemetry {
        service,
        metrics: RECORDER.get_or_init(install_recorder).clone(),
        lost_lines,
    }
}

/// Writes what waits to be written, at most for a second. Nothing is logged after it: the last thing
/// a process does.
pub fn end_log() {
    drop(
        LOG_WRITER
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(),
    );
}

fn log_writer() -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(BufWriter::with_capacity(64 * 1024, stdout()))
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
