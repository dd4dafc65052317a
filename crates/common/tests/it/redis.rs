//! Redis, there and not there.

use std::time::{Duration, Instant};

use marquee_common::redis::{RedisClient, RedisConfig};
use marquee_testkit::{eventually, infra};
use redis::AsyncCommands;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::setup::{PATIENCE, redis_client, unique};

fn client_at(port: u16) -> RedisClient {
    RedisClient::new(&RedisConfig {
        redis_host: "127.0.0.1".to_owned(),
        redis_port: port,
    })
    .unwrap()
}

#[tokio::test]
async fn commands_and_pipelines_work_on_a_clone() {
    let client = redis_client();
    client.ping().await.unwrap();
    let key = unique("common:test");
    let (set, got): (bool, String) = redis::pipe()
        .atomic()
        .set_nx(key, "value")
        .get(key)
        .query_async(&mut client.clone())
        .await
        .unwrap();
    assert!(set);
    assert_eq!(got, "value");
    let () = client.clone().del(key).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_second_a_command() {
    // Accepts and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_at(listener.local_addr().unwrap().port());
    let started = Instant::now();
    client.ping().await.unwrap_err();
    client.ping().await.unwrap_err();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// Passes connections on to Redis, so that a test can take Redis away.
async fn passage(listener: TcpListener) {
    let url = infra().redis_url.parse::<url::Url>().unwrap();
    let redis = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let mut connections: Vec<JoinHandle<()>> = Vec::new();
    let guard = AbortOnDrop(&mut connections);
    loop {
        let (mut inside, _) = listener.accept().await.unwrap();
        let redis = redis.clone();
        guard.0.push(tokio::spawn(async move {
            let mut outside = TcpStream::connect(redis).await.unwrap();
            let _ = copy_bidirectional(&mut inside, &mut outside).await;
        }));
    }
}

struct AbortOnDrop<'a>(&'a mut Vec<JoinHandle<()>>);

impl Drop for AbortOnDrop<'_> {
    fn drop(&mut self) {
        for connection in self.0.drain(..) {
            connection.abort();
        }
    }
}

#[tokio::test]
async fn a_client_made_without_redis_finds_it_when_it_comes_and_again_after_a_loss() {
    let port = marquee_testkit::free_port();
    let client = client_at(port);
    client.ping().await.unwrap_err();

    for _ in 0..2 {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let passage = tokio::spawn(passage(listener));
        eventually("Redis is found", PATIENCE, async || {
            client.ping().await.ok()
        })
        .await;
        passage.abort();
        eventually("the loss is seen", PATIENCE, async || {
            client.ping().await.err()
        })
        .await;
    }
}
