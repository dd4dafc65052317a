//! Routes in real Redis: an edge's own, an operator's, a newer edge's.

use std::{sync::Arc, time::Duration};

use clap::Parser;
use marquee_common::{
    contract::{BroadcastId, StreamId},
    redis::{RedisClient, RedisConfig},
};
use marquee_hls::{BroadcastTag, PartTarget, RenditionTimeline, Rung};
use marquee_testkit::{eventually, infra};
use marquee_transcoder::edge::{Edge, LiveStream, StreamFormat, routing::Routing};
use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;

use super::live::PATIENCE;

const HERE: &str = "10.0.0.5:8086";
const ELSEWHERE: &str = "10.0.0.6:8086";

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    redis: RedisConfig,
}

fn redis_at(port: &str) -> RedisClient {
    let settings =
        Settings::parse_from(["test", "--redis-host", "127.0.0.1", "--redis-port", port]);
    RedisClient::new(&settings.redis).unwrap()
}

fn redis() -> RedisClient {
    let url = infra().redis_url;
    redis_at(url.rsplit(':').next().unwrap())
}

/// An edge process with a stream that can be played.
struct Process {
    edge: Edge,
    stream: Arc<LiveStream>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Process {
    fn start(id: StreamId, address: &str, epoch: u64, redis: RedisClient) -> Self {
        let edge = Edge::default();
        let stop = CancellationToken::new();
        let routing = Routing::new(edge.clone(), redis, address.to_owned());
        let task = tokio::spawn(routing.run(stop.clone()));
        let stream = open(&edge, id, epoch);
        Self {
            edge,
            stream,
            stop,
            task,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A stream that can be played.
fn open(edge: &Edge, id: StreamId, epoch: u64) -> Arc<LiveStream> {
    let broadcast = BroadcastTag::from(BroadcastId::new().0);
    let timeline = RenditionTimeline::new(Rung::P360, broadcast, 0);
    let format = StreamFormat {
        part_target: PartTarget::default(),
        dvr_window: Duration::from_mins(1),
    };
    let stream = edge.open(id, broadcast, &[(Rung::P360, timeline)], format);
    stream.begin_run(epoch);
    stream.set_master("#EXTM3U\n".to_owned());
    stream
}

async fn route(id: StreamId) -> Option<String> {
    redis().get(format!("streams:{id}")).await.unwrap()
}

async fn becomes(id: StreamId, expected: Option<&str>) {
    eventually("the route becomes what it should", PATIENCE, || async {
        (route(id).await.as_deref() == expected).then_some(())
    })
    .await;
}

/// Two rounds of looking at the routes.
async fn stays(id: StreamId, expected: &str) {
    for _ in 0..45 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(route(id).await.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_route_stands_while_the_broadcast_is_here_and_has_a_short_life() {
    let id = StreamId::new();
    let process = Process::start(id, HERE, 1, redis());
    becomes(id, Some(HERE)).await;
    let life: i64 = redis().pttl(format!("streams:{id}")).await.unwrap();
    assert!((1..=10_000).contains(&life), "{life} ms");
    // Deleted by hand, it is back soon; the broadcast is still here.
    let _: () = redis().del(format!("streams:{id}")).await.unwrap();
    becomes(id, Some(HERE)).await;
    process.edge.close(&process.stream);
    becomes(id, None).await;
    process.end().await;
}

#[tokio::test]
async fn a_draining_edge_takes_its_routes_back() {
    let id = StreamId::new();
    let process = Process::start(id, HERE, 1, redis());
    becomes(id, Some(HERE)).await;
    process.end().await;
    assert_eq!(route(id).await, None);
}

#[tokio::test]
async fn a_newer_edge_replaces_an_older_one_which_leaves_it_alone() {
    let id = StreamId::new();
    let older = Process::start(id, ELSEWHERE, 3, redis());
    becomes(id, Some(ELSEWHERE)).await;
    let newer = Process::start(id, HERE, 4, redis());
    becomes(id, Some(HERE)).await;
    stays(id, HERE).await;
    older.end().await;
    assert_eq!(route(id).await.as_deref(), Some(HERE));
    newer.end().await;
    assert_eq!(route(id).await, None);
}

#[tokio::test]
async fn viewers_stay_with_a_predecessor_until_they_are_led_to_its_successor() {
    let id = StreamId::new();
    let older = Process::start(id, ELSEWHERE, 3, redis());
    becomes(id, Some(ELSEWHERE)).await;
    older.edge.give_way(&older.stream);
    stays(id, ELSEWHERE).await;
    assert!(older.edge.find(id).is_some(), "they would find nothing");
    let newer = Process::start(id, HERE, 4, redis());
    becomes(id, Some(HERE)).await;
    eventually("the older edge is done with it", PATIENCE, || async {
        older.edge.find(id).is_none().then_some(())
    })
    .await;
    assert_eq!(route(id).await.as_deref(), Some(HERE));
    older.end().await;
    newer.end().await;
}

#[tokio::test]
async fn what_stands_under_one_streams_keys_does_not_matter_to_the_others() {
    let id = StreamId::new();
    let process = Process::start(id, HERE, 1, redis());
    let (mut keys, mut good) = (Vec::new(), vec![id]);
    // They are gone through in any order: that all the good ones come first is one case of 24,310.
    for number in 0..8 {
        good.push(StreamId::new());
        open(&process.edge, good[good.len() - 1], 1);
        let other = StreamId::new();
        let name = if number % 2 == 0 { "streams" } else { "edge" };
        let key = format!("{name}:{other}");
        let _: () = redis().hset(&key, "host", "192.0.2.7").await.unwrap();
        open(&process.edge, other, 1);
        keys.push(key);
    }
    // A first time, and once more when they are looked at again.
    for _ in 0..2 {
        for id in &good {
            becomes(*id, Some(HERE)).await;
            let _: () = redis().del(format!("streams:{id}")).await.unwrap();
        }
    }
    process.end().await;
    let _: () = redis().del(keys).await.unwrap();
}

#[tokio::test]
async fn an_operators_pin_to_an_older_edge_is_left_alone_by_the_newer_and_by_the_older_one() {
    let id = StreamId::new();
    let key = format!("streams:{id}");
    let older = Process::start(id, ELSEWHERE, 3, redis());
    becomes(id, Some(ELSEWHERE)).await;
    let _: () = redis().set(&key, ELSEWHERE).await.unwrap();
    let newer = Process::start(id, HERE, 4, redis());
    stays(id, ELSEWHERE).await;
    older.end().await;
    assert_eq!(route(id).await.as_deref(), Some(ELSEWHERE));
    newer.end().await;
    let _: () = redis().del(&key).await.unwrap();
}

#[tokio::test]
async fn an_operators_route_is_left_alone_from_the_beginning_or_from_when_it_comes() {
    let id = StreamId::new();
    let key = format!("streams:{id}");
    let _: () = redis().set(&key, "192.0.2.7:80").await.unwrap();
    let process = Process::start(id, HERE, 1, redis());
    stays(id, "192.0.2.7:80").await;
    let _: () = redis().del(&key).await.unwrap();
    becomes(id, Some(HERE)).await;
    let _: () = redis().set(&key, "192.0.2.8").await.unwrap();
    stays(id, "192.0.2.8").await;
    process.end().await;
    assert_eq!(route(id).await.as_deref(), Some("192.0.2.8"));
    let _: () = redis().del(&key).await.unwrap();
}

#[tokio::test]
async fn redis_away_ends_nothing() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port().to_string();
    drop(closed);
    let process = Process::start(StreamId::new(), HERE, 1, redis_at(&port));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!process.task.is_finished());
    tokio::time::timeout(PATIENCE, process.end()).await.unwrap();
}
