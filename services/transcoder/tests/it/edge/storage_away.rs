//! Storage is away: what viewers play does not notice.

use marquee_common::contract::BroadcastId;
use marquee_testkit::{eventually, low_latency::Client};

use super::live::{GOP, Live, PART, PATIENCE, Server};
use crate::storage::Storage;

#[tokio::test]
async fn segments_stay_in_memory_or_on_disk_until_storage_has_them() {
    let storage = Storage::new().await;
    let server = Server::start(&storage.context).await;
    let id = storage.stream_id;
    let mut live = Live::start(&storage.context, id, BroadcastId::new(), 1, 1).await;
    let status = async |uri: &str| {
        let response = server.get(id, &format!("480p/{uri}")).await;
        // Wherever it is, it is there for all.
        assert_eq!(response.headers()["marquee-coalesce"], "1");
        response.status().as_u16()
    };
    storage.door.shut();
    let mut client = Client::default();
    for _ in 0..8 {
        live.parts(GOP / PART);
    }
    let text = server.get(id, "480p/playlist.m3u8").await.text().await;
    let oldest = client.read(&text.unwrap()).segments.swap_remove(0).uri;
    assert_eq!(status(&oldest).await, 200, "it is older than what is kept");
    // Now more than the uploader keeps in memory, which is a megabyte here, and not twice as much.
    live.picture_bytes = 2000;
    for _ in 0..3 {
        live.parts(GOP / PART);
    }
    let text = server.get(id, "480p/playlist.m3u8").await.text().await;
    let segments = client.read(&text.unwrap()).segments;
    assert!(segments.len() == 11 && segments.iter().all(|segment| !segment.gap));
    eventually("the oldest goes to disk, and says so", PATIENCE, || async {
        (status(&oldest).await == 503).then_some(())
    })
    .await;
    assert_eq!(
        status(&segments[10].uri).await,
        200,
        "what is played is in memory"
    );
    storage.door.open();
    eventually("storage has the oldest", PATIENCE, || async {
        (status(&oldest).await == 307).then_some(())
    })
    .await;
}
