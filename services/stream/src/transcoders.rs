//! Calls to transcoders: send a publisher away, finish a dead colleague's broadcast.
//!
//! A transcoder is known by the URL it gave when it asked for admission. Nothing here is needed
//! for correctness: whoever is not reached learns the same from its next renewal.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use marquee_common::{
    config::Secret,
    contract::{
        StreamId,
        ingest::{DisconnectReason, DisconnectRequest, FinalizeRequest},
    },
    error_chain,
    http::{CallError, InternalClient},
};
use url::Url;

use crate::store::Holder;

/// A publisher is gone within a second, or its transcoder is not there.
const DISCONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// Finalizing reads and writes playlists in storage, which may be slow. Shorter than the wait until
/// it is asked for again (`store/finalize.rs`).
const FINALIZE_DEADLINE: Duration = Duration::from_secs(25);

/// Calls transcoders; a cheap clone.
#[derive(Clone)]
pub struct Transcoders {
    api_key: Secret,
    disconnecting: Calls,
    finalizing: Calls,
}

/// Calls that have one deadline.
#[derive(Clone)]
struct Calls {
    deadline: Duration,
    /// Made for the first transcoder called; the others share its connections' settings.
    first: Arc<OnceLock<InternalClient>>,
}

impl Calls {
    fn within(deadline: Duration) -> Self {
        Self {
            deadline,
            first: Arc::default(),
        }
    }
}

/// Why a transcoder did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TranscoderError {
    /// Its URL in the database is none.
    #[error("not a URL")]
    BadUrl(#[source] url::ParseError),
    /// It did not answer, or refused.
    #[error("the call failed")]
    Call(#[source] CallError),
}

impl Transcoders {
    /// Calls carry `api_key`.
    pub fn new(api_key: Secret) -> Self {
        Self {
            api_key,
            disconnecting: Calls::within(DISCONNECT_DEADLINE),
            finalizing: Calls::within(FINALIZE_DEADLINE),
        }
    }

    /// Tells a transcoder to send away the publisher of a stream. Failures are logged.
    pub async fn disconnect(&self, holder: &Holder, reason: DisconnectReason) {
        let path = format!("/internal/streams/{}/disconnect", holder.stream_id);
        let request = DisconnectRequest {
            epoch: holder.epoch,
            reason,
        };
        let told = self
            .post(&self.disconnecting, &holder.transcoder_url, &path, &request)
            .await;
        match told {
            Ok(()) => {}
            Err(TranscoderError::Call(error)) if error.status().is_some_and(|s| s == 404) => {
                tracing::debug!(stream_id = %holder.stream_id, "the publisher was gone already");
            }
            Err(error) => tracing::warn!(
                stream_id = %holder.stream_id,
                transcoder = holder.transcoder_url,
                ?reason,
                error = error_chain(&error),
                "a transcoder could not be told to disconnect; its renewal will tell it"
            ),
        }
    }

    /// Asks a transcoder to write the ENDLIST of a broadcast.
    pub async fn finalize(
        &self,
        transcoder_url: &str,
        stream_id: StreamId,
        request: &FinalizeRequest,
    ) -> Result<(), TranscoderError> {
        let path = format!("/internal/streams/{stream_id}/finalize");
        self.post(&self.finalizing, transcoder_url, &path, request)
            .await
    }

    async fn post<B>(
        &self,
        calls: &Calls,
        transcoder_url: &str,
        path: &str,
        body: &B,
    ) -> Result<(), TranscoderError>
    where
        B: serde::Serialize + Sync,
    {
        let url: Url = transcoder_url.parse().map_err(TranscoderError::BadUrl)?;
        let first = calls
            .first
            .get_or_init(|| InternalClient::new(url.clone(), self.api_key.clone(), calls.deadline));
        // What a 2xx answer says beside its status does not matter.
        let _: serde::de::IgnoredAny = first
            .at(url)
            .post(path, body)
            .await
            .map_err(TranscoderError::Call)?;
        Ok(())
    }
}
