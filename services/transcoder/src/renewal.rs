//! One call every 2 s renews all broadcasts of this transcoder, and says that it lives.

use std::{sync::Arc, time::Duration};

use marquee_common::contract::ingest::RenewRequest;
use tokio::{sync::Notify, time::Instant};

use crate::{authority::Authority, registry::Registry};

/// Time between renewals.
const INTERVAL: Duration = Duration::from_secs(2);

/// Renews for ever. `now` asks for a renewal at once (after a pause of the process).
pub async fn run(
    authority: Authority,
    registry: Arc<Registry>,
    transcoder_url: String,
    now: Arc<Notify>,
) {
    loop {
        renew(&authority, &registry, &transcoder_url).await;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = now.notified() => {}
        }
    }
}

async fn renew(authority: &Authority, registry: &Registry, transcoder_url: &str) {
    let asked_at = Instant::now();
    let request = RenewRequest {
        transcoder_url: transcoder_url.to_owned(),
        broadcasts: registry.holdings(),
    };
    match authority.renew(&request).await {
        Ok(response) => {
            for renewed in response.broadcasts {
                registry.renewed(renewed, asked_at);
            }
        }
        Err(error) => {
            metrics::counter!("transcoder_renewal_failures_total").increment(1);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                broadcasts = request.broadcasts.len(),
                "the stream service did not renew; lives go on"
            );
        }
    }
}
