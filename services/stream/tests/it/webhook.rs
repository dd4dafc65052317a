//! The transcoder's webhook, and what it makes of a stream.

use std::time::Duration;

use marquee_common::contract::{
    BroadcastId,
    ingest::{Authorized, BroadcastState},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::world::{World, ended, event, health, interrupted, live, live_with};

const T1: &str = "http://t1.invalid:8086";
const T2: &str = "http://t2.invalid:8086";

#[tokio::test]
async fn a_broadcast_goes_live_away_live_again_and_ends() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, T1).await;

    let receipt = world.event(&held, 1, live()).await;
    assert_eq!(
        (receipt.epoch, receipt.broadcast),
        (1, BroadcastState::Running)
    );
    let shown = world.show(stream.id).await;
    assert_eq!(shown["status"], "live");
    assert_eq!(
        shown["available_qualities"],
        json!(["720p", "480p", "360p"])
    );
    let started_at = shown["started_at"].clone();
    assert!(started_at.is_string());

    world.event(&held, 2, interrupted()).await;
    let shown = world.show(stream.id).await;
    assert_eq!(
        (&shown["status"], &shown["started_at"]),
        (&json!("reconnecting"), &started_at)
    );

    let back = world.admit(&stream.key, T1).await;
    world.event(&back, 1, live()).await;
    assert_eq!(world.status(stream.id).await, "live");

    world.event(&back, 2, interrupted()).await;
    let receipt = world.event(&back, 3, ended()).await;
    assert_eq!(
        (receipt.epoch, receipt.broadcast),
        (2, BroadcastState::Ended)
    );
    let shown = world.show(stream.id).await;
    assert_eq!(shown["status"], "active");
    assert!(shown["started_at"].is_null());
    assert_eq!(shown["available_qualities"], json!([]));

    let events = world.announced(stream.id).await;
    assert_eq!(events.len(), 2);
    for (event, kind) in events.iter().zip(["live.started", "live.ended"]) {
        assert_eq!(event["type"], kind);
        assert_eq!(event["stream_id"], stream.id.to_string());
        assert_eq!(event["broadcast_id"], held.broadcast_id.to_string());
        assert_eq!(event["user_id"], ada.id.to_string());
        assert_eq!(event["title"], "ada's stream");
        assert_eq!(event["visibility"], "public");
        assert_eq!(
            event["available_qualities"],
            json!(["720p", "480p", "360p"])
        );
        assert!(!event.to_string().contains(&stream.key));
    }
    assert!(events[0]["ended_at"].is_null());
    assert!(events[1]["ended_at"].is_string());
}

#[tokio::test]
async fn the_ladder_is_fixed_by_the_first_live_event() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, T1).await;
    world.event(&held, 1, live_with(&["1080p", "720p"])).await;
    world.event(&held, 2, live_with(&["360p"])).await;
    let qualities = &world.show(stream.id).await["available_qualities"];
    assert_eq!(*qualities, json!(["1080p", "720p"]));
    assert_eq!(
        world.admit(&stream.key, T2).await.ladder.unwrap().rungs,
        ["1080p", "720p"]
    );
    assert_eq!(world.announced_types(stream.id).await, ["live.started"]);
}

#[tokio::test]
async fn an_event_that_comes_again_changes_nothing() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, T1).await;
    let went_live = event(&held, 1, live());
    let left = event(&held, 2, interrupted());
    for sent in [&went_live, &went_live, &left, &went_live, &left] {
        world.tell(stream.id, sent).await;
    }
    assert_eq!(world.status(stream.id).await, "reconnecting");
    // The same id under a higher number is the same event.
    let mut renumbered = went_live.clone();
    renumbered["seq"] = json!(9);
    world.tell(stream.id, &renumbered).await;
    assert_eq!(world.status(stream.id).await, "reconnecting");
    assert_eq!(world.announced_types(stream.id).await, ["live.started"]);
}

