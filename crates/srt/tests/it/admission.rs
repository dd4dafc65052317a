//! Who is let in, and what the others are told.

use marquee_srt::{Listener, ListenerConfig};

use crate::publisher::{LiveTransmit, PAYLOAD};
use crate::relay::Relay;
use crate::support::{
    GOOD, accept, assert_same, collect_at_least, config, eventually, listen, noise,
};

/// Calls through a relay; gives the codes the caller was told. One that is not answered within 250 ms
/// asks again, and is then told the same again: that counts once.
async fn refused(listener: &Listener, stream_id: &str) -> Vec<u32> {
    let relay = Relay::start(listener.local_addr(), 0).await;
    let log = LiveTransmit::start(relay.address(), stream_id, "")
        .refused()
        .await;
    assert!(
        log.contains("Application-defined rejection reason"),
        "{log}"
    );
    let mut codes = relay.rejects();
    codes.dedup();
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_told_1403_a_malformed_stream_id_1400_a_wrong_mode_1405() {
    let listener = listen(&config());
    assert_eq!(refused(&listener, "publish:a-bad-key").await, [1403]);
    assert_eq!(refused(&listener, "nonsense").await, [1400]);
    assert_eq!(refused(&listener, "publish:").await, [1400]);
    let reading = "#!::r=a-good-key,m=request";
    assert_eq!(refused(&listener, reading).await, [1405]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_panics_refuses_its_caller_and_nobody_else() {
    let mut listener = listen(&config());
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    let sent = noise(10, 1000 * PAYLOAD);

    let ((), received, codes) = tokio::join!(
        publisher.send(&sent, 10_000_000),
        collect_at_least(&mut connection, sent.len()),
        refused(&listener, "publish:panic"),
    );

    assert_eq!(codes, [1500]);
    assert_same(&received, &sent);
    let _next = LiveTransmit::start(listener.local_addr(), GOOD, "");
    accept(&mut listener).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_beyond_those_that_may_wait_to_be_accepted_are_told_1402() {
    let mut listener = listen(&ListenerConfig {
        max_pending: 1,
        ..config()
    });
    let waiting = LiveTransmit::start(listener.local_addr(), GOOD, "");
    waiting.says("Connection established").await;
    eventually("the first waits to be accepted", || listener.pending() == 1).await;

    assert_eq!(refused(&listener, GOOD).await, [1402]);
    accept(&mut listener).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_wants_a_packet_filter_is_disconnected() {
    let mut listener = listen(&config());
    let relay = Relay::start(listener.local_addr(), 0).await;
    let filter = "&packetfilter=fec,cols:10,rows:5";
    let _filtered = LiveTransmit::start(relay.address(), GOOD, filter);
    eventually("it is disconnected", || relay.shutdowns() > 0).await;

    let mut plain = LiveTransmit::start(listener.local_addr(), GOOD, "");
    let mut connection = accept(&mut listener).await;
    let sent = noise(11, 100 * PAYLOAD);
    plain.send(&sent, 10_000_000).await;
    let received = collect_at_least(&mut connection, sent.len()).await;
    assert_same(&received, &sent);
}
