//! Admission and renewal.

use std::collections::BTreeSet;

use futures::future::join_all;
use marquee_common::contract::{
    BroadcastId,
    ingest::{Authorized, BroadcastState, DisconnectReason},
};
use reqwest::Method;
use serde_json::json;

use crate::{
    transcoder::{Call, Transcoder},
    world::{World, ended, interrupted},
};

const T1: &str = "http://t1.invalid:8086";
const T2: &str = "http://t2.invalid:8086";

#[tokio::test]
async fn ingest_routes_are_for_services_only() {
    let world = World::start().await;
    let admin = world.admin();
    for path in [
        "/internal/ingest/authorize".to_owned(),
        "/internal/ingest/renew".to_owned(),
        format!("/internal/streams/{}/events", BroadcastId::new()),
    ] {
        let answer = world
            .call(Method::POST, &path, Some(&admin), Some(json!({})))
            .await;
        answer.is_problem(401, "unauthenticated");
    }
    let path = format!("/internal/broadcasts/{}", BroadcastId::new());
    world
        .get(&path, Some(&admin))
        .await
        .is_problem(401, "unauthenticated");
    world.internal_get(&path).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_first_broadcast_counts_from_the_beginning() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, T1).await;
    assert_eq!(
        held,
        Authorized {
            stream_id: stream.id,
            user_id: ada.id,
            title: "ada's stream".to_owned(),
            broadcast_id: held.broadcast_id,
            epoch: 1,
            next_msn: 1,
            discontinuity_seq: 0,
            discontinuity_seq_first: 0,
            resumed: false,
            ladder: None,
        }
    );
    // Nothing can be watched yet.
    assert_eq!(world.status(stream.id).await, "active");
}

#[tokio::test]
async fn unknown_malformed_and_expired_keys_are_refused() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    for key in [
        "",
        "x",
        &"A".repeat(43),
        &"A".repeat(10_000),
        &stream.id.to_string(),
    ] {
        world.authorize(key, T1).await.is_problem(404, "not_found");
    }
    world.expire(stream.id).await;
    world
        .authorize(&stream.key, T1)
        .await
        .is_problem(410, "stream_key_expired");
    world.sweep().await;
    world
        .authorize(&stream.key, T1)
        .await
        .is_problem(410, "stream_key_expired");
}

#[tokio::test]
async fn a_transcoder_that_cannot_be_called_back_is_refused() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    for url in ["", "t1:8086", "file:///etc/passwd", "http://"] {
        let problem = world
            .authorize(&stream.key, url)
            .await
            .is_problem(422, "validation_failed");
        assert_eq!(problem.errors[0].field, "transcoder_url");
    }
}

#[tokio::test]
async fn publishers_at_once_share_one_broadcast_under_different_epochs() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let answers = join_all((0..4).map(|_| world.admit(&stream.key, T1))).await;
    let broadcasts: BTreeSet<BroadcastId> = answers.iter().map(|held| held.broadcast_id).collect();
    let epochs: BTreeSet<u64> = answers.iter().map(|held| held.epoch).collect();
    assert_eq!(broadcasts.len(), 1);
    assert_eq!(epochs, BTreeSet::from([1, 2, 3, 4]));
    assert_eq!(answers.iter().filter(|held| !held.resumed).count(), 1);
}

#[tokio::test]
async fn a_publisher_that_returns_goes_on_with_its_broadcast_and_ladder() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let first = world.on_air(&stream, T1).await;
    world.renew(T1, &[(&first, 30, 2)]).await;
    world.event(&first, 2, interrupted()).await;
    let back = world.admit(&stream.key, T1).await;
    assert!(back.resumed);
    assert_eq!(back.broadcast_id, first.broadcast_id);
    assert_eq!(back.epoch, 2);
    assert_eq!((back.next_msn, back.discontinuity_seq), (30, 2));
    assert_eq!(back.discontinuity_seq_first, 0);
    assert_eq!(back.ladder.unwrap().rungs, ["720p", "480p", "360p"]);
    assert_eq!(world.status(stream.id).await, "reconnecting");
}

#[tokio::test]
async fn the_next_broadcast_goes_on_with_all_numbers() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let first = world.on_air(&stream, T1).await;
    world.renew(T1, &[(&first, 41, 3)]).await;
    world.event(&first, 2, ended()).await;
    let second = world.admit(&stream.key, T2).await;
    assert!(!second.resumed);
    assert_ne!(second.broadcast_id, first.broadcast_id);
    assert_eq!(second.epoch, 2);
    assert_eq!(second.next_msn, 49);
    assert_eq!(
        (second.discontinuity_seq, second.discontinuity_seq_first),
        (4, 4)
    );
    assert_eq!(second.ladder, None);
}

