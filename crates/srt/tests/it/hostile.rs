//! Rubbish from the network harms nobody.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use crate::publisher::{LiveTransmit, PAYLOAD};
use crate::support::{GOOD, Random, accept, assert_same, collect_at_least, config, listen, noise};

const DATAGRAMS: usize = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_thousand_garbage_datagrams_harm_neither_a_publisher_nor_the_listener() {
    let mut listener = listen(&config());
    let address = listener.local_addr();
    let mut publisher = LiveTransmit::start(address, GOOD, "");
    let mut connection = accept(&mut listener).await;
    let sent = noise(30, 4000 * PAYLOAD);

    let ((), (), received) = tokio::join!(
        publisher.send(&sent, 12_000_000),
        send_garbage(address),
        collect_at_least(&mut connection, sent.len()),
    );

    assert_same(&received, &sent);
    assert_eq!(connection.stats().packets_dropped, 0);
    let mut next = LiveTransmit::start(address, GOOD, "");
    let mut next_connection = accept(&mut listener).await;
    let more = noise(31, 100 * PAYLOAD);
    next.send(&more, 12_000_000).await;
    assert_same(
        &collect_at_least(&mut next_connection, more.len()).await,
        &more,
    );
}

/// Noise of all lengths; a third looks like SRT at first sight: handshakes, other control packets,
/// data for made-up sockets.
async fn send_garbage(to: SocketAddr) {
    let mut random = Random::new(32);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for round in 0..DATAGRAMS {
        let len = usize::try_from(random.next() % 1500).unwrap();
        let mut datagram = noise(random.next(), len);
        if let Some(header) = datagram.get_mut(..4)
            && round % 3 == 0
        {
            let kind = u8::try_from(random.next() % 10).unwrap();
            header.copy_from_slice(&[0x80, kind, 0, 0]);
        }
        if let Some(destination) = datagram.get_mut(12..16)
            && round % 2 == 0
        {
            // A socket number of 0 is how a handshake begins.
            destination.fill(0);
        }
        socket.send_to(&datagram, to).await.unwrap();
        // About 12,000 a second, for the publisher's packets to be among them.
        if round % 24 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}
