//! What is answered to each kind of request.

use std::{io::Read, time::Duration};

use flate2::read::GzDecoder;
use marquee_common::contract::{BroadcastId, StreamId};
use marquee_testkit::{
    eventually,
    low_latency::{Client, Playlist},
};
use marquee_transcoder::ladder::TopRung;
use tokio::time::Instant;

use super::{
    live::{GOP, PART, PATIENCE},
    world::{World, is_held},
};

#[tokio::test]
async fn the_master_comes_with_the_first_segment_and_leads_to_every_rendition() {
    let mut world = World::start().await;
    assert_eq!(world.status("master.m3u8").await, 404);
    assert_eq!(world.status("480p/playlist.m3u8").await, 404);
    world.live.parts(3);
    assert_eq!(
        world.status("480p/playlist.m3u8").await,
        200,
        "there are parts"
    );
    assert_eq!(
        world.status("master.m3u8").await,
        404,
        "nothing is measured"
    );
    world.live.parts(GOP / PART);
    let master = world.text("master.m3u8").await;
    for rung in ["480p", "360p"] {
        assert!(master.contains(&format!("\n{rung}/playlist.m3u8")));
        world.text(&format!("{rung}/playlist.m3u8")).await;
    }
}

#[tokio::test]
async fn a_playlist_may_be_read_from_any_page_by_get_and_head_and_a_proxy_may_join_requests() {
    let world = World::on_air().await;
    for path in ["master.m3u8", "480p/playlist.m3u8"] {
        let url = world.server.url(world.id(), path);
        let get = world.server.client().get(&url).send().await.unwrap();
        let head = world.server.client().head(&url).send().await.unwrap();
        for response in [&get, &head] {
            let header = |name: &str| response.headers()[name].to_str().unwrap();
            assert_eq!(header("content-type"), "application/vnd.apple.mpegurl");
            assert_eq!(header("access-control-allow-origin"), "*");
            assert_eq!(header("marquee-coalesce"), "1");
            assert_eq!(header("cache-control"), "no-cache");
            assert_eq!(header("vary"), "Accept-Encoding");
        }
        assert_eq!(
            head.headers()["content-length"],
            get.headers()["content-length"]
        );
        let preflight = world
            .server
            .client()
            .request(reqwest::Method::OPTIONS, &url)
            .send()
            .await
            .unwrap();
        assert_eq!(preflight.status(), 204);
        let post = world.server.client().post(&url).send().await.unwrap();
        assert_eq!(post.status(), 405);
    }
    let missing = world.server.get(StreamId::new(), "master.m3u8").await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn a_playlist_is_compressed_for_those_who_take_it() {
    let world = World::on_air().await;
    let plain = world.text("480p/playlist.m3u8").await;
    let url = world.server.url(world.id(), "480p/playlist.m3u8");
    for (accepts, is_gzip) in [
        ("gzip, deflate, br", true),
        ("br;q=1.0, gzip;q=0.8", true),
        ("*", true),
        ("identity", false),
        ("gzip;q=0, br", false),
    ] {
        let request = world
            .server
            .client()
            .get(&url)
            .header("accept-encoding", accepts);
        let response = request.send().await.unwrap();
        let encoding = response.headers().get("content-encoding").cloned();
        assert_eq!(encoding.is_some(), is_gzip, "{accepts}");
        let body = response.bytes().await.unwrap();
        let mut text = String::new();
        if is_gzip {
            assert!(body.len() * 3 < plain.len());
            GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(body.to_vec()).unwrap();
        }
        assert_eq!(text, plain, "{accepts}");
    }
}

#[tokio::test]
async fn a_reload_is_held_until_the_playlist_has_what_it_names() {
    let mut world = World::on_air().await;
    let before = Playlist::parse(&world.text("480p/playlist.m3u8").await);
    assert_eq!(before.next(), (2, 3));
    for (query, parts_until) in [
        ("_HLS_msn=2&_HLS_part=3", 1),
        // Two parts on.
        ("_HLS_msn=2&_HLS_part=5", 2),
        // The whole segment, which ends with the keyframe after it.
        ("_HLS_msn=2", 4),
        // A part past the last is the first of the next segment, which has begun.
        ("_HLS_msn=2&_HLS_part=12&_HLS_skip=YES", 1),
    ] {
        let url = world
            .server
            .url(world.id(), &format!("480p/playlist.m3u8?{query}"));
        let mut held = tokio::spawn(world.server.client().get(url).send());
        for _ in 0..parts_until {
            is_held(&mut held, query).await;
            world.live.parts(1);
        }
        let response = held.await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["cache-control"], "public, max-age=12");
    }
}

