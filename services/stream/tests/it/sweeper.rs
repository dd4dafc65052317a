//! What happens although nobody calls.

use std::time::{Duration, Instant};

use futures::future::join_all;
use marquee_common::contract::ingest::{Authorized, BroadcastLadder, FinalizeRequest};
use marquee_testkit::eventually;

use crate::{
    transcoder::Transcoder,
    world::{LONG, World, ended, live},
};

const DEAD: &str = "http://dead.invalid:8086";

async fn heard_ago(world: &World, held: &Authorized, seconds: u32) {
    let sql = format!(
        "UPDATE broadcasts SET heard_at = clock_timestamp() - interval '{seconds} s' WHERE id = $1"
    );
    world.sql(&sql, held.broadcast_id).await;
}

fn request_of(held: &Authorized) -> FinalizeRequest {
    FinalizeRequest {
        broadcast_id: held.broadcast_id,
        discontinuity_seq_first: held.discontinuity_seq_first,
        ladder: Some(BroadcastLadder {
            rungs: ["720p", "480p", "360p"].map(str::to_owned).to_vec(),
            audio: true,
        }),
    }
}

async fn is_finalized(world: &World, held: &Authorized) -> bool {
    let sql = "SELECT finalized_at IS NOT NULL FROM broadcasts WHERE id = $1";
    world.scalar(sql, held.broadcast_id).await
}

#[tokio::test]
async fn a_silent_broadcast_ends_after_the_grace_and_its_margin() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &held, 44).await;
    world.sweep().await;
    assert_eq!(world.status(stream.id).await, "live");
    heard_ago(&world, &held, 46).await;
    world.sweep().await;
    assert_eq!(world.status(stream.id).await, "active");
    assert_eq!(
        world.announced_types(stream.id).await,
        ["live.started", "live.ended"]
    );
    let reason: String = world
        .scalar(
            "SELECT end_reason FROM broadcasts WHERE id = $1",
            held.broadcast_id,
        )
        .await;
    assert_eq!(reason, "silent");
}

#[tokio::test]
async fn the_grace_and_its_margin_are_settings() {
    let world = World::with(&["--reconnect-grace-s", "5", "--silence-margin-s", "2"]).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &held, 6).await;
    world.sweep().await;
    assert_eq!(world.status(stream.id).await, "live");
    heard_ago(&world, &held, 8).await;
    world.sweep().await;
    assert_eq!(world.status(stream.id).await, "active");
}

#[tokio::test]
async fn an_instance_that_has_just_begun_to_listen_blames_nobody() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &held, 600).await;
    for listening in [0, 44] {
        world
            .sweeper()
            .sweep(Duration::from_secs(listening), false)
            .await
            .unwrap();
        assert_eq!(world.status(stream.id).await, "live");
    }
    world
        .sweeper()
        .sweep(Duration::from_secs(46), false)
        .await
        .unwrap();
    assert_eq!(world.status(stream.id).await, "active");
}

#[tokio::test]
async fn renewals_and_events_are_signs_of_life() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &held, 60).await;
    world.renew(DEAD, &[(&held, 2, 0)]).await;
    world.sweep().await;
    assert_eq!(world.status(stream.id).await, "live");
    heard_ago(&world, &held, 60).await;
    world.event(&held, 2, crate::world::health(1)).await;
    world.sweep().await;
    assert_eq!(world.status(stream.id).await, "live");
}

#[tokio::test]
async fn many_sweepers_at_once_end_a_broadcast_once() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &held, 60).await;
    let sweeper = world.sweeper();
    for swept in join_all((0..6).map(|_| sweeper.sweep(LONG, false))).await {
        swept.unwrap();
    }
    world.sweep().await;
    assert_eq!(
        world.announced_types(stream.id).await,
        ["live.started", "live.ended"]
    );
}

#[tokio::test]
async fn keys_expire_but_not_on_the_air() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let waiting = world.stream_of(&ada).await;
    let starting = world.stream_of(&bob).await;
    let held = world.admit(&starting.key, DEAD).await;
    for stream in [&waiting, &starting] {
        world.expire(stream.id).await;
    }
    world.sweep().await;
    let stored = "SELECT status FROM streams WHERE id = $1";
    assert_eq!(world.scalar::<String>(stored, waiting.id).await, "expired");
    assert_eq!(world.scalar::<String>(stored, starting.id).await, "active");
    assert_eq!(world.status(starting.id).await, "active");
    world.event(&held, 1, live()).await;
    assert_eq!(world.status(starting.id).await, "live");
    world.event(&held, 2, ended()).await;
    assert_eq!(world.scalar::<String>(stored, starting.id).await, "expired");
}

#[tokio::test]
async fn a_holder_that_confirms_the_end_is_left_to_it() {
    let world = World::start().await;
    let other = Transcoder::start().await;
    world.renew(&other.url, &[]).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    world.renew(DEAD, &[(&held, 9, 0)]).await;
    world.event(&held, 2, ended()).await;
    assert!(
        !is_finalized(&world, &held).await,
        "the word, not its fulfilment"
    );
    world.sweep().await;
    world.event(&held, 3, ended()).await;
    assert!(is_finalized(&world, &held).await);
    heard_ago(&world, &held, 60).await;
    world.sweep().await;
    assert!(other.calls().is_empty());
}

