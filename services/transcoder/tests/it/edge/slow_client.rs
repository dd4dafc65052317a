//! A client that takes a little now and then does not keep a segment from being forgotten.

use std::time::Duration;

use marquee_testkit::low_latency::Playlist;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    live::{GOP, PART, PATIENCE, Server},
    world::World,
};

/// More than lies in the buffers of a connection.
const SEGMENT_BYTES: usize = 12 << 20;
/// Far below what the kernel bears of a client that takes nothing at all.
const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn who_takes_longer_than_the_limit_over_a_segment_loses_the_connection() {
    let mut world = World::start().await;
    world.live.picture_bytes = SEGMENT_BYTES / GOP as usize;
    world.live.parts(GOP / PART + 1);
    let playlist = Playlist::parse(&world.text("480p/playlist.m3u8").await);
    let path = format!("480p/{}", playlist.segments[0].uri);
    let whole = world.server.get(world.id(), &path).await;
    let (status, len) = (whole.status(), whole.bytes().await.unwrap().len());
    assert!(status == 200 && len > SEGMENT_BYTES, "{status} {len}");

    let limited = Server::with_longest_answer(&world.storage.context, LIMIT).await;
    let mut slow = TcpStream::connect(limited.addr).await.unwrap();
    let request = format!(
        "GET /stream/{}/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        world.id()
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    let (began, mut sip, mut taken) = (Instant::now(), [0; 4096], 0);
    while began.elapsed() < 2 * LIMIT {
        taken += slow.read(&mut sip).await.unwrap_or(0);
        sleep(Duration::from_millis(100)).await;
    }
    // From now on as fast as it comes: what was under way, and its end or its being broken off.
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, slow.read_to_end(&mut rest))
        .await
        .expect("the connection ends");
    taken += rest.len();
    assert!(taken < SEGMENT_BYTES, "all of it was kept: {taken}");
}