#[tokio::test]
async fn what_no_client_of_the_playlist_asks_for_is_refused_at_once() {
    let world = World::on_air().await;
    for query in [
        "_HLS_part=0",
        "_HLS_msn=5",
        "_HLS_msn=2&_HLS_part=18",
        "_HLS_msn=99999999999999999999999&_HLS_part=1",
        "_HLS_msn=2&_HLS_part=99999999999999999999999",
        "_HLS_msn=-1",
        "_HLS_msn=",
        "_HLS_msn=2&_HLS_part=x",
    ] {
        let path = format!("480p/playlist.m3u8?{query}");
        let response = world.server.get(world.id(), &path).await;
        assert_eq!(response.status(), 400, "{query}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let problem = response.text().await.unwrap();
        assert!(problem.contains("_HLS_"), "{problem}");
    }
    // The far past is there, and so is what a cache buster means: nothing.
    for query in ["_HLS_msn=0&_HLS_part=7", "_HLS_msn=1", "x=1", ""] {
        world.text(&format!("480p/playlist.m3u8?{query}")).await;
    }
    let part = |number: &str| format!("480p/{}-000001-{number}.ts", tag(world.broadcast));
    for path in [
        "720p/playlist.m3u8",
        "9p/playlist.m3u8",
        "480p/other.m3u8",
        "480p/..%2f..%2fetc%2fpasswd",
        &part("000000002.5"),
        &part("000000009.0"),
        &part("000000003-1-2000"),
    ] {
        assert_eq!(world.status(path).await, 404, "{path}");
    }
}

fn tag(broadcast: BroadcastId) -> String {
    marquee_hls::BroadcastTag::from(broadcast.0).to_string()
}

#[tokio::test]
async fn an_announced_part_is_waited_for_and_one_that_will_not_come_is_missing_at_once() {
    let mut world = World::on_air().await;
    let playlist = Playlist::parse(&world.text("480p/playlist.m3u8").await);
    let hint = format!("480p/{}", playlist.hint.unwrap());
    let held = world.held(&hint).await;
    world.live.parts(1);
    let part = held.await.unwrap().unwrap();
    assert_eq!(part.status(), 200);
    assert_eq!(part.headers()["content-type"], "video/mp2t");
    assert_eq!(
        part.headers()["cache-control"],
        "public, max-age=31536000, immutable"
    );

    let playlist = Playlist::parse(&world.text("480p/playlist.m3u8").await);
    let hint = format!("480p/{}", playlist.hint.unwrap());
    let held = world.held(&hint).await;
    // The rest of the segment, shorter than a part, comes under this name; the one after never.
    world.live.end_run();
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    let began = Instant::now();
    let next = format!("480p/{}-000001-000000002.6.ts", tag(world.broadcast));
    let missing = world.server.get(world.id(), &next).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.headers()["marquee-coalesce"], "1");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_announced_part_that_does_not_come_is_waited_for_three_target_durations_and_no_longer() {
    let world = World::on_air().await;
    let playlist = Playlist::parse(&world.text("480p/playlist.m3u8").await);
    let hint = format!("480p/{}", playlist.hint.unwrap());
    let began = Instant::now();
    // The encoder has stalled.
    let late = world.server.get(world.id(), &hint).await;
    assert_eq!(late.status(), 404);
    // Those who were joined are not to wait as long again, each by itself.
    assert_eq!(late.headers()["marquee-coalesce"], "1");
    let waited = began.elapsed();
    assert!((Duration::from_secs(6)..Duration::from_secs(10)).contains(&waited));
}

#[tokio::test]
async fn while_the_publisher_is_away_a_reload_is_answered_after_a_target_duration() {
    let mut world = World::on_air().await;
    let mut client = Client::default();
    world.live.end_run();
    let before = client.read(&world.text("480p/playlist.m3u8").await);
    assert_eq!(before.hint, None);
    let began = Instant::now();
    let after = world
        .text("480p/playlist.m3u8?_HLS_msn=3&_HLS_part=0")
        .await;
    let waited = began.elapsed();
    assert_eq!(client.read(&after), before);
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&waited));

    let held = world
        .held("480p/playlist.m3u8?_HLS_msn=3&_HLS_part=0")
        .await;
    world.live.begin_run(TopRung::Encoded);
    world.live.parts(1);
    let back = held.await.unwrap().unwrap().text().await.unwrap();
    let back = client.read(&back);
    assert!(back.open.discontinuity && back.open.date.is_some());
    assert!(back.hint.is_some());
}

