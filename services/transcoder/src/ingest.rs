//! The way in: accepts SRT publishers, checks their key with the stream service while a bounded
//! part of what they send waits, and hands them to their broadcast's session.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use marquee_common::contract::ingest::{AuthorizeRequest, Authorized, IngestProtocol};
use marquee_srt::{Closer, Connection, Listener, parse_stream_id};
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

/// A publisher whose key was admitted.
#[derive(Debug)]
pub struct Publisher {
    connection: Connection,
    waiting: VecDeque<Bytes>,
}

impl Publisher {
    /// The next bytes of the transport stream; `None` when the publisher is gone.
    pub async fn recv(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.waiting.pop_front() {
            return Some(bytes);
        }
        match self.connection.recv().await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "the publisher's connection ended"
                );
                None
            }
        }
    }

    /// What SRT measured.
    pub fn stats(&self) -> marquee_srt::Stats {
        self.connection.stats()
    }

    /// Ends the connection from anywhere, at once.
    pub fn closer(&self) -> Closer {
        self.connection.closer()
    }
}

/// Accepts publishers until the listener fails or `stop`.
pub struct Ingest {
    /// The doorman that the listener asks.
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
    /// Accepts publishers until `stop`.
    pub async fn run(self: Arc<Self>, mut listener: Listener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(connection) => {
                    let ingest = self.clone();
                    self.checks
                        .spawn(async move { ingest.check(connection).await });
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the SRT listener failed"
                    );
                    break;
                }
            }
        }
        listener.close().await;
        self.checks.close();
        self.checks.wait().await;
    }

    async fn check(&self, mut connection: Connection) {
        let Some(_pending) = self.doorman.pending() else {
            return;
        };
        let Ok(request) = parse_stream_id(connection.stream_id()) else {
            return;
        };
        let key = KeyHash::of(request.key);
        let peer = connection.peer();
        // Before the authority is asked: its yes may end the publisher's life elsewhere.
        if !self.doorman.has_room(key) {
            refused("at_capacity");
            return;
        }
        let question = AuthorizeRequest {
            stream_key: request.key.to_owned(),
            protocol: IngestProtocol::Srt,
            remote_addr: peer.to_string(),
            transcoder_url: self.transcoder_url.clone(),
        };
        metrics::counter!("transcoder_key_checks_total").increment(1);
        let mut waiting = VecDeque::new();
        let asked_at = Instant::now();
        let answer = tokio::select! {
            answer = tokio::time::timeout(CHECK_TIME, self.authority.authorize(&question)) => answer,
            () = keep(&mut connection, &mut waiting) => {
                tracing::info!(%peer, "a publisher left, or sent too much, before its key was checked");
                return;
            }
        };
        let publisher = Publisher {
            connection,
            waiting,
        };
        match answer {
            Ok(Ok(authorized)) => {
                self.admit(key, authorized, asked_at, publisher).await;
            }
            Ok(Err(Refusal::BadKey { code })) => {
                self.doorman.remember_bad(key);
                refused(&code);
                tracing::info!(%peer, code, "a publisher was refused");
            }
            Ok(Err(Refusal::Contended)) => {
                refused("key_contended");
                tracing::warn!(%peer, "publishers fight for one key; the newest was refused");
            }
            Ok(Err(error @ Refusal::Unreachable(_))) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a key could not be checked"
                );
                self.admit_held(key, publisher).await;
            }
            Err(_) => self.admit_held(key, publisher).await,
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

/// Keeps what comes until the bound, or until the publisher leaves.
async fn keep(connection: &mut Connection, waiting: &mut VecDeque<Bytes>) {
    let mut bytes = 0;
    while bytes <= CHECK_BYTES {
        match connection.recv().await {
            Ok(Some(chunk)) => {
                bytes += chunk.len();
                waiting.push_back(chunk);
            }
            Ok(None) | Err(_) => return,
        }
    }
}
