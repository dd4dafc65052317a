//! A transcoder's HTTP edge, as far as the stream service calls it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use marquee_common::contract::{
    StreamId,
    ingest::{DisconnectReason, DisconnectRequest, FinalizeRequest},
};
use marquee_testkit::eventually;
use tokio::{net::TcpListener, sync::watch};

/// A call it got.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Disconnect {
        stream: StreamId,
        epoch: u64,
        reason: DisconnectReason,
    },
    Finalize {
        stream: StreamId,
        request: FinalizeRequest,
    },
}

#[derive(Clone)]
pub struct Transcoder {
    pub url: String,
    edge: Edge,
}

#[derive(Clone)]
struct Edge {
    calls: Arc<Mutex<Vec<Call>>>,
    finalize_status: Arc<AtomicU16>,
    holds_finalize: Arc<watch::Sender<bool>>,
}

impl Transcoder {
    pub async fn start() -> Self {
        let edge = Edge {
            calls: Arc::default(),
            finalize_status: Arc::new(AtomicU16::new(202)),
            holds_finalize: Arc::new(watch::Sender::new(false)),
        };
        let router = Router::new()
            .route("/internal/streams/{id}/disconnect", post(disconnect))
            .route("/internal/streams/{id}/finalize", post(finalize))
            .with_state(edge.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, edge }
    }

    /// From now on finalize is answered so.
    pub fn answers_finalize(&self, status: u16) {
        self.edge.finalize_status.store(status, Ordering::SeqCst);
    }

    /// Whether finalize is left without an answer from now on.
    pub fn holds_finalize(&self, holds: bool) {
        self.edge.holds_finalize.send_replace(holds);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.edge.calls.lock().unwrap().clone()
    }

    pub fn finalized(&self) -> Vec<FinalizeRequest> {
        let is_finalize = |call| match call {
            Call::Finalize { request, .. } => Some(request),
            Call::Disconnect { .. } => None,
        };
        self.calls().into_iter().filter_map(is_finalize).collect()
    }

    /// Waits for a call.
    pub async fn called(&self, call: Call) {
        self.called_within(call, Duration::from_secs(5)).await;
    }

    /// Waits for a call that has a longer way.
    pub async fn called_within(&self, call: Call, patience: Duration) {
        eventually("the transcoder is called", patience, async || {
            self.calls().contains(&call).then_some(())
        })
        .await;
    }
}

async fn disconnect(
    State(edge): State<Edge>,
    Path(stream): Path<StreamId>,
    headers: HeaderMap,
    Json(request): Json<DisconnectRequest>,
) -> StatusCode {
    assert!(headers.contains_key("x-internal-api-key"));
    let DisconnectRequest { epoch, reason } = request;
    edge.calls.lock().unwrap().push(Call::Disconnect {
        stream,
        epoch,
        reason,
    });
    StatusCode::NO_CONTENT
}

async fn finalize(
    State(edge): State<Edge>,
    Path(stream): Path<StreamId>,
    Json(request): Json<FinalizeRequest>,
) -> StatusCode {
    edge.calls
        .lock()
        .unwrap()
        .push(Call::Finalize { stream, request });
    let mut holds = edge.holds_finalize.subscribe();
    holds.wait_for(|holds| !holds).await.unwrap();
    StatusCode::from_u16(edge.finalize_status.load(Ordering::SeqCst)).unwrap()
}
