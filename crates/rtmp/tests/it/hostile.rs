//! Strangers: none of them lasts, and none of them is noticed by a publisher. What is turned away here
//! is turned away for what it does: a server that ignored it would keep it for a minute.

use std::time::Duration;

use marquee_rtmp::{Listener, ListenerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::obs::Obs;
use crate::{PATIENCE, accept, in_time, listen};

/// Waits for strangers far longer than a test does.
fn patiently(config: &mut ListenerConfig) {
    config.setup_timeout = 3 * PATIENCE;
    config.handshake_timeout = 3 * PATIENCE;
}

/// Ends when the server has closed.
async fn is_turned_away(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    let closed = async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} };
    in_time(closed).await;
}

/// A publisher can still come, and is served.
async fn others_are_served(listener: &mut Listener) {
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.request("KEY").await;
    let mut connection = accept(listener).await;
    connection.admit();
    obs.hears().await;
    obs.headers().await;
    obs.frame(0, true, 500).await;
    assert!(in_time(connection.recv()).await.unwrap().is_some());
}

#[tokio::test]
async fn something_else_than_rtmp_is_closed() {
    let mut listener = listen(patiently).await;
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 4000]] {
        let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        is_turned_away(stream).await;
    }
    others_are_served(&mut listener).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_or_a_byte_at_a_time_has_an_end_of_its_own() {
    let mut listener = listen(|config| {
        patiently(config);
        config.handshake_timeout = Duration::from_millis(400);
    })
    .await;
    is_turned_away(TcpStream::connect(listener.local_addr()).await.unwrap()).await;
    let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
    let dripping = async {
        stream.write_all(&[3]).await.unwrap();
        while stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(dripping).await;
    others_are_served(&mut listener).await;
}

#[tokio::test]
async fn a_setup_that_comes_to_nothing_has_an_end_too() {
    let mut listener = listen(|config| {
        patiently(config);
        config.setup_timeout = Duration::from_millis(400);
    })
    .await;
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.is_closed().await;
    others_are_served(&mut listener).await;
}

#[tokio::test]
async fn when_all_places_are_taken_the_oldest_gives_way() {
    let mut listener = listen(|config| {
        patiently(config);
        config.max_setups = 3;
    })
    .await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(Obs::connect_to(listener.local_addr()).await);
    }
    // From another address of this machine.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = socket.connect(listener.local_addr()).await.unwrap();
    let _newcomer = Obs::greet(stream).await;
    waiting.remove(0).is_closed().await;
    drop(waiting);
    others_are_served(&mut listener).await;
}

#[tokio::test]
async fn one_network_does_not_take_all_the_places() {
    let listener = listen(|config| {
        config.max_setups_per_network = 3;
        patiently(config);
    })
    .await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        // A handshake each, so that they are surely counted.
        waiting.push(Obs::connect_to(listener.local_addr()).await);
    }
    let one_more = TcpStream::connect(listener.local_addr()).await.unwrap();
    is_turned_away(one_more).await;
    drop(waiting);
    // Their places are free again as soon as their ends are seen.
    let free = async {
        loop {
            let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
            let _ = stream.write_all(&[&[3][..], &[0; 1536]].concat()).await;
            if stream.read_u8().await.is_ok() {
                return;
            }
        }
    };
    in_time(free).await;
}

/// A chunk's full header.
fn message(chunks: u8, kind: u8, length: [u8; 3]) -> Vec<u8> {
    [&[chunks, 0, 0, 0][..], &length, &[kind, 0, 0, 0, 0]].concat()
}

#[tokio::test]
async fn what_would_cost_memory_or_sense_is_closed_with_a_reason() {
    let mut listener = listen(patiently).await;
    let chunk_size = |size: u32| [message(3, 1, [0, 0, 4]), size.to_be_bytes().to_vec()].concat();
    let nested = {
        let mut payload = vec![2, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([10, 0, 0, 0, 1].repeat(20));
        let length = u8::try_from(payload.len()).unwrap();
        [message(3, 20, [0, 0, length]), payload].concat()
    };
    // Acknowledgements, which mean nothing, on many chunk streams.
    let many_streams = (0..=255)
        .flat_map(|id: u8| [&[0, id, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 9][..]].concat())
        .collect();
    for (attack, reason) in [
        (message(3, 9, [0xff; 3]), "announces 16777215 bytes"),
        (message(3, 20, [0xff; 3]), "announces 16777215 bytes"),
        (chunk_size(0), "a chunk size of 0"),
        (chunk_size(1), "a chunk size of 1"),
        (chunk_size(u32::MAX), "a chunk size of 4294967295"),
        (nested, "a command cannot be read"),
        (many_streams, "more than 64 chunk streams"),
        // A long message of somebody who was not let in.
        (
            [
                message(3, 9, [0x40, 0, 0]),
                [&[0; 128][..], &[0xc3]].concat().repeat(2_000),
            ]
            .concat(),
            "more than 131072 bytes of unfinished messages",
        ),
        // A chunk that continues nothing.
        (vec![0xc7], "continues another"),
        (
            [message(3, 9, [0, 0, 1]), vec![0x17]].concat(),
            "before publish",
        ),
    ] {
        let mut obs = Obs::connect_to(listener.local_addr()).await;
        obs.connect().await;
        obs.stream.write_all(&attack).await.unwrap();
        let (name, texts) = obs.hears().await;
        assert_eq!(name, "onStatus", "{reason}");
        assert!(
            texts.iter().any(|text| text.contains(reason)),
            "{reason}: {texts:?}"
        );
        obs.is_closed().await;
    }
    others_are_served(&mut listener).await;
}
