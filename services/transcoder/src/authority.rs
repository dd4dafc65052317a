//! The stream service as the transcoder sees it: the authority on keys and broadcasts.

use std::time::Duration;

use marquee_common::{
    config::Secret,
    contract::{
        StreamId,
        ingest::{
            AuthorizeRequest, Authorized, EventReceipt, RenewRequest, RenewResponse,
            TranscoderEvent,
        },
    },
    http::{CallError, InternalClient},
};
use url::Url;

/// Longest wait for any answer of the stream service.
const DEADLINE: Duration = Duration::from_secs(4);

/// Client of the stream service's internal routes.
#[derive(Clone, Debug)]
pub struct Authority {
    client: InternalClient,
}

/// Why a publisher was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// 403, 404, 410: this key is not to be tried again soon. `code` is the problem's.
    #[error("the stream service refused the key: {code}")]
    BadKey {
        /// The problem's code (`not_found`, `stream_key_expired`, `held`).
        code: String,
    },
    /// 429: too many publishers fight for the key.
    #[error("too many publishers use this key in turn")]
    Contended,
    /// No answer, or none that makes sense; nothing is known of the key.
    #[error("the stream service does not answer")]
    Unreachable(#[source] CallError),
}

impl Authority {
    /// A client for the stream service at `base_url`.
    pub fn new(base_url: Url, api_key: Secret) -> Self {
        Self {
            client: InternalClient::new(base_url, api_key, DEADLINE),
        }
    }

    /// Asks whether a key may publish.
    pub async fn authorize(&self, request: &AuthorizeRequest) -> Result<Authorized, Refusal> {
        self.client
            .post("/internal/ingest/authorize", request)
            .await
            .map_err(|error| match error.status().map(|status| status.as_u16()) {
                Some(403 | 404 | 410) => Refusal::BadKey {
                    code: error.code().to_owned(),
                },
                Some(429) => Refusal::Contended,
                _ => Refusal::Unreachable(error),
            })
    }

    /// Renews all broadcasts of this transcoder.
    pub async fn renew(&self, request: &RenewRequest) -> Result<RenewResponse, CallError> {
        self.client.post("/internal/ingest/renew", request).await
    }

    /// Delivers one event.
    pub async fn deliver(
        &self,
        stream_id: StreamId,
        event: &TranscoderEvent,
    ) -> Result<EventReceipt, CallError> {
        self.client
            .post(&format!("/internal/streams/{stream_id}/events"), event)
            .await
    }
}
