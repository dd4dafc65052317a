//! A change in Redis takes effect within 50 ms of its answer, however hot the stream.

use std::time::Duration;

use futures::{StreamExt, stream};
use redis::AsyncCommands;

use crate::fixture::{Proxy, echo, redis, unique};

/// How soon after Redis' answer a change must have taken effect.
const EFFECT: Duration = Duration::from_millis(50);

// The connection to Redis must not wait behind two hundred clients on one thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_keys_flipping_between_two_upstreams_never_lead_to_the_old_one() {
    let proxy = Proxy::start().await;
    let upstreams = [("a", echo("a").await), ("b", echo("b").await)];
    let redis = redis().await;
    let flips = |key: usize| {
        let (proxy, upstreams, mut redis) = (&proxy, &upstreams, redis.clone());
        async move {
            let id = unique(&format!("flip{key}"));
            let path = format!("/stream/{id}");
            for flip in 0..50 {
                let (name, address) = upstreams[(key + flip) % 2];
                let () = redis
                    .set(format!("streams:{id}"), address.to_string())
                    .await
                    .unwrap();
                tokio::time::sleep(EFFECT).await;
                let got = proxy.get(&path).await;
                assert_eq!(got.body["name"], name, "key {key}, flip {flip}: {got:?}");
            }
            let () = redis.del(format!("streams:{id}")).await.unwrap();
        }
    };
    stream::iter(0..200).for_each_concurrent(200, flips).await;
}

#[tokio::test]
async fn an_expired_key_is_gone_when_its_time_is_over() {
    let proxy = Proxy::start().await;
    let upstream = echo("it").await;
    let id = unique("brief");
    let key = format!("streams:{id}");
    let () = redis()
        .await
        .pset_ex(&key, upstream.to_string(), 600)
        .await
        .unwrap();
    assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("it"));
    tokio::time::sleep(Duration::from_millis(650)).await;
    proxy
        .get(&format!("/stream/{id}"))
        .await
        .is_problem(404, "stream_not_found");
}

#[tokio::test]
async fn a_renewed_time_to_live_is_noticed() {
    let proxy = Proxy::start().await;
    let upstream = echo("it").await;
    let id = unique("renewed");
    let key = format!("streams:{id}");
    let mut redis = redis().await;
    for _ in 0..4 {
        let () = redis
            .pset_ex(&key, upstream.to_string(), 600)
            .await
            .unwrap();
        assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("it"));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(proxy.name_behind(&id).await.as_deref(), Some("it"));
    }
}
