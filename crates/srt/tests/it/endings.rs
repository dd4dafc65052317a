//! How connections and listeners end.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use marquee_srt::{ListenerConfig, RecvError, SrtError};

use crate::publisher::{LiveTransmit, PAYLOAD};
use crate::support::{
    GOOD, accept, assert_same, collect, collect_at_least, config, listen, noise, within,
};

const RATE: u64 = 10_000_000;

/// "At once", on a loaded machine: well below any timer in here.
const AT_ONCE: Duration = Duration::from_millis(900);

fn impatient() -> ListenerConfig {
    ListenerConfig {
        no_data_timeout: Duration::from_secs(1),
        ..config()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_publisher_is_noticed_by_the_no_data_timer() {
    let mut listener = listen(&impatient());
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    let sent = noise(20, 100 * PAYLOAD);
    publisher.send(&sent, RATE).await;
    let received = collect_at_least(&mut connection, sent.len()).await;

    let killed = Instant::now();
    publisher.kill().await;
    let (rest, end) = collect(&mut connection).await;

    assert_same(&received, &sent);
    assert_eq!(rest.len(), 0);
    assert_eq!(end, Err(RecvError::NoData(Duration::from_secs(1))));
    // libsrt's own timer takes at least 5 s.
    assert!(killed.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_stays_but_sends_nothing_is_disconnected() {
    let mut listener = listen(&impatient());
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;

    let (received, end) = collect(&mut connection).await;

    assert_eq!(received.len(), 0);
    assert_eq!(end, Err(RecvError::NoData(Duration::from_secs(1))));
    publisher.exited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_waits_out_a_long_latency_is_no_silence() {
    let mut listener = listen(&impatient());
    // The publisher asks for more than twice the timer.
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "&latency=2500");
    let mut connection = accept(&mut listener).await;
    let sent = noise(21, 3500 * PAYLOAD);

    let ((), received) = tokio::join!(
        publisher.send(&sent, RATE),
        collect_at_least(&mut connection, sent.len())
    );

    assert_same(&received, &sent);
    assert_eq!(connection.stats().latency_ms, 2500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closer_ends_a_blocked_receive_at_once_and_disconnects_the_publisher() {
    let mut listener = listen(&config());
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    let closer = connection.closer();
    let receiving = tokio::spawn(async move { connection.recv().await });
    assert!(!receiving.is_finished());

    let asked = Instant::now();
    closer.clone().close();
    let answer = within("recv returns", receiving).await.unwrap();

    assert_eq!(answer, Err(RecvError::Closed));
    assert!(asked.elapsed() < AT_ONCE);
    publisher.exited().await;
    closer.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closer_does_not_wait_for_what_the_reader_has_not_taken_yet() {
    let mut listener = listen(&config());
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    // More than the channel holds: the connection's thread waits for room.
    publisher.send(&noise(22, 1500 * PAYLOAD), 4 * RATE).await;

    connection.closer().close();

    assert_eq!(connection.recv().await, Err(RecvError::Closed));
    publisher.exited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_connection_disconnects_its_publisher_only() {
    let mut listener = listen(&config());
    let mut first = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let first_connection = accept(&mut listener).await;
    let mut second = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut second_connection = accept(&mut listener).await;

    drop(first_connection);
    first.exited().await;

    let sent = noise(23, 100 * PAYLOAD);
    second.send(&sent, RATE).await;
    let received = collect_at_least(&mut second_connection, sent.len()).await;
    assert_same(&received, &sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_outlive_their_listener_and_its_port_can_be_listened_on_again() {
    let mut listener = listen(&config());
    let address = listener.local_addr();
    let mut publisher = LiveTransmit::start(address, GOOD, "");
    let mut connection = accept(&mut listener).await;

    within("the listener closes", listener.close()).await;
    let mut again = listen(&ListenerConfig::new(address));

    let sent = noise(24, 100 * PAYLOAD);
    publisher.send(&sent, RATE).await;
    let received = collect_at_least(&mut connection, sent.len()).await;
    assert_same(&received, &sent);
    let _next = LiveTransmit::start(address, GOOD, "");
    accept(&mut again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_listener_disconnects_publishers_nobody_has_accepted() {
    let listener = listen(&config());
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    publisher.says("Connection established").await;

    within("the listener closes", listener.close()).await;

    publisher.exited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_an_error_with_its_address() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = ListenerConfig::new(address);

    let error = marquee_srt::Listener::bind(&config, std::sync::Arc::new(crate::support::KnownKey))
        .unwrap_err();

    assert!(matches!(&error, SrtError::Bind { address: at, .. } if *at == address));
    assert!(error.to_string().contains(&address.to_string()));
}

#[test]
fn a_configuration_that_cannot_work_is_refused_before_anything_is_opened() {
    let broken = [
        ListenerConfig {
            latency: Duration::from_secs(11),
            ..config()
        },
        ListenerConfig {
            no_data_timeout: Duration::ZERO,
            ..config()
        },
        ListenerConfig {
            max_pending: 0,
            ..config()
        },
    ];
    for config in broken {
        let answer =
            marquee_srt::Listener::bind(&config, std::sync::Arc::new(crate::support::KnownKey));
        assert!(matches!(answer, Err(SrtError::Config(_))));
    }
}
