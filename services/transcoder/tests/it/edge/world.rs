//! A broadcast, the edge that serves it, and what a client gets there.

use std::time::Duration;

use marquee_common::contract::{BroadcastId, StreamId};

use super::live::{GOP, Live, PART, Server};
use crate::storage::Storage;

pub struct World {
    pub storage: Storage,
    pub server: Server,
    pub live: Live,
    pub broadcast: BroadcastId,
}

impl World {
    pub async fn start() -> Self {
        let storage = Storage::new().await;
        let server = Server::start(&storage.context).await;
        let broadcast = BroadcastId::new();
        let live = Live::start(&storage.context, storage.stream_id, broadcast, 1, 1).await;
        Self {
            storage,
            server,
            live,
            broadcast,
        }
    }

    /// With a whole segment and three parts of the next.
    pub async fn on_air() -> Self {
        let mut world = Self::start().await;
        world.live.parts(GOP / PART + 3);
        world
    }

    pub fn id(&self) -> StreamId {
        self.storage.stream_id
    }

    pub async fn status(&self, path: &str) -> u16 {
        self.server.get(self.id(), path).await.status().as_u16()
    }

    /// A request that is not answered yet.
    pub async fn held(&self, path: &str) -> Held {
        let url = self.server.url(self.id(), path);
        let mut held = tokio::spawn(self.server.client().get(url).send());
        is_held(&mut held, path).await;
        held
    }

    pub async fn text(&self, path: &str) -> String {
        let response = self.server.get(self.id(), path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }
}

pub type Held = tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>;

/// An answer that is not held comes within this, on the slowest machine.
pub async fn is_held(held: &mut Held, what: &str) {
    let early = tokio::time::timeout(Duration::from_millis(200), held).await;
    assert!(early.is_err(), "{what} is answered too early");
}
