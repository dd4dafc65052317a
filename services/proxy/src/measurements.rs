//! The proxy's own metrics. Those of the hot path are looked up once and not at each request.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "499"];

/// Handles on the metrics of a request. Cheap to clone.
#[derive(Clone)]
pub struct Measurements {
    answers: [Counter; CLASSES.len()],
    seconds: Histogram,
    /// Access log lines that were dropped.
    pub lost_lines: Counter,
    /// Requests sent to an upstream, each retry counted.
    pub upstream_requests: Counter,
    /// Client connections that are open.
    pub connections: Gauge,
    /// Connections that were refused because there were too many.
    pub refused_connections: Counter,
}

impl std::fmt::Debug for Measurements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Measurements").finish_non_exhaustive()
    }
}

impl Measurements {
    /// The handles of this process' recorder.
    pub fn new() -> Self {
        Self {
            answers: CLASSES
                .map(|class| metrics::counter!("proxy_stream_answers_total", "status" => class)),
            seconds: metrics::histogram!("proxy_stream_answer_seconds"),
            lost_lines: metrics::counter!("proxy_access_log_lines_lost_total"),
            upstream_requests: metrics::counter!("proxy_upstream_requests_total"),
            connections: metrics::gauge!("proxy_connections"),
            refused_connections: metrics::counter!("proxy_connections_refused_total"),
        }
    }

    /// An answer has begun, or its client has left before.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = match status {
            499 => 5,
            status => usize::from(status / 100).clamp(1, 5) - 1,
        };
        self.answers[class].increment(1);
        self.seconds.record(took.as_secs_f64());
    }
}

impl Default for Measurements {
    fn default() -> Self {
        Self::new()
    }
}

/// What the metrics mean, for `/metrics`.
pub fn describe() {
    metrics::describe_counter!(
        "proxy_stream_answers_total",
        "Answers to requests for streams by status; 499: the client left before."
    );
    metrics::describe_histogram!(
        "proxy_stream_answer_seconds",
        Unit::Seconds,
        "Time from a request's head to its answer's head."
    );
    metrics::describe_counter!(
        "proxy_upstream_requests_total",
        "Requests sent to upstreams; joined ones are one."
    );
    metrics::describe_counter!(
        "proxy_upstream_failures_total",
        "Requests that an upstream did not answer, by reason."
    );
    metrics::describe_counter!(
        "proxy_joined_requests_total",
        "Requests that were answered by a request that was under way already."
    );
    metrics::describe_counter!(
        "proxy_shared_requests_total",
        "Requests to upstreams whose answer others may share."
    );
    metrics::describe_gauge!(
        "proxy_joined_followers",
        "Clients whose answers are coming for several."
    );
    metrics::describe_counter!(
        "proxy_redis_losses_total",
        "Lost connections to Redis; each time all routes were forgotten."
    );
    metrics::describe_gauge!(
        "proxy_routes_remembered",
        "Streams whose route is in memory."
    );
    metrics::describe_gauge!("proxy_connections", "Open connections of clients.");
    metrics::describe_counter!(
        "proxy_connections_refused_total",
        "Connections closed at once because MAX_CONNECTIONS were open."
    );
    metrics::describe_counter!(
        "proxy_access_log_lines_lost_total",
        "Access log lines dropped because whoever reads them is too slow."
    );
}