#[tokio::test]
async fn a_passed_through_run_is_shown_when_its_first_segment_stands() {
    let mut world = World::on_air().await;
    world.live.end_run();
    world.live.begin_run(TopRung::Copied);
    world.live.parts(5);
    let mut client = Client::default();
    let held_back = client.read(&world.text("480p/playlist.m3u8").await);
    assert_eq!(held_back.next(), (3, 0));
    // Its keyframes turn out to be too far apart: it is made again, and nobody saw anything of it.
    world.live.abandon_run();
    world.live.begin_run(TopRung::Encoded);
    world.live.parts(1);
    let playlist = client.read(&world.text("480p/playlist.m3u8").await);
    assert_eq!(playlist.next(), (3, 1));
}

#[tokio::test]
async fn a_number_of_which_parts_were_shown_is_not_used_twice() {
    let mut world = World::on_air().await;
    let mut client = Client::default();
    client.read(&world.text("360p/playlist.m3u8").await);
    // Its rest is made again by an encoder.
    world.live.abandon_run();
    world.live.begin_run(TopRung::Encoded);
    world.live.parts(GOP / PART + 1);
    let playlist = client.read(&world.text("360p/playlist.m3u8").await);
    let gaps: Vec<_> = playlist.segments.iter().map(|one| one.gap).collect();
    assert_eq!(gaps, [false, true, false]);
    assert!(playlist.segments[2].discontinuity);
    for part in playlist.segments.iter().flat_map(|one| &one.parts) {
        let status = world.status(&format!("360p/{}", part.uri)).await;
        assert_eq!(status, if part.gap { 404 } else { 200 }, "{part:?}");
    }
    let objects = &world.storage.context.objects;
    let key = marquee_transcoder::output::objects::playlist_key(world.id(), super::live::RUNGS[1]);
    eventually("storage lists the same", PATIENCE, || async {
        let text = objects.get_playlist(&key).await.unwrap()?;
        let stored = marquee_hls::MediaPlaylist::parse(&text).unwrap();
        let uris: Vec<_> = stored
            .entries
            .iter()
            .map(|entry| entry.uri.clone())
            .collect();
        let shown: Vec<_> = playlist
            .segments
            .iter()
            .map(|one| one.uri.clone())
            .collect();
        (uris == shown).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_the_end_directives_mean_nothing() {
    let mut world = World::on_air().await;
    world.live.end_run();
    let held = world
        .held("480p/playlist.m3u8?_HLS_msn=3&_HLS_part=0")
        .await;
    world.live.output.end(PATIENCE).await.unwrap();
    let ended = held.await.unwrap().unwrap().text().await.unwrap();
    assert!(Playlist::parse(&ended).ended);
    for query in ["_HLS_msn=3&_HLS_part=0", "_HLS_msn=99", "_HLS_skip=YES"] {
        let text = world.text(&format!("480p/playlist.m3u8?{query}")).await;
        assert!(Playlist::parse(&text).ended, "{query}");
    }
    // For a while everybody is told so, whatever becomes of the session.
    let World {
        live,
        server,
        storage,
        ..
    } = world;
    live.output.stop().await;
    let after = server.get(storage.stream_id, "480p/playlist.m3u8").await;
    assert!(Playlist::parse(&after.text().await.unwrap()).ended);
}
