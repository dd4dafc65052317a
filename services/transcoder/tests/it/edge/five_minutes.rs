//! Five minutes of a broadcast as a client reads them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use marquee_common::contract::BroadcastId;
use marquee_testkit::low_latency::{Client, Playlist, Segment};

use super::live::{GOP, Live, PART, RUNGS, STORAGE_URL, Server};
use crate::storage::Storage;

const SEGMENTS: u64 = 150;
const PARTS_A_SEGMENT: u64 = (GOP / PART) as u64;
const DVR: Duration = Duration::from_mins(2);
/// Segments in a minute.
const MINUTE: usize = 30;

/// A viewer of one rendition.
struct Viewer<'a> {
    server: &'a Server,
    storage: &'a Storage,
    rung: String,
    client: Client,
    /// Bytes of the growing segment's parts so far.
    growing: BytesMut,
}

impl Viewer<'_> {
    async fn read(&mut self, query: &str) -> Playlist {
        let path = format!("{}/playlist.m3u8{query}", self.rung);
        let response = self.server.get(self.storage.stream_id, &path).await;
        assert_eq!(response.status(), 200, "{path}");
        self.client.read(&response.text().await.unwrap())
    }

    async fn fetch(&self, uri: &str) -> Bytes {
        let path = format!("{}/{uri}", self.rung);
        let response = self.server.get(self.storage.stream_id, &path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.unwrap()
    }

    /// Plays the part that came with this version.
    async fn play(&mut self, playlist: &Playlist) {
        if let Some(part) = playlist.open.parts.last() {
            let bytes = self.fetch(&part.uri).await;
            assert_eq!((bytes[0], bytes.len() % 188), (0x47, 0));
            self.growing.extend_from_slice(&bytes);
            return;
        }
        // The segment is whole: its last part came with it.
        let whole = playlist.segments.last().unwrap();
        let last = self.fetch(&whole.parts.last().unwrap().uri).await;
        self.growing.extend_from_slice(&last);
        let parts = std::mem::take(&mut self.growing);
        assert!(
            self.fetch(&whole.uri).await == parts,
            "a segment is its parts"
        );
    }

    /// Seeks a minute back: what left memory is in storage, under the same name. Tells whether it did.
    async fn seek(&self, segment: &Segment) -> bool {
        let key = format!("{}/{}/{}", self.storage.stream_id, self.rung, segment.uri);
        let path = format!("{}/{}", self.rung, segment.uri);
        let response = self.server.get(self.storage.stream_id, &path).await;
        if response.status() == 200 {
            return false;
        }
        assert_eq!(response.status(), 307);
        assert_eq!(
            response.headers()["location"],
            format!("{STORAGE_URL}/{key}")
        );
        let get = self
            .storage
            .client
            .get_object()
            .bucket("live-segments")
            .key(key);
        let stored = get.send().await.unwrap().body.collect().await.unwrap();
        assert!(!stored.into_bytes().is_empty());
        true
    }
}

#[tokio::test]
async fn five_minutes_of_full_and_delta_reloads_with_seeks_across_evictions_are_legal() {
    let mut storage = Storage::new().await;
    storage.context.dvr_window = DVR;
    let server = Server::start(&storage.context).await;
    let id = storage.stream_id;
    let mut live = Live::start(&storage.context, id, BroadcastId::new(), 1, 1).await;
    let viewer = |rung: usize| Viewer {
        server: &server,
        storage: &storage,
        rung: RUNGS[rung].to_string(),
        client: Client::default(),
        growing: BytesMut::new(),
    };
    let mut viewers = [viewer(0), viewer(1)];
    live.parts(1);
    for viewer in &mut viewers {
        let first = viewer.read("").await;
        viewer.play(&first).await;
    }
    let mut evicted = 0;
    let mut most_bytes = 0;
    for number in 1..SEGMENTS * PARTS_A_SEGMENT {
        // Both wait for what comes; every fourth time one of them reads the whole playlist.
        let (msn, part) = viewers[0].client.last().next();
        let part = part % PARTS_A_SEGMENT;
        let [one, other] = &mut viewers;
        let skip = if number % 4 == 0 {
            ""
        } else {
            "&_HLS_skip=YES"
        };
        let query = format!("?_HLS_msn={msn}&_HLS_part={part}");
        let by_delta = format!("{query}&_HLS_skip=YES");
        let (low, high) = (format!("{query}{skip}"), by_delta);
        let feed = async {
            tokio::task::yield_now().await;
            live.parts(1);
        };
        let ((), low, high) = tokio::join!(feed, one.read(&low), other.read(&high));
        assert_eq!(low.next(), high.next(), "renditions go on together");
        for viewer in &mut viewers {
            let playlist = viewer.client.last().clone();
            viewer.play(&playlist).await;
        }
        let segments = &high.segments;
        if number % 25 == 0 && segments.len() > MINUTE {
            let back = &segments[segments.len() - MINUTE];
            evicted += usize::from(viewers[1].seek(back).await);
        }
        let stream = storage.context.edge.find(id).unwrap();
        most_bytes = most_bytes.max(stream.bytes());
    }
    let last = viewers[0].client.last();
    assert_eq!(last.last_msn(), SEGMENTS);
    let listed = u64::try_from(last.segments.len()).unwrap();
    assert!((60..=61).contains(&listed), "the window is two minutes");
    assert!(evicted > 20, "only {evicted} seeks led to storage");
    // 12 s of each rendition, the growing segments, and what storage had not taken yet.
    let segment_bytes = 60 * 188 * 7;
    assert!(
        most_bytes < 2 * 14 * segment_bytes,
        "{most_bytes} bytes were held"
    );
}