#[tokio::test]
async fn an_expired_key_still_admits_a_return_to_a_running_broadcast() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let first = world.on_air(&stream, T1).await;
    world.expire(stream.id).await;
    world.sweep().await;
    world.event(&first, 2, interrupted()).await;
    assert_eq!(world.status(stream.id).await, "reconnecting");
    let back = world.admit(&stream.key, T1).await;
    assert!(back.resumed);
    world.event(&back, 1, crate::world::live()).await;
    world.event(&back, 2, ended()).await;
    assert_eq!(world.status(stream.id).await, "expired");
    world
        .authorize(&stream.key, T1)
        .await
        .is_problem(410, "stream_key_expired");
}

#[tokio::test]
async fn a_takeover_is_told_to_the_transcoder_it_was_taken_from() {
    let world = World::start().await;
    let (old, new) = (Transcoder::start().await, Transcoder::start().await);
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let first = world.on_air(&stream, &old.url).await;
    let second = world.admit(&stream.key, &new.url).await;
    assert!(second.resumed);
    old.called(Call::Disconnect {
        stream: stream.id,
        epoch: first.epoch,
        reason: DisconnectReason::Replaced,
    })
    .await;
    assert!(new.calls().is_empty());
    assert_eq!(world.status(stream.id).await, "live");
    // A takeover on the same transcoder is its own business.
    world.admit(&stream.key, &new.url).await;
    assert!(new.calls().is_empty());
}

#[tokio::test]
async fn the_fourth_takeover_in_30_s_is_refused_and_the_third_keeps_the_stream() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    world.on_air(&stream, T1).await;
    for url in [T2, T1, T2] {
        world.admit(&stream.key, url).await;
    }
    let refused = world.authorize(&stream.key, T1).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.is_problem(429, "key_contended");
    world
        .authorize(&stream.key, T1)
        .await
        .is_problem(429, "key_contended");

    // Whoever comes back to a place that is free does not fight for it.
    let epoch: i64 = world
        .scalar(
            "SELECT epoch FROM broadcasts WHERE stream_id = $1",
            stream.id,
        )
        .await;
    assert_eq!(epoch, 4);
    world
        .sql(
            "UPDATE broadcasts SET interrupted_at = now() WHERE stream_id = $1",
            stream.id,
        )
        .await;
    assert_eq!(world.admit(&stream.key, T1).await.epoch, 5);

    // And the fight is forgotten after its hold.
    world
        .authorize(&stream.key, T2)
        .await
        .is_problem(429, "key_contended");
    world
        .sql(
            "UPDATE streams SET contended_until = now(), \
             takeovers = ARRAY(SELECT t - interval '31 s' FROM unnest(takeovers) t) WHERE id = $1",
            stream.id,
        )
        .await;
    assert_eq!(world.admit(&stream.key, T2).await.epoch, 6);
}

#[tokio::test]
async fn a_renewal_raises_the_numbers_and_never_lowers_them() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, T1).await;
    let numbers = async || -> (i64, i64) {
        let msn = "SELECT next_msn FROM broadcasts WHERE id = $1";
        let discontinuity = "SELECT discontinuity_seq FROM broadcasts WHERE id = $1";
        (
            world.scalar(msn, held.broadcast_id).await,
            world.scalar(discontinuity, held.broadcast_id).await,
        )
    };
    for (reported, kept) in [
        ((5, 0), (5, 0)),
        ((9, 2), (9, 2)),
        ((7, 1), (9, 2)),
        ((8, 3), (9, 3)),
    ] {
        let word = world.renew(T1, &[(&held, reported.0, reported.1)]).await;
        assert_eq!(word[0].state, BroadcastState::Running);
        assert!(word[0].granted_to_you);
        assert_eq!(numbers().await, kept, "after {reported:?}");
    }
    // An older epoch changes nothing, and learns that it has been replaced.
    let newer = world.admit(&stream.key, T2).await;
    let word = world.renew(T1, &[(&held, 1_000, 1_000)]).await;
    assert_eq!(
        (word[0].epoch, word[0].granted_to_you),
        (newer.epoch, false)
    );
    assert_eq!(word[0].state, BroadcastState::Running);
    assert_eq!(numbers().await, (9, 3));
    // The present one learns that the epoch is its own though it asks with an older one.
    let word = world.renew(T2, &[(&held, 1_000, 1_000)]).await;
    assert_eq!((word[0].epoch, word[0].granted_to_you), (newer.epoch, true));
    assert_eq!(numbers().await, (9, 3));
}