#[tokio::test]
async fn a_holder_that_still_writes_is_given_the_time() {
    let world = World::start().await;
    let other = Transcoder::start().await;
    world.renew(&other.url, &[]).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    world.event(&held, 2, ended()).await;
    let shift = "UPDATE broadcasts SET ended_at = ended_at - interval '5 min', \
                 finalize_at = finalize_at - interval '5 min' WHERE id = $1";
    world.sql(shift, held.broadcast_id).await;
    heard_ago(&world, &held, 60).await;
    // Its last segments wait for storage; it renews until they are there.
    world.renew(DEAD, &[(&held, 9, 0)]).await;
    world.sweep().await;
    assert!(other.calls().is_empty());
    // But not for ever.
    let shift = "UPDATE broadcasts SET ended_at = ended_at - interval '11 min' WHERE id = $1";
    world.sql(shift, held.broadcast_id).await;
    world.renew(&other.url, &[]).await;
    world.renew(DEAD, &[(&held, 9, 0)]).await;
    world
        .sql(
            "DELETE FROM transcoders WHERE url LIKE '%dead%' AND $1 IS NOT NULL",
            stream.id,
        )
        .await;
    world.sweep().await;
    eventually("it is handed on", Duration::from_secs(5), async || {
        (other.finalized() == [request_of(&held)]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dead_holders_broadcast_is_handed_to_a_transcoder_that_lives() {
    let world = World::start().await;
    let other = Transcoder::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &held, 46).await;
    // Nobody lives yet: it waits, without losing a turn.
    world.sweep().await;
    assert_eq!(world.status(stream.id).await, "active");
    assert!(!is_finalized(&world, &held).await);
    world.renew(&other.url, &[]).await;
    world.sweep().await;
    eventually(
        "the playlists are finalized",
        Duration::from_secs(5),
        async || is_finalized(&world, &held).await.then_some(()),
    )
    .await;
    assert_eq!(other.finalized(), [request_of(&held)]);
    world.sweep().await;
    assert_eq!(other.finalized().len(), 1);
}

#[tokio::test]
async fn a_refused_finalize_is_asked_for_again() {
    let world = World::start().await;
    let other = Transcoder::start().await;
    other.answers_finalize(503);
    world.renew(&other.url, &[]).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &held, 46).await;
    world.sweep().await;
    eventually("it is asked for", Duration::from_secs(5), async || {
        (!other.finalized().is_empty()).then_some(())
    })
    .await;
    assert!(!is_finalized(&world, &held).await);
    other.answers_finalize(202);
    let due = "UPDATE broadcasts SET finalize_at = now() WHERE id = $1";
    world.sql(due, held.broadcast_id).await;
    world.renew(&other.url, &[]).await;
    world.sweep().await;
    eventually("it is finalized", Duration::from_secs(5), async || {
        is_finalized(&world, &held).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_finalize_is_waited_for_while_sweeping_goes_on() {
    let world = World::start().await;
    let other = Transcoder::start().await;
    other.holds_finalize(true);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, DEAD).await;
    world.event(&held, 2, ended()).await;
    heard_ago(&world, &held, 46).await;
    world.renew(&other.url, &[]).await;
    // The service's own sweeper asks.
    eventually("it is asked for", Duration::from_secs(10), async || {
        (!other.finalized().is_empty()).then_some(())
    })
    .await;
    let asked = Instant::now();
    let waiting = world.stream_of(&bob).await;
    world.expire(waiting.id).await;
    let stored = "SELECT status FROM streams WHERE id = $1";
    eventually("sweeping goes on", Duration::from_secs(10), async || {
        // Longer than a call that sends a publisher away may take.
        let expired = world.scalar::<String>(stored, waiting.id).await == "expired";
        (expired && asked.elapsed() > Duration::from_millis(1_500)).then_some(())
    })
    .await;
    assert!(!is_finalized(&world, &held).await);
    other.holds_finalize(false);
    eventually("it is finalized", Duration::from_secs(5), async || {
        is_finalized(&world, &held).await.then_some(())
    })
    .await;
    assert_eq!(other.finalized(), [request_of(&held)]);
}

#[tokio::test]
async fn a_new_broadcast_makes_an_old_end_void() {
    let world = World::start().await;
    let other = Transcoder::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let old = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &old, 46).await;
    world.sweep().await;
    let new = world.admit(&stream.key, &other.url).await;
    world.renew(&other.url, &[]).await;
    // While it starts its playlists may be in place: the old end waits.
    world.sweep().await;
    assert!(other.finalized().is_empty());
    assert!(!is_finalized(&world, &old).await);
    world.event(&new, 1, live()).await;
    assert!(is_finalized(&world, &old).await);
    world.sweep().await;
    assert!(other.finalized().is_empty());
}

#[tokio::test]
async fn a_new_broadcast_that_never_was_live_leaves_the_old_end_to_be_written() {
    let world = World::start().await;
    let other = Transcoder::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let old = world.on_air(&stream, DEAD).await;
    heard_ago(&world, &old, 46).await;
    world.sweep().await;
    let new = world.admit(&stream.key, &other.url).await;
    // Its holder ends it, having published nothing, and confirms.
    world.event(&new, 1, ended()).await;
    world.event(&new, 2, ended()).await;
    world.renew(&other.url, &[]).await;
    world.sweep().await;
    eventually(
        "the old one is finalized",
        Duration::from_secs(5),
        async || is_finalized(&world, &old).await.then_some(()),
    )
    .await;
    assert_eq!(other.finalized(), [request_of(&old)]);
}

#[tokio::test]
async fn a_transcoder_that_dies_before_the_first_live_event_leaves_no_playlist_open() {
    let world = World::start().await;
    let other = Transcoder::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, DEAD).await;
    heard_ago(&world, &held, 46).await;
    world.renew(&other.url, &[]).await;
    world.sweep().await;
    eventually("it is finalized", Duration::from_secs(5), async || {
        is_finalized(&world, &held).await.then_some(())
    })
    .await;
    let without_ladder = FinalizeRequest {
        ladder: None,
        ..request_of(&held)
    };
    assert_eq!(other.finalized(), [without_ladder]);
    assert!(world.announced(stream.id).await.is_empty());
}
