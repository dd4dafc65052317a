//! Accounts that auth deletes or disables, told through the real Kafka.

use std::time::Duration;

use marquee_common::{
    contract::{
        EventId, Role, UserId,
        account::{USER_DELETED_TOPIC, USER_DISABLED_TOPIC, UserDeleted, UserDisabled},
        ingest::DisconnectReason,
    },
    kafka::{Producer, ensure_topics},
};
use marquee_stream::accounts::{ClosedAccount, Closure};
use reqwest::Method;
use time::OffsetDateTime;

use crate::{
    transcoder::{Call, Transcoder},
    world::{Someone, Stream, World, claims, live, stream_in},
};

/// Sends an event as auth does.
async fn send(world: &World, topic: &str, user: UserId, payload: &[u8]) {
    ensure_topics(&world.config.kafka, &[topic]).await.unwrap();
    let producer = Producer::new(&world.config.kafka).unwrap();
    producer
        .send(topic, &user.to_string(), payload)
        .await
        .unwrap();
}

async fn disabled(world: &World, user: UserId) {
    let event = UserDisabled {
        event_id: EventId::new(),
        timestamp: OffsetDateTime::now_utc(),
        user_id: user,
    };
    let payload = serde_json::to_vec(&event).unwrap();
    send(world, USER_DISABLED_TOPIC, user, &payload).await;
}

async fn deleted(world: &World, user: UserId) {
    let event = UserDeleted {
        event_id: EventId::new(),
        timestamp: OffsetDateTime::now_utc(),
        user_id: user,
    };
    let payload = serde_json::to_vec(&event).unwrap();
    send(world, USER_DELETED_TOPIC, user, &payload).await;
}

#[tokio::test]
async fn a_deleted_account_loses_its_streams_and_its_publishers_go() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let transcoder = Transcoder::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (first, second) = (world.stream_of(&ada).await, world.stream_of(&ada).await);
    let waiting = world.stream_of(&ada).await;
    let of_bob = world.stream_of(&bob).await;
    let mut held = Vec::new();
    for stream in [&first, &second, &of_bob] {
        held.push(world.on_air(stream, &transcoder.url).await);
    }
    // What nobody can read holds up nothing.
    send(&world, USER_DELETED_TOPIC, ada.id, b"{\"user_id\": 7}").await;
    deleted(&world, ada.id).await;
    for held in &held[..2] {
        transcoder
            .called_within(
                Call::Disconnect {
                    stream: held.stream_id,
                    epoch: held.epoch,
                    reason: DisconnectReason::Deleted,
                },
                Duration::from_mins(1),
            )
            .await;
    }
    for stream in [&first, &second, &waiting] {
        world
            .get(&format!("/api/streams/{}", stream.id), Some(&ada))
            .await
            .is_problem(404, "not_found");
        world
            .authorize(&stream.key, &transcoder.url)
            .await
            .is_problem(404, "not_found");
    }
    for stream in [&first, &second] {
        assert_eq!(
            world.announced_types(stream.id).await,
            ["live.started", "live.ended"]
        );
    }
    assert_eq!(world.status(of_bob.id).await, "live");
    assert_eq!(transcoder.calls().len(), 2);
    // The token outlives the account by minutes; what it makes would outlive it for a day.
    world
        .post("/api/streams/generate-key", &ada)
        .await
        .is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_disabled_account_goes_off_the_air_and_its_keys_open_nothing() {
    let world = World::start().await;
    let transcoder = Transcoder::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, &transcoder.url).await;
    disabled(&world, ada.id).await;
    transcoder
        .called_within(
            Call::Disconnect {
                stream: stream.id,
                epoch: held.epoch,
                reason: DisconnectReason::Stopped,
            },
            Duration::from_mins(1),
        )
        .await;
    assert_eq!(world.status(stream.id).await, "expired");
    assert_eq!(
        world.announced_types(stream.id).await,
        ["live.started", "live.ended"]
    );
    world
        .authorize(&stream.key, &transcoder.url)
        .await
        .is_problem(410, "stream_key_expired");
    let rotate = format!("/api/streams/{}/rotate-key", stream.id);
    world
        .post(&rotate, &ada)
        .await
        .is_problem(401, "unauthenticated");

    // Enabled again, they sign in anew and revive it.
    let mut later = claims(ada.id, "ada", Role::User);
    later.iat += 5;
    let again = world.signed_in(&later);
    let revived = world.post(&rotate, &again).await.expect(200);
    assert_eq!(revived["status"], "active");
    let key = revived["stream_key"].as_str().unwrap();
    let back = world.admit(key, &transcoder.url).await;
    world.event(&back, 1, live()).await;
    assert_eq!(world.status(stream.id).await, "live");
}

