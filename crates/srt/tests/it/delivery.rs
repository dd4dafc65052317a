//! What a publisher sends arrives, whole and in order.

use std::time::Duration;

use marquee_srt::{HANDOVER_PACKETS, ListenerConfig};

use crate::publisher::{LiveTransmit, PAYLOAD, ffmpeg};
use crate::relay::Relay;
use crate::support::{
    GOOD, accept, assert_same, collect, collect_at_least, config, eventually, listen, noise,
};

const FAST: u64 = 20_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_arrives_in_order_and_is_counted() {
    let mut listener = listen(&config());
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    let sent = noise(1, 2000 * PAYLOAD);

    publisher.send(&sent, FAST).await;
    let received = collect_at_least(&mut connection, sent.len()).await;
    let stats = connection.stats();
    publisher.end().await;
    let (rest, end) = collect(&mut connection).await;

    assert_same(&received, &sent);
    assert_eq!((rest.len(), end), (0, Ok(())));
    assert_eq!(connection.stream_id(), GOOD);
    assert!(connection.peer().ip().is_loopback());
    assert_eq!(stats.packets_received, 2000);
    assert_eq!(stats.bytes_received, sent.len() as u64);
    assert_eq!((stats.packets_dropped, stats.packets_undecrypted), (0, 0));
    assert_eq!(stats.latency_ms, 120);
    assert!(stats.rtt_ms < 100.0, "measured, not the initial value");
    assert!(
        connection.stats().packets_received > 0,
        "figures stay after the end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ffmpeg_publisher_arrives_as_ffmpeg_would_have_written_it_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (clip, written) = (path("clip.mkv"), path("written.ts"));
    let making = format!(
        "-f lavfi -i testsrc2=size=320x240:rate=30:duration=2 \
         -f lavfi -i sine=frequency=440:duration=2 \
         -c:v libx264 -preset ultrafast -g 30 -c:a aac {clip}"
    );
    assert!(ffmpeg(&making).await.success());
    let written_as = format!("-i {clip} -c copy -f mpegts {written}");
    assert!(ffmpeg(&written_as).await.success());

    let mut listener = listen(&config());
    let url = format!("srt://{}?pkt_size=1316", listener.local_addr());
    let stream_id = "#!::m=publish,r=a-good-key,u=obs";
    let publishing =
        format!("-re -i {clip} -c copy -f mpegts -linger 3 -srt_streamid {stream_id} {url}");
    let (status, received) = tokio::join!(ffmpeg(&publishing), async {
        let mut connection = accept(&mut listener).await;
        assert_eq!(connection.stream_id(), stream_id);
        let (received, end) = collect(&mut connection).await;
        assert_eq!(end, Ok(()));
        received
    });

    assert!(status.success());
    assert_same(&received, &std::fs::read(&written).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_percent_loss_loses_nothing() {
    let config = ListenerConfig {
        latency: Duration::from_millis(500),
        ..config()
    };
    let mut listener = listen(&config);
    let relay = Relay::start(listener.local_addr(), 2).await;
    let mut publisher = LiveTransmit::start(relay.address(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    let sent = noise(2, 3000 * PAYLOAD);
    // A loss is noticed by what comes after it: SRT repeats nothing unasked. So there is an appendix.
    let (compared, _) = sent.split_at(2900 * PAYLOAD);

    let ((), received) = tokio::join!(
        publisher.send(&sent, FAST),
        collect_at_least(&mut connection, compared.len())
    );

    assert_same(&received[..compared.len()], compared);
    let stats = connection.stats();
    assert!(relay.dropped() > 30, "the relay did lose datagrams");
    assert!(stats.packets_lost > 10 && stats.packets_retransmitted > 10);
    assert_eq!(stats.packets_dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_publishers_at_once_do_not_disturb_each_other() {
    let mut listener = listen(&config());
    let (one, two) = (noise(3, 1500 * PAYLOAD), noise(4, 1500 * PAYLOAD));

    let mut first = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut first_connection = accept(&mut listener).await;
    let mut second = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut second_connection = accept(&mut listener).await;
    let ((), (), received_one, received_two) = tokio::join!(
        first.send(&one, FAST),
        second.send(&two, FAST / 2),
        collect_at_least(&mut first_connection, one.len()),
        collect_at_least(&mut second_connection, two.len()),
    );

    assert_same(&received_one, &one);
    assert_same(&received_two, &two);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_that_waits_out_the_latency_after_the_publishers_shutdown_is_not_lost() {
    let config = ListenerConfig {
        latency: Duration::from_millis(1500),
        ..config()
    };
    let mut listener = listen(&config);
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    let sent = noise(5, 500 * PAYLOAD);

    publisher.send(&sent, FAST).await;
    eventually("all packets are in libsrt's buffer", || {
        connection.stats().packets_received == 500
    })
    .await;
    publisher.end().await;
    let (received, end) = collect(&mut connection).await;

    assert_same(&received, &sent);
    assert_eq!(end, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_gets_all_that_the_buffers_held_meanwhile() {
    let mut listener = listen(&config());
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    const { assert!(HANDOVER_PACKETS < 2000) };
    let sent = noise(6, 3000 * PAYLOAD);

    // Nobody reads: the channel fills, then libsrt's buffer.
    publisher.send(&sent, 2 * FAST).await;
    eventually("libsrt's buffer holds what the channel could not", || {
        connection.stats().buffered_ms > 300
    })
    .await;
    let received = collect_at_least(&mut connection, sent.len()).await;

    assert_same(&received, &sent);
    assert_eq!(connection.stats().packets_dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_as_large_as_the_network_allows_arrive_too() {
    let mut listener = listen(&config());
    let mut publisher =
        LiveTransmit::start_with_payload(1456, listener.local_addr(), GOOD, "&payloadsize=1456");
    let mut connection = accept(&mut listener).await;
    let sent = noise(7, 1456 * 200);

    publisher.send(&sent, FAST).await;

    assert_same(&collect_at_least(&mut connection, sent.len()).await, &sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ipv6_wildcard_takes_publishers_of_both_families_and_shows_ipv4_as_ipv4() {
    let mut listener = listen(&ListenerConfig::new("[::]:0".parse().unwrap()));
    let port = listener.local_addr().port();
    for host in ["127.0.0.1", "::1"] {
        let address = (host.parse::<std::net::IpAddr>().unwrap(), port).into();
        let mut publisher = LiveTransmit::start(address, GOOD, "");
        let mut connection = accept(&mut listener).await;
        let sent = noise(8, 100 * PAYLOAD);

        publisher.send(&sent, FAST).await;

        assert_same(&collect_at_least(&mut connection, sent.len()).await, &sent);
        assert_eq!(connection.peer().ip(), address.ip());
    }
}
