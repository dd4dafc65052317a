//! Whether an upstream answers.

use std::time::{Duration, Instant};

use http::{Request, header::HOST};
use marquee_common::error_chain;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    connections::{ConnectError, Resolver},
    request_body::RequestBody,
    route_table::Entry,
    upstream::Upstream,
};

/// Longest wait for a connection and for the answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// Upstreams that are asked at a time.
pub const AT_A_TIME: usize = 32;

/// What became of a question to an upstream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// Whether it answered in HTTP, whatever it said.
    pub answers: bool,
    /// Its status for `HEAD /stream/{stream_id}`.
    pub http_status: Option<u16>,
    /// Time until then, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Why it did not answer.
    pub error: Option<String>,
}

/// Asks the upstream of an entry. Look-ups outlive who gives up on them: all probes of a process,
/// and its workers, share the resolver that bounds them.
pub async fn probe(resolver: &Resolver, entry: &Entry) -> Health {
    match entry.upstream() {
        Ok(upstream) => ask(resolver, &entry.stream_id, &upstream).await,
        Err(error) => silent(format!("{error}")),
    }
}

async fn ask(resolver: &Resolver, stream_id: &str, upstream: &Upstream) -> Health {
    let began = Instant::now();
    let asked = async {
        let addresses = resolver.addresses(upstream, DEADLINE).await?;
        let mut connection = resolver.connect(upstream, &addresses, DEADLINE).await?;
        let answered = connection.send(question(stream_id, upstream)).await;
        Ok::<_, ConnectError>(answered.map(|response| response.status().as_u16()))
    };
    match timeout(DEADLINE, asked).await {
        Ok(Ok(Ok(status))) => Health {
            answers: true,
            http_status: Some(status),
            latency_ms: u64::try_from(began.elapsed().as_millis()).ok(),
            error: None,
        },
        Ok(Ok(Err(_))) => silent("it broke off, or did not answer in HTTP".to_owned()),
        Ok(Err(error)) => silent(error_chain(&error)),
        Err(_) => silent("no answer within a second".to_owned()),
    }
}

fn question(stream_id: &str, upstream: &Upstream) -> Request<RequestBody> {
    let id = utf8_percent_encode(stream_id, NON_ALPHANUMERIC);
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = http::Method::HEAD;
    // Percent-encoded, it is always a legal path.
    *request.uri_mut() = format!("/stream/{id}").parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(HOST, upstream.host_header().clone());
    headers.insert(
        http::header::USER_AGENT,
        http::HeaderValue::from_static("marquee-proxy-check"),
    );
    request
}

fn silent(error: String) -> Health {
    Health {
        answers: false,
        http_status: None,
        latency_ms: None,
        error: Some(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures::{FutureExt, future::pending};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_whose_server_is_silent_is_looked_up_once_however_often_it_is_probed() {
        let asked = Arc::<AtomicUsize>::default();
        let counter = asked.clone();
        let resolver = Resolver::asking(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            pending().boxed()
        });
        for number in 0..5 {
            let entry = Entry {
                stream_id: format!("live{number}"),
                value: Some("silent:80".to_owned()),
                ttl: None,
            };
            assert!(!probe(&resolver, &entry).await.answers);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