#[tokio::test]
async fn an_event_of_an_account_is_applied_once_and_spares_what_was_made_after_it() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let account = ClosedAccount {
        event_id: EventId::new(),
        user_id: ada.id,
        at: OffsetDateTime::now_utc(),
        closure: Closure::Disabled,
    };
    let store = &world.state.store;
    store.close_account(&account).await.unwrap();
    assert_eq!(world.status(stream.id).await, "expired");
    let mut later = claims(ada.id, "ada", Role::User);
    later.iat += 5;
    let again = world.signed_in(&later);
    let rotate = format!("/api/streams/{}/rotate-key", stream.id);
    world.post(&rotate, &again).await.expect(200);
    // It comes again, as after a crash.
    store.close_account(&account).await.unwrap();
    assert_eq!(world.status(stream.id).await, "active");
    // An older one comes for the first time, an hour late.
    let late = ClosedAccount {
        event_id: EventId::new(),
        at: account.at - Duration::from_hours(1),
        ..account
    };
    store.close_account(&late).await.unwrap();
    assert_eq!(world.status(stream.id).await, "active");
}

/// A disabling at `at`, as Kafka brings it.
fn disabling(user: UserId, at: OffsetDateTime) -> ClosedAccount {
    ClosedAccount {
        event_id: EventId::new(),
        user_id: user,
        at,
        closure: Closure::Disabled,
    }
}

/// Somebody with a token that was issued `age` ago.
fn signed_in_ago(world: &World, user: UserId, age: Duration) -> Someone {
    let mut claims = claims(user, "ada", Role::User);
    claims.iat -= i64::try_from(age.as_secs()).unwrap();
    world.signed_in(&claims)
}

#[tokio::test]
async fn a_disabling_that_comes_late_ends_the_key_that_an_older_token_has_made_since() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    // Signed in, disabled two minutes ago, and rotates the key while the event is on its way.
    let before = signed_in_ago(&world, ada.id, Duration::from_mins(10));
    let stream = world.stream_of(&before).await;
    let rotate = format!("/api/streams/{}/rotate-key", stream.id);
    let rotated = stream_in(&world.post(&rotate, &before).await.expect(200));
    let at = OffsetDateTime::now_utc() - Duration::from_mins(2);
    let store = &world.state.store;
    store.close_account(&disabling(ada.id, at)).await.unwrap();
    assert_eq!(world.status(stream.id).await, "expired");
    world
        .authorize(&rotated.key, "http://t1.invalid:8086")
        .await
        .is_problem(410, "stream_key_expired");
}

#[tokio::test]
async fn a_disabling_by_mistake_that_comes_late_spares_the_key_of_a_later_sign_in() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let before = signed_in_ago(&world, ada.id, Duration::from_mins(10));
    let stream = world.stream_of(&before).await;
    // Disabled 30 s ago, enabled and signed in 15 s ago, the key rotated since.
    let again = signed_in_ago(&world, ada.id, Duration::from_secs(15));
    let rotate = format!("/api/streams/{}/rotate-key", stream.id);
    let rotated = stream_in(&world.post(&rotate, &again).await.expect(200));
    let at = OffsetDateTime::now_utc() - Duration::from_secs(30);
    let store = &world.state.store;
    store.close_account(&disabling(ada.id, at)).await.unwrap();
    assert_eq!(world.status(stream.id).await, "active");
    world.admit(&rotated.key, "http://t1.invalid:8086").await;
}

