//! A thousand viewers at one edge: woken together, and let go together when it ends.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use marquee_common::contract::BroadcastId;
use reqwest::Client;
use tokio::{task::JoinHandle, time::Instant};

use super::live::{GOP, Live, PART, PATIENCE, Server};
use crate::storage::Storage;

const VIEWERS: usize = 1000;

/// Status and body.
type Answer = (u16, Bytes);

/// Requests of all viewers, each on a connection of its own.
fn held(client: &Client, url: &str) -> Vec<JoinHandle<Answer>> {
    let requests = (0..VIEWERS).map(|_| {
        let request = client.get(url);
        tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.bytes().await.unwrap())
        })
    });
    requests.collect()
}

async fn answers(held: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let answers = join_all(held).await;
    answers.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_viewers_get_one_text_and_come_back_after_a_restart_without_a_word_to_storage() {
    let storage = Storage::new().await;
    let server = Server::start(&storage.context).await;
    let (id, broadcast) = (storage.stream_id, BroadcastId::new());
    let mut live = Live::start(&storage.context, id, broadcast, 1, 1).await;
    live.parts(GOP / PART + 1);
    let clients = server.client();
    let url = |query: &str| server.url(id, &format!("360p/playlist.m3u8{query}"));

    let waiting = held(&clients, &url("?_HLS_msn=2&_HLS_part=1&_HLS_skip=YES"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(waiting.iter().all(|one| !one.is_finished()));
    live.parts(1);
    let woken = answers(waiting).await;
    assert!(
        woken
            .iter()
            .all(|answer| *answer == woken[0] && answer.0 == 200)
    );

    // The transcoder stops: nobody is left hanging, nobody gets an error.
    let waiting = held(&clients, &url("?_HLS_msn=2&_HLS_part=2&_HLS_skip=YES"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    live.end_run();
    assert!(live.output.flush(PATIENCE).await);
    let began = Instant::now();
    live.output.stop().await;
    let let_go = answers(waiting).await;
    assert!(let_go.iter().all(|answer| answer.0 == 200));
    assert!(began.elapsed() < Duration::from_secs(10));

    // Meanwhile they are told that it is not here, which costs storage nothing.
    storage.door.shut();
    let gone = answers(held(&clients, &url(""))).await;
    assert!(gone.iter().all(|answer| answer.0 == 404));
    storage.door.open();

    let mut live = Live::start(&storage.context, id, broadcast, 2, 12).await;
    live.parts(GOP / PART + 1);
    let back = answers(held(&clients, &url(""))).await;
    assert!(
        back.iter()
            .all(|answer| *answer == back[0] && answer.0 == 200)
    );
}
