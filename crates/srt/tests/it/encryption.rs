//! A passphrase on the listener is a must, and the right one.

use marquee_srt::{KeyLength, Listener, ListenerConfig, Passphrase};

use crate::publisher::{LiveTransmit, PAYLOAD};
use crate::relay::Relay;
use crate::support::{GOOD, accept, assert_same, collect_at_least, config, listen, noise};

const SECRET: &str = "correct-horse-battery";

/// What libsrt tells a caller, `SRT_REJECT_REASON`.
const BAD_SECRET: u32 = 10;
const UNSECURE: u32 = 11;

fn encrypted(key_length: KeyLength) -> Listener {
    listen(&ListenerConfig {
        passphrase: Some(Passphrase::new(SECRET, key_length).unwrap()),
        ..config()
    })
}

/// Calls through a relay, and gives the reason of the refusal with the caller's log.
async fn refused(listener: &Listener, more: &str) -> (Vec<u32>, String) {
    let relay = Relay::start(listener.local_addr(), 0).await;
    let log = LiveTransmit::start(relay.address(), GOOD, more)
        .refused()
        .await;
    (relay.rejects(), log)
}

#[tokio::test(flavor = "multi_thread")]
async fn aes_128_192_and_256_arrive_as_sent_with_the_right_passphrase() {
    for (key_length, bytes) in [
        (KeyLength::Aes128, 16),
        (KeyLength::Aes192, 24),
        (KeyLength::Aes256, 32),
    ] {
        let mut listener = encrypted(key_length);
        let more = format!("&passphrase={SECRET}&pbkeylen={bytes}");
        let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, &more);
        let mut connection = accept(&mut listener).await;
        let sent = noise(bytes, 300 * PAYLOAD);

        publisher.send(&sent, 20_000_000).await;

        let received = collect_at_least(&mut connection, sent.len()).await;
        assert_same(&received, &sent);
        assert_eq!(connection.stats().packets_undecrypted, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publishers_own_key_length_is_taken_whatever_the_listener_proposes() {
    let mut listener = encrypted(KeyLength::Aes128);
    let more = format!("&passphrase={SECRET}&pbkeylen=32");
    let mut publisher = LiveTransmit::start(listener.local_addr(), GOOD, &more);
    let mut connection = accept(&mut listener).await;
    let sent = noise(9, 100 * PAYLOAD);

    publisher.send(&sent, 20_000_000).await;

    assert_same(&collect_at_least(&mut connection, sent.len()).await, &sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passphrase_is_refused_and_the_caller_is_told() {
    let mut listener = encrypted(KeyLength::Aes128);

    let (reasons, log) = refused(&listener, "&passphrase=wrong-horse-battery").await;

    assert_eq!(reasons, [BAD_SECRET]);
    assert!(log.contains("Incorrect passphrase"), "{log}");
    // And the listener goes on.
    let right = format!("&passphrase={SECRET}");
    let _publisher = LiveTransmit::start(listener.local_addr(), GOOD, &right);
    accept(&mut listener).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_passphrase_is_refused() {
    let (reasons, log) = refused(&encrypted(KeyLength::Aes128), "").await;

    assert_eq!(reasons, [UNSECURE]);
    assert!(log.contains("Password required or unexpected"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_the_listener_has_not_is_refused() {
    let (reasons, log) = refused(&listen(&config()), "&passphrase=correct-horse-battery").await;

    assert_eq!(reasons, [UNSECURE]);
    assert!(log.contains("Password required or unexpected"), "{log}");
}

#[test]
fn a_passphrase_has_10_to_79_bytes() {
    for len in [0, 9, 80] {
        assert!(Passphrase::new("x".repeat(len), KeyLength::Aes128).is_err());
    }
    for len in [10, 79] {
        assert!(Passphrase::new("x".repeat(len), KeyLength::Aes128).is_ok());
    }
    assert!(Passphrase::new("a NUL\0 within", KeyLength::Aes128).is_err());
}
