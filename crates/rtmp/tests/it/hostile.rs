//! Strangers: none of them lasts, and none of them is noticed by a publisher.

use std::time::Duration;

use marquee_rtmp::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::obs::Obs;
use crate::{accept, in_time, listen};

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
    let mut listener = listen(|_| {}).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0xff; 4000],
        &[],
    ] {
        let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        is_turned_away(stream).await;
    }
    others_are_served(&mut listener).await;
}

#[tokio::test]
async fn a_handshake_a_byte_at_a_time_has_an_end() {
    let mut listener = listen(|config| config.setup_timeout = Duration::from_millis(400)).await;
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
async fn one_address_does_not_take_all_the_places() {
    let listener = listen(|config| config.max_setups_per_address = 3).await;
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

#[tokio::test]
async fn what_would_cost_memory_or_sense_is_closed_with_a_reason() {
    let mut listener = listen(|_| {}).await;
    let message = |kind: u8, length: [u8; 3]| {
        let mut bytes = vec![3, 0, 0, 0];
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&[kind, 0, 0, 0, 0]);
        bytes
    };
    let chunk_size = |size: u32| [message(1, [0, 0, 4]), size.to_be_bytes().to_vec()].concat();
    let nested = {
        let mut payload = vec![2, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([10, 0, 0, 0, 1].repeat(20));
        [
            message(20, [0, 0, u8::try_from(payload.len()).unwrap()]),
            payload,
        ]
        .concat()
    };
    let many_streams = (0..=255)
        .flat_map(|id: u8| [&[0, id, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 9][..]].concat())
        .collect();
    for attack in [
        // The longest message there can be.
        message(9, [0xff, 0xff, 0xff]),
        message(20, [0xff, 0xff, 0xff]),
        chunk_size(0),
        chunk_size(1),
        chunk_size(0xffff_ffff),
        nested,
        many_streams,
        // A long message of somebody who was not let in.
        [
            message(9, [0x40, 0, 0]),
            [&[0; 128][..], &[0xc3]].concat().repeat(2_000),
        ]
        .concat(),
        // A chunk that continues nothing.
        vec![0xc7],
    ] {
        let mut obs = Obs::connect_to(listener.local_addr()).await;
        // It may be closed before all of it is written.
        let _ = obs.stream.write_all(&attack).await;
        obs.is_closed().await;
    }
    others_are_served(&mut listener).await;
}
