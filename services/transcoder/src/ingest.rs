//! The way in: accepts publishers by SRT and RTMP, checks their key with the stream service while a
//! bounded part of what they send waits, and hands them to their broadcast's session.

mod publisher;

pub use publisher::{Closer, LostPublisher, Publisher, Transport, TransportStats, words_for};

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use marquee_common::contract::ingest::{AuthorizeRequest, Authorized, IngestProtocol};
use marquee_rtmp::Refusal as Told;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{Doorman, KeyHash},
    authority::{Authority, Refusal},
    registry::Registry,
};

/// What may wait of a publisher whose key is being checked.
const CHECK_BYTES: usize = 4 << 20;
/// How long a key may be under check.
const CHECK_TIME: Duration = Duration::from_secs(5);

/// Takes publishers in.
pub struct Ingest {
    /// The doorman that the listeners ask.
    pub doorman: Arc<Doorman>,
    /// The stream service.
    pub authority: Authority,
    /// The sessions.
    pub registry: Arc<Registry>,
    /// This transcoder's identity.
    pub transcoder_url: String,
    /// Owns the checks under way.
    pub checks: TaskTracker,
}

impl Ingest {
    /// Accepts SRT publishers until the listener fails or `stop`.
    pub async fn run_srt(
        self: Arc<Self>,
        mut listener: marquee_srt::Listener,
        stop: CancellationToken,
    ) {
        loop {
            match stop.run_until_cancelled(listener.accept()).await {
                None => break,
                Some(Ok(connection)) => self.take(Transport::Srt(connection)),
                Some(Err(error)) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the SRT listener failed"
                    );
                    break;
                }
            }
        }
        listener.close().await;
        self.finish_checks().await;
    }

    /// Accepts RTMP publishers until the listener fails or `stop`.
    pub async fn run_rtmp(
        self: Arc<Self>,
        mut listener: marquee_rtmp::Listener,
        stop: CancellationToken,
    ) {
        loop {
            match stop.run_until_cancelled(listener.accept()).await {
                None => break,
                Some(Ok(connection)) => self.take(Transport::Rtmp(connection)),
                Some(Err(error)) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the RTMP listener failed"
                    );
                    break;
                }
            }
        }
        listener.close().await;
        self.finish_checks().await;
    }

    fn take(self: &Arc<Self>, transport: Transport) {
        let ingest = self.clone();
        self.checks
            .spawn(async move { ingest.check(transport).await });
    }

    async fn finish_checks(&self) {
        self.checks.close();
        self.checks.wait().await;
    }

    async fn check(&self, mut transport: Transport) {
        let Some(_pending) = self.doorman.pending() else {
            transport.refuse(Told::Busy);
            return;
        };
        let Ok(stream_key) = transport.stream_key().map(str::to_owned) else {
            return;
        };
        let key = KeyHash::of(&stream_key);
        let protocol = transport.protocol();
        let peer = transport.peer();
        // Before the authority is asked: its yes may end the publisher's life elsewhere.
        if !self.doorman.has_room(key) {
            refused("at_capacity");
            transport.refuse(Told::Busy);
            return;
        }
        let question = AuthorizeRequest {
            stream_key,
            protocol,
            remote_addr: peer.to_string(),
            transcoder_url: self.transcoder_url.clone(),
        };
        metrics::counter!("transcoder_key_checks_total", "protocol" => name(protocol)).increment(1);
        let mut waiting = VecDeque::new();
        let asked_at = Instant::now();
        let answer = tokio::select! {
            answer = tokio::time::timeout(CHECK_TIME, self.authority.authorize(&question)) => answer,
            kept = keep(&mut transport, &mut waiting) => {
                let error = kept.err();
                tracing::info!(
                    %peer,
                    error = error.as_ref().map(|error| error as &dyn std::error::Error),
                    "a publisher left, or sent too much, before its key was checked"
                );
                return;
            }
        };
        match answer {
            Ok(Ok(authorized)) => {
                tracing::info!(
                    %peer, protocol = name(protocol), stream_id = %authorized.stream_id,
                    "a publisher was admitted"
                );
                let publisher = Publisher::new(transport, waiting);
                self.admit(key, authorized, asked_at, publisher).await;
            }
            Ok(Err(Refusal::BadKey { code })) => {
                let told = match code.as_str() {
                    "stream_key_expired" => Told::ExpiredKey,
                    "held" => Told::Held,
                    _ => Told::UnknownKey,
                };
                self.doorman.remember_bad(key, told);
                refused(&code);
                tracing::info!(%peer, protocol = name(protocol), code, "a publisher was refused");
                transport.refuse(told);
            }
            Ok(Err(Refusal::Contended)) => {
                refused("key_contended");
                tracing::warn!(%peer, "publishers fight for one key; the newest was refused");
                transport.refuse(Told::Contended);
            }
            Ok(Err(error @ Refusal::Unreachable(_))) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a key could not be checked"
                );
                let publisher = Publisher::new(transport, waiting);
                self.admit_held(key, publisher).await;
            }
            Err(_) => {
                let publisher = Publisher::new(transport, waiting);
                self.admit_held(key, publisher).await;
            }
        }
    }

    async fn admit(
        &self,
        key: KeyHash,
        authorized: Authorized,
        asked_at: Instant,
        publisher: Publisher,
    ) {
        let stream_id = authorized.stream_id;
        let slot = self.doorman.take_slot(key);
        let attached = self
            .registry
            .attach(key, slot, authorized, asked_at, publisher);
        if let Err(error) = attached.await {
            refused("not_taken");
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                %stream_id,
                "an admitted publisher cannot be taken"
            );
        }
    }

    /// The stream service is away: a key that this transcoder holds goes on under its epoch.
    async fn admit_held(&self, key: KeyHash, publisher: Publisher) {
        if !self.registry.reattach(key, publisher).await {
            refused("unchecked");
        }
    }
}

fn refused(reason: &str) {
    metrics::counter!("transcoder_publishers_refused_total", "reason" => reason.to_owned())
        .increment(1);
}

fn name(protocol: IngestProtocol) -> &'static str {
    match protocol {
        IngestProtocol::Srt => "srt",
        IngestProtocol::Rtmp => "rtmp",
    }
}

/// Keeps what comes until the bound, or until the publisher leaves.
async fn keep(
    transport: &mut Transport,
    waiting: &mut VecDeque<Bytes>,
) -> Result<(), LostPublisher> {
    let mut bytes = 0;
    while bytes <= CHECK_BYTES
        && let Some(chunk) = transport.recv().await?
    {
        bytes += chunk.len();
        waiting.push_back(chunk);
    }
    Ok(())
}
