//! What viewers see of a broadcast that goes on in another process.

use std::time::Duration;

use marquee_testkit::low_latency::{Client, Playlist};
use tokio::time::Instant;

use super::{
    live::{GOP, Live, PART, PATIENCE, RUNGS, Server},
    world::World,
};

#[tokio::test]
async fn a_predecessor_shows_a_publisher_who_is_away_and_its_successor_goes_on_in_the_same_playlist()
 {
    let mut world = World::on_air().await;
    world.live.end_run();
    world.live.output.flush(PATIENCE).await;
    let mut client = Client::default();
    client.read(&world.text("480p/playlist.m3u8").await);

    let elsewhere = marquee_transcoder::output::OutputContext {
        edge: marquee_transcoder::edge::Edge::default(),
        ..world.storage.context.clone()
    };
    let other = Server::start(&elsewhere).await;
    let mut successor = Live::start(&elsewhere, world.id(), world.broadcast, 2, 11).await;
    let reload = "480p/playlist.m3u8?_HLS_msn=3&_HLS_part=0";
    let World {
        live,
        server,
        storage,
        ..
    } = world;
    live.output.give_way();
    live.output.stop().await;
    // Nothing changes for who is not led to the successor yet, which has nothing to show so far.
    for path in ["master.m3u8", reload] {
        let response = server.get(storage.stream_id, path).await;
        assert_eq!(response.status(), 200, "{path}");
        if path == reload {
            client.read(&response.text().await.unwrap());
        }
    }
    let nothing_yet = other.get(storage.stream_id, "master.m3u8").await;
    assert_eq!(nothing_yet.status(), 404);

    successor.parts(2);
    let text = other
        .get(storage.stream_id, "480p/playlist.m3u8")
        .await
        .text()
        .await
        .unwrap();
    let playlist = client.read(&text);
    assert_eq!(playlist.next(), (11, 2));
    assert!(playlist.open.discontinuity);
    assert_eq!(playlist.segments.iter().filter(|one| one.gap).count(), 8);
}

#[tokio::test]
async fn a_process_that_ends_lets_its_viewers_go_at_once() {
    let world = World::on_air().await;
    let held = world
        .held("480p/playlist.m3u8?_HLS_msn=2&_HLS_part=3")
        .await;
    let World {
        live,
        server,
        storage,
        ..
    } = world;
    let began = Instant::now();
    live.output.stop().await;
    let unchanged = held.await.unwrap().unwrap();
    assert_eq!(unchanged.status(), 200);
    assert!(began.elapsed() < Duration::from_secs(4));
    let gone = server.get(storage.stream_id, "master.m3u8").await;
    assert_eq!(gone.status(), 404);
}

#[tokio::test]
async fn who_gives_way_shows_nothing_of_what_it_still_cuts() {
    let mut world = World::on_air().await;
    let mut client = Client::default();
    let before = client.read(&world.text("480p/playlist.m3u8").await);
    world.live.output.give_way();
    world.live.parts(GOP / PART);
    world.live.end_run();
    let after = client.read(&world.text("480p/playlist.m3u8").await);
    assert_eq!(after.hint, None);
    assert_eq!(
        after,
        Playlist {
            hint: None,
            ..before
        }
    );
    // What was cut is stored all the same.
    assert!(world.live.output.flush_segments(PATIENCE).await);
    let objects = &world.storage.context.objects;
    let tag = world.broadcast.0.into();
    let names = objects.list_names(world.id(), RUNGS[0], tag, None).await;
    assert_eq!(names.unwrap().len(), 3);
}