#[tokio::test]
async fn an_older_epochs_renewal_is_no_sign_of_life() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let old = world.on_air(&stream, T1).await;
    world.admit(&stream.key, T2).await;
    world
        .sql(
            "UPDATE broadcasts SET heard_at = now() - interval '46 s' WHERE stream_id = $1",
            stream.id,
        )
        .await;
    world.renew(T1, &[(&old, 5, 0)]).await;
    world.sweep().await;
    assert_eq!(world.status(stream.id).await, "active");
}

#[tokio::test]
async fn the_holder_of_an_older_broadcast_is_superseded_by_a_newer_one_wherever_it_runs() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let first = world.on_air(&stream, T1).await;
    world.event(&first, 2, ended()).await;
    // Nothing newer yet: its end is its own to write.
    let word = world.renew(T1, &[(&first, 9, 0)]).await;
    assert_eq!((word[0].epoch, word[0].granted_to_you), (first.epoch, true));
    let mut newest = first.clone();
    for transcoder in [T2, T1] {
        if newest != first {
            world.event(&newest, 2, ended()).await;
        }
        newest = world.on_air(&stream, transcoder).await;
        assert_ne!(newest.broadcast_id, first.broadcast_id);
        let word = world.renew(T1, &[(&first, 9, 0)]).await;
        assert_eq!(
            (word[0].epoch, word[0].granted_to_you),
            (newest.epoch, false),
            "{transcoder}"
        );
        assert_eq!(word[0].state, BroadcastState::Ended);
        let word = world.renew(transcoder, &[(&newest, 99, 9)]).await;
        assert_eq!(
            (word[0].epoch, word[0].granted_to_you),
            (newest.epoch, true)
        );
    }
}

#[tokio::test]
async fn renewals_are_answered_in_order_and_what_nobody_knows_is_over() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let first = world.on_air(&world.stream_of(&ada).await, T1).await;
    let second = world.on_air(&world.stream_of(&bob).await, T1).await;
    world.event(&second, 2, ended()).await;
    let unknown = Authorized {
        broadcast_id: BroadcastId::new(),
        epoch: 77,
        ..first.clone()
    };
    let word = world
        .renew(T1, &[(&second, 4, 0), (&unknown, 4, 0), (&first, 4, 0)])
        .await;
    let told: Vec<_> = word
        .iter()
        .map(|w| (w.broadcast_id, w.epoch, w.state))
        .collect();
    assert_eq!(
        told,
        [
            (second.broadcast_id, second.epoch, BroadcastState::Ended),
            (unknown.broadcast_id, 77, BroadcastState::Ended),
            (first.broadcast_id, first.epoch, BroadcastState::Running),
        ]
    );
    assert!(world.renew(T1, &[]).await.is_empty());
    let too_large = json!({"transcoder_url": T1, "broadcasts": [{
        "broadcast_id": first.broadcast_id, "epoch": u64::MAX, "next_msn": 1,
        "discontinuity_seq": 0,
    }]});
    let answer = world.internal("/internal/ingest/renew", &too_large).await;
    answer.is_problem(422, "validation_failed");
}

#[tokio::test]
async fn renewals_authorisations_and_events_at_once_lose_no_number_and_never_deadlock() {
    let world = World::start().await;
    let mut streams = Vec::new();
    for name in ["ada", "bob", "eve"] {
        let owner = world.user(name).await;
        let stream = world.stream_of(&owner).await;
        let held = world.on_air(&stream, T1).await;
        streams.push((stream, held));
    }
    let all: Vec<&Authorized> = streams.iter().map(|(_, held)| held).collect();
    let rounds = (0..20_u64).map(|round| {
        let (world, all) = (&world, &all);
        async move {
            let mut held: Vec<(&Authorized, u64, u64)> =
                all.iter().map(|held| (*held, 10 + round, round)).collect();
            if round % 2 == 0 {
                held.reverse();
            }
            world.renew(T1, &held).await;
            world
                .event(all[0], 10 + round, crate::world::health(1))
                .await;
        }
    });
    join_all(rounds).await;
    for (stream, held) in &streams {
        let back = world.admit(&stream.key, T2).await;
        assert_eq!((back.next_msn, back.discontinuity_seq), (29, 19));
        assert_eq!(back.broadcast_id, held.broadcast_id);
    }
}
