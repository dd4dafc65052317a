//! The server on a real socket, against a real ffmpeg and a client shaped like OBS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod ffmpeg;
mod hostile;
mod obs;
mod publishing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use marquee_rtmp::{Admission, Connection, Listener, ListenerConfig, Refusal};

/// Longer than anything takes here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Lets everybody in but the key `known-bad`.
struct Doorman;

impl Admission for Doorman {
    fn knock(&self, _peer: SocketAddr) -> Result<(), Refusal> {
        Ok(())
    }

    fn check(&self, key: &str, _peer: SocketAddr) -> Result<(), Refusal> {
        match key {
            "known-bad" => Err(Refusal::UnknownKey),
            _ => Ok(()),
        }
    }
}

/// A listener on a free port.
pub(crate) async fn listen(change: impl FnOnce(&mut ListenerConfig)) -> Listener {
    let mut config = ListenerConfig::new("127.0.0.1:0".parse().unwrap());
    change(&mut config);
    Listener::bind(config, Arc::new(Doorman)).await.unwrap()
}

pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it takes too long")
}

pub(crate) async fn accept(listener: &mut Listener) -> Connection {
    in_time(listener.accept()).await.unwrap()
}

/// All that a publisher sends, to its end.
pub(crate) async fn everything(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = in_time(connection.recv()).await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    bytes
}