#[tokio::test]
async fn an_admin_revives_no_stream_of_a_disabled_account() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = world.user("ada").await;
    let admin = world.admin();
    let before = signed_in_ago(&world, ada.id, Duration::from_mins(10));
    let (active, expired) = (
        world.stream_of(&before).await,
        world.stream_of(&before).await,
    );
    world.expire(expired.id).await;
    world.sweep().await;
    let rotate = |stream: &Stream| format!("/api/streams/{}/rotate-key", stream.id);
    // The event is late: what the admin rotates meanwhile is still the owner's by the old token.
    world.post(&rotate(&active), &admin).await.expect(200);
    let store = &world.state.store;
    let at = OffsetDateTime::now_utc() - Duration::from_mins(2);
    store.close_account(&disabling(ada.id, at)).await.unwrap();
    for stream in [&active, &expired] {
        world
            .post(&rotate(stream), &admin)
            .await
            .is_problem(409, "owner_disabled");
        assert_eq!(world.status(stream.id).await, "expired");
    }
    // Not either when the event itself is forgotten.
    let age = "UPDATE account_events SET received_at = now() - interval '1 year' \
               WHERE user_id = $1";
    world.sql(age, ada.id.0).await;
    store.prune().await.unwrap();
    world
        .post(&rotate(&expired), &admin)
        .await
        .is_problem(409, "owner_disabled");

    // Enabled again, the owner does, and then the admin may.
    let again = signed_in_ago(&world, ada.id, Duration::from_secs(15));
    world.post(&rotate(&expired), &again).await.expect(200);
    let cooled = "UPDATE streams SET key_rotated_at = key_rotated_at - interval '30 s' \
                  WHERE id = $1";
    world.sql(cooled, expired.id).await;
    let rotated = world.post(&rotate(&expired), &admin).await.expect(200);
    assert_eq!(rotated["status"], "active");
}

#[tokio::test]
async fn of_a_closure_and_a_new_key_at_once_no_key_survives() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = world.user("ada").await;
    let account = ClosedAccount {
        event_id: EventId::new(),
        user_id: ada.id,
        at: OffsetDateTime::now_utc() + Duration::from_secs(1),
        closure: Closure::Disabled,
    };
    let makes =
        (0..4).map(|_| world.call(Method::POST, "/api/streams/generate-key", Some(&ada), None));
    let (made, closed) = tokio::join!(
        futures::future::join_all(makes),
        world.state.store.close_account(&account)
    );
    closed.unwrap();
    for answer in made {
        assert!(
            matches!(answer.status.as_u16(), 201 | 401),
            "{}",
            answer.text
        );
    }
    let open: i64 = world
        .scalar(
            "SELECT count(*) FROM streams WHERE user_id = $1 AND expires_at > now()",
            ada.id.0,
        )
        .await;
    assert_eq!(open, 0);
}

#[tokio::test]
async fn events_of_accounts_are_forgotten_when_kafka_has_forgotten_them() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let account = ClosedAccount {
        event_id: EventId::new(),
        user_id: ada.id,
        at: OffsetDateTime::now_utc(),
        closure: Closure::Disabled,
    };
    world.state.store.close_account(&account).await.unwrap();
    let kept = "SELECT count(*) FROM account_events WHERE user_id = $1";
    for (age, left) in [("14 days", 1_i64), ("16 days", 0)] {
        let sql = format!(
            "UPDATE account_events SET received_at = now() - interval '{age}' WHERE user_id = $1"
        );
        world.sql(&sql, ada.id.0).await;
        world.state.store.prune().await.unwrap();
        assert_eq!(world.scalar::<i64>(kept, ada.id.0).await, left);
    }
}
