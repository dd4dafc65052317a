//! A client that takes a byte now and then does not keep a segment from being forgotten.

use std::time::Duration;

use marquee_testkit::low_latency::Playlist;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::{
    live::{GOP, PART},
    world::World,
};

/// More than lies in the buffers of a connection.
const SEGMENT_BYTES: usize = 12 << 20;

#[tokio::test]
async fn who_is_not_done_with_a_segment_after_a_minute_loses_the_connection() {
    let mut world = World::start().await;
    world.live.picture_bytes = SEGMENT_BYTES / GOP as usize;
    world.live.parts(GOP / PART + 1);
    let playlist = Playlist::parse(&world.text("480p/playlist.m3u8").await);
    let path = format!("480p/{}", playlist.segments[0].uri);
    let whole = world.server.get(world.id(), &path).await;
    let (status, len) = (whole.status(), whole.bytes().await.unwrap().len());
    assert!(status == 200 && len > SEGMENT_BYTES, "{status} {len}");

    let mut slow = TcpStream::connect(world.server.addr).await.unwrap();
    let request = format!(
        "GET /stream/{}/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        world.id()
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(62) {
        slow.read_u8().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut rest = Vec::new();
    // Its end, or its being broken off.
    let _ = slow.read_to_end(&mut rest).await;
    assert!(rest.len() < SEGMENT_BYTES, "all of it was kept");
}