#[tokio::test]
async fn in_whatever_order_events_come_the_newest_stands_and_announcements_pair() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = world.user("ada").await;
    let kinds = [live(), interrupted(), live(), ended()];
    for order in permutations(&[0, 1, 2, 3]) {
        let stream = world.stream_of(&ada).await;
        let held = world.admit(&stream.key, T1).await;
        let events: Vec<Value> = kinds
            .iter()
            .zip(1..)
            .map(|(kind, seq)| event(&held, seq, kind.clone()))
            .collect();
        for index in &order {
            world.tell(stream.id, &events[*index]).await;
            world.tell(stream.id, &events[order[0]]).await;
        }
        assert_eq!(world.status(stream.id).await, "active", "{order:?}");
        let announced = world.announced_types(stream.id).await;
        let silent = announced.is_empty();
        assert!(
            silent || announced == ["live.started", "live.ended"],
            "{order:?}: {announced:?}"
        );
        // Applied is what is newer than all before it; without a `live` among that, no word.
        let applied = order.iter().scan(None, |newest, &index| {
            let newer = newest.is_none_or(|seen| index > seen);
            *newest = (*newest).max(Some(index));
            Some(newer.then_some(index))
        });
        let went_live = applied.flatten().any(|index| index == 0 || index == 2);
        assert_eq!(silent, !went_live, "{order:?}");
    }
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(index);
        for mut tail in permutations(&rest) {
            tail.insert(0, *first);
            all.push(tail);
        }
    }
    all
}

#[tokio::test]
async fn a_replaced_holder_is_heard_no_more() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let old = world.on_air(&stream, T1).await;
    let new = world.admit(&stream.key, T2).await;
    for kind in [interrupted(), ended()] {
        let receipt = world.event(&old, 50, kind).await;
        assert_eq!(
            (receipt.epoch, receipt.broadcast),
            (new.epoch, BroadcastState::Running)
        );
    }
    assert_eq!(world.status(stream.id).await, "live");
    // An epoch that was never given out counts as little.
    let forged = Authorized {
        epoch: 99,
        ..new.clone()
    };
    world.event(&forged, 1, ended()).await;
    assert_eq!(world.status(stream.id).await, "live");
    world.event(&new, 1, interrupted()).await;
    assert_eq!(world.status(stream.id).await, "reconnecting");
}

#[tokio::test]
async fn a_broadcast_that_never_was_live_ends_in_silence() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, T1).await;
    world.event(&held, 1, interrupted()).await;
    assert_eq!(world.status(stream.id).await, "active");
    world.event(&held, 2, ended()).await;
    assert_eq!(world.status(stream.id).await, "active");
    assert!(world.announced(stream.id).await.is_empty());
    // Its holder, who knows what it has published, confirms that no playlist is left open.
    let finalized = "SELECT finalized_at IS NOT NULL FROM broadcasts WHERE id = $1";
    assert!(!world.scalar::<bool>(finalized, held.broadcast_id).await);
    world.event(&held, 3, ended()).await;
    assert!(world.scalar::<bool>(finalized, held.broadcast_id).await);
    let path = format!("/api/streams/{}/broadcasts", stream.id);
    let past = world.get(&path, Some(&ada)).await.expect(200);
    assert_eq!(past["items"], json!([]));
}

#[tokio::test]
async fn what_nobody_knows_is_answered_as_ended() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let other = world.stream_of(&bob).await;
    let held = world.on_air(&stream, T1).await;
    let unknown = Authorized {
        broadcast_id: BroadcastId::new(),
        epoch: 5,
        ..held.clone()
    };
    let receipt = world.event(&unknown, 1, live()).await;
    assert_eq!(
        (receipt.epoch, receipt.broadcast),
        (5, BroadcastState::Ended)
    );
    // A broadcast is not found under another stream.
    let misplaced = event(&held, 9, ended());
    assert_eq!(
        world.tell(other.id, &misplaced).await.broadcast,
        BroadcastState::Ended
    );
    assert_eq!(world.status(stream.id).await, "live");
}

