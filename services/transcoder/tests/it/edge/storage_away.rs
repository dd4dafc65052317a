//! Storage is away: what viewers play does not notice.

use marquee_common::contract::BroadcastId;
use marquee_testkit::{
    eventually,
    low_latency::{Client, Playlist},
};

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
        response.status().as_u16()
    };
    storage.door.shut();
    // More than the uploader keeps in memory, which is a megabyte here, and not twice as much.
    live.picture_bytes = 1200;
    let mut client = Client::default();
    let mut playlist = Playlist::default();
    for _ in 0..12 {
        live.parts(GOP / PART);
        let text = server
            .get(id, "480p/playlist.m3u8")
            .await
            .text()
            .await
            .unwrap();
        playlist = client.read(&text);
    }
    let segments = playlist.segments;
    assert!(segments.len() >= 11 && segments.iter().all(|segment| !segment.gap));
    assert_eq!(
        status(&segments[0].uri).await,
        200,
        "it is older than what is kept"
    );
    eventually("the oldest goes to disk, and says so", PATIENCE, || async {
        (status(&segments[0].uri).await == 503).then_some(())
    })
    .await;
    assert_eq!(
        status(&segments[10].uri).await,
        200,
        "what is played is in memory"
    );
    storage.door.open();
    eventually("storage has the oldest", PATIENCE, || async {
        (status(&segments[0].uri).await == 307).then_some(())
    })
    .await;
}
