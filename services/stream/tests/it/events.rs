//! Following a stream's server-sent events.

use std::time::Duration;

use marquee_common::contract::{Role, StreamId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Someone, World, answer, claims, ended, health, interrupted, live_with};

/// How long an event may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open stream of events.
struct Feed {
    response: reqwest::Response,
    text: String,
}

impl Feed {
    async fn open(world: &World, url: &str, stream: StreamId, by: Option<&Someone>) -> Self {
        let mut request = world.http.get(format!("{url}/api/streams/{stream}/events"));
        if let Some(someone) = by {
            request = request.bearer_auth(&someone.token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next block of lines, or `None` at the end.
    async fn block(&mut self, patience: Duration) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(patience, self.response.chunk())
                .await
                .expect("an event in time")
                .unwrap()?;
            self.text.push_str(str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event's name and data; comments and the retry time are passed over.
    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.block(PATIENCE).await?;
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            if let (Some(event), Some(data)) = (field("event"), field("data")) {
                return Some((event.to_owned(), serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// The next event that is called `name`.
    async fn next(&mut self, name: &str) -> Value {
        loop {
            let (event, data) = self.event().await.expect("it goes on");
            if event == name {
                return data;
            }
        }
    }

    /// Whether it ends within `patience`.
    async fn end(mut self, patience: Duration) {
        let end = async { while self.block(patience).await.is_some() {} };
        tokio::time::timeout(patience, end).await.expect("an end");
    }
}

#[tokio::test]
async fn a_follower_is_told_of_status_and_viewers_as_they_change() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.create(&ada, json!({"title": "Chess"})).await;
    let mut feed = Feed::open(&world, &world.url, stream.id, None).await;
    let headers = feed.response.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-accel-buffering"], "no");
    let retry = feed.block(PATIENCE).await.unwrap();
    let retry_ms: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1_000..4_000).contains(&retry_ms));

    let (name, status) = feed.event().await.unwrap();
    assert_eq!(name, "status");
    let id = stream.id;
    assert_eq!(
        status,
        json!({
            "id": id, "status": "active", "title": "Chess", "started_at": null,
            "available_qualities": [], "thumbnail_url": null,
            "hls_url": format!("http://tv.example/live-streams/{id}/master.m3u8"),
            "ll_hls_url": format!("http://tv.example/stream/{id}/master.m3u8"),
        })
    );
    let (name, viewers) = feed.event().await.unwrap();
    assert_eq!(
        (name.as_str(), viewers),
        ("viewers", json!({"viewer_count": 0}))
    );

    let held = world.on_air(&stream, "http://t1.invalid:8086").await;
    let live = feed.next("status").await;
    assert_eq!(live["status"], "live");
    assert_eq!(live["available_qualities"], json!(["720p", "480p", "360p"]));
    assert!(live["started_at"].is_string());
    assert_eq!(
        live["thumbnail_url"],
        format!("http://tv.example/live-streams/{id}/thumbnail.jpg")
    );
    let then = std::time::SystemTime::now() - Duration::from_secs(10);
    let (_, session) = world.state.viewer_sessions.issue(id, then);
    world
        .call(
            Method::POST,
            &format!("/api/streams/{id}/viewers"),
            None,
            Some(json!({"session_id": session})),
        )
        .await
        .expect(200);
    assert_eq!(feed.next("viewers").await, json!({"viewer_count": 1}));
    world.event(&held, 2, interrupted()).await;
    assert_eq!(feed.next("status").await["status"], "reconnecting");
    world.event(&held, 3, ended()).await;
    assert_eq!(feed.next("status").await["status"], "active");
}

#[tokio::test]
async fn followers_at_every_instance_are_told_and_never_of_a_key() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let other = world.another_instance().await;
    let mut feeds = Vec::new();
    for url in [&world.url, &other.url, &other.url] {
        for by in [None, Some(&ada)] {
            feeds.push(Feed::open(&world, url, stream.id, by).await);
        }
    }
    world.on_air(&stream, "http://t1.invalid:8086").await;
    for mut feed in feeds {
        loop {
            let block = feed.block(PATIENCE).await.unwrap();
            assert!(!block.contains(&stream.key), "{block}");
            if block.contains(r#""status":"live""#) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn health_is_for_the_owner_and_admins() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, "http://t1.invalid:8086").await;
    let mut told = Vec::new();
    for by in [&ada, &world.admin()] {
        told.push(Feed::open(&world, &world.url, stream.id, Some(by)).await);
    }
    let mut untold = Feed::open(&world, &world.url, stream.id, Some(&bob)).await;
    world.event(&held, 2, health(2_500_000)).await;
    for feed in &mut told {
        let sample = feed.next("health").await;
        assert_eq!(sample["bitrate_bps"], 2_500_000);
        assert!(sample["at"].is_string());
    }
    // The next sample is news to the same.
    world.event(&held, 3, health(2_600_000)).await;
    for feed in &mut told {
        assert_eq!(feed.next("health").await["bitrate_bps"], 2_600_000);
    }
    world.event(&held, 4, interrupted()).await;
    loop {
        let (name, data) = untold.event().await.unwrap();
        assert_ne!(name, "health");
        if data["status"] == "reconnecting" {
            break;
        }
    }
}

#[tokio::test]
async fn a_broadcast_without_pictures_has_no_thumbnail() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, "http://t1.invalid:8086").await;
    world.event(&held, 1, live_with(&["audio"])).await;
    assert!(world.show(stream.id).await["thumbnail_url"].is_null());
    let mut feed = Feed::open(&world, &world.url, stream.id, None).await;
    let status = feed.next("status").await;
    assert_eq!(status["status"], "live");
    assert!(status["thumbnail_url"].is_null());
}

#[tokio::test]
async fn a_deleted_streams_feed_ends_and_the_next_is_not_found() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let feed = Feed::open(&world, &world.url, stream.id, None).await;
    let path = format!("/api/streams/{}", stream.id);
    let deleted = world.call(Method::DELETE, &path, Some(&ada), None).await;
    deleted.expect(204);
    feed.end(PATIENCE).await;
    for id in [stream.id, StreamId::new()] {
        world
            .get(&format!("/api/streams/{id}/events"), None)
            .await
            .is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn the_owners_feed_ends_with_its_token_and_everybodys_goes_on() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let everybodys = Feed::open(&world, &world.url, stream.id, None).await;
    let mut short = claims(ada.id, "ada", Role::User);
    short.exp = short.iat + 5;
    let of_owner = Feed::open(
        &world,
        &world.url,
        stream.id,
        Some(&world.signed_in(&short)),
    )
    .await;
    of_owner.end(PATIENCE).await;
    world
        .get(
            &format!("/api/streams/{}/events", stream.id),
            Some(&world.signed_in(&short)),
        )
        .await
        .is_problem(401, "unauthenticated");
    let mut everybodys = everybodys;
    world.on_air(&stream, "http://t1.invalid:8086").await;
    while everybodys.next("status").await["status"] != "live" {}
}

#[tokio::test]
async fn the_owners_feed_ends_soon_after_a_sign_out_and_a_quiet_one_is_kept_open() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let ada_claims = claims(ada.id, "ada", Role::User);
    let ada = world.signed_in(&ada_claims);
    let of_owner = Feed::open(&world, &world.url, stream.id, Some(&ada)).await;
    let mut quiet = Feed::open(&world, &world.url, stream.id, None).await;
    world.revoke(&ada_claims).await;
    // Both take 15 s.
    let patience = Duration::from_secs(25);
    let comment = async {
        loop {
            let block = quiet.block(patience).await.unwrap();
            if block.starts_with(':') {
                break;
            }
        }
    };
    tokio::join!(of_owner.end(patience), comment);
}

#[tokio::test]
async fn feeds_end_when_the_instance_drains() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let feed = Feed::open(&world, &world.url, stream.id, Some(&ada)).await;
    world.shut_down();
    feed.end(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn an_instance_takes_so_many_followers_and_says_when_to_come_again() {
    let world = World::with(&["--event-followers-max", "1"]).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let first = Feed::open(&world, &world.url, stream.id, None).await;
    let path = format!("/api/streams/{}/events", stream.id);
    let refused = world.get(&path, None).await;
    assert_eq!(refused.headers["retry-after"], "10");
    refused.is_problem(503, "unavailable");
    drop(first);
    marquee_testkit::eventually("a place is free", PATIENCE, async || {
        let request = world.http.get(format!("{}{path}", world.url));
        (request.send().await.unwrap().status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_feed_ends_after_a_while_and_its_page_comes_again() {
    let world = World::with(&["--event-followers-max", "1", "--event-feed-max-s", "2"]).await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let first = Feed::open(&world, &world.url, stream.id, None).await;
    // Nobody leaves and nothing happens: the place is free all the same.
    first.end(PATIENCE).await;
    let mut again = Feed::open(&world, &world.url, stream.id, None).await;
    again.next("status").await;
}

#[tokio::test]
async fn a_cookie_signs_a_feed_in_and_a_stale_one_makes_it_everybodys() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.on_air(&stream, "http://t1.invalid:8086").await;
    world.event(&held, 2, health(1)).await;
    for (token, told) in [(ada.token.as_str(), true), ("stale", false)] {
        let response = world
            .http
            .get(format!("{}/api/streams/{}/events", world.url, stream.id))
            .header("cookie", format!("access_token={token}"))
            .send()
            .await
            .unwrap();
        let mut feed = Feed {
            response,
            text: String::new(),
        };
        let mut names = Vec::new();
        for _ in 0..2 + usize::from(told) {
            names.push(feed.event().await.unwrap().0);
        }
        assert_eq!(names.contains(&"health".to_owned()), told, "{names:?}");
    }
    let request = world
        .http
        .get(format!("{}/api/streams/{}/events", world.url, stream.id))
        .bearer_auth("stale");
    answer(request).await.is_problem(401, "unauthenticated");
}