#[tokio::test]
async fn bad_events_are_refused() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, T1).await;
    let path = format!("/internal/streams/{}/events", stream.id);
    for kind in [
        live_with(&[]),
        live_with(&["4320p"]),
        live_with(&["../../etc"]),
        json!({"type": "paused", "data": {}}),
        json!({"type": "live", "data": {}}),
        json!({}),
    ] {
        let answer = world.internal(&path, &event(&held, 1, kind)).await;
        answer.is_problem(422, "validation_failed");
    }
    let mut huge = event(&held, 1, live());
    huge["seq"] = json!(u64::MAX);
    world
        .internal(&path, &huge)
        .await
        .is_problem(422, "validation_failed");
    assert_eq!(world.status(stream.id).await, "active");
}

#[tokio::test]
async fn the_newest_health_is_the_last_one_taken_whatever_the_transcoders_clock_says() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, T1).await;
    for (seq, at) in [
        (2, "2099-01-01T00:00:00Z"),
        (3, "2001-01-01T00:00:00Z"),
        (4, "2098-01-01T00:00:00Z"),
    ] {
        let mut sample = event(&held, seq, health(seq * 1_000));
        sample["at"] = json!(at);
        world.tell(stream.id, &sample).await;
    }
    let path = format!("/api/streams/{}/health", stream.id);
    let body = world.get(&path, Some(&ada)).await.expect(200);
    let items = body["items"].as_array().unwrap();
    let bitrates: Vec<u64> = items
        .iter()
        .map(|item| item["bitrate_bps"].as_u64().unwrap())
        .collect();
    assert_eq!(bitrates, [4_000, 3_000, 2_000]);
    let now = OffsetDateTime::now_utc() + Duration::from_secs(1);
    for item in items {
        let at = OffsetDateTime::parse(item["at"].as_str().unwrap(), &Rfc3339).unwrap();
        assert!(now - at < Duration::from_mins(1) && at <= now, "{at}");
    }
    let followed = world.state.store.list_followed(&[stream.id]).await.unwrap();
    assert_eq!(followed[0].health().unwrap().data.bitrate_bps, 4_000);
}

#[tokio::test]
async fn health_samples_are_the_owners_for_an_hour() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, T1).await;
    for (seq, bitrate) in [(2, 1_000), (3, 2_000), (4, 3_000)] {
        world.event(&held, seq, health(bitrate)).await;
    }
    let path = format!("/api/streams/{}/health", stream.id);
    world
        .get(&path, None)
        .await
        .is_problem(401, "unauthenticated");
    world
        .get(&path, Some(&bob))
        .await
        .is_problem(403, "forbidden");
    let bitrates = async || -> Vec<u64> {
        let body = world.get(&path, Some(&ada)).await.expect(200);
        let items = body["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["bitrate_bps"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(bitrates().await, [3_000, 2_000, 1_000]);
    let shift = "UPDATE broadcast_events SET at = at - interval '1 hour', \
                 received_at = received_at - interval '1 hour' WHERE seq < 4 AND stream_id = $1";
    world.sql(shift, stream.id).await;
    assert_eq!(bitrates().await, [3_000]);
    world.sweeper().sweep(Duration::ZERO, true).await.unwrap();
    let kept = "SELECT count(*) FROM broadcast_events WHERE stream_id = $1";
    assert_eq!(world.scalar::<i64>(kept, stream.id).await, 1);
    // What was forgotten is still old.
    world.event(&held, 3, interrupted()).await;
    assert_eq!(world.status(stream.id).await, "live");
}

#[tokio::test]
async fn a_transcoders_clock_moves_no_start_into_the_future() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, T1).await;
    let mut early = event(&held, 1, live());
    early["at"] = json!("2001-01-01T00:00:00Z");
    world.tell(stream.id, &early).await;
    let mut late = event(&held, 2, ended());
    late["at"] = json!("2999-01-01T00:00:00Z");
    world.tell(stream.id, &late).await;
    let sane: bool = world
        .scalar(
            "SELECT created_at <= started_at AND started_at <= ended_at \
             AND ended_at <= clock_timestamp() FROM broadcasts WHERE id = $1",
            held.broadcast_id,
        )
        .await;
    assert!(sane);
}
