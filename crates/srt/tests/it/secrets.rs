//! Keys and passphrases stay out of logs, debug output and errors.

use std::io;
use std::sync::{Arc, Mutex};

use marquee_srt::{KeyLength, ListenerConfig, Passphrase, parse_stream_id};

use crate::publisher::LiveTransmit;
use crate::support::{accept, collect, config, listen};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_of_any_level_contains_a_stream_id_or_a_passphrase() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let secret = "never-to-be-logged-secret";
    let mut listener = listen(&ListenerConfig {
        passphrase: Some(Passphrase::new(secret, KeyLength::Aes128).unwrap()),
        ..config()
    });
    let address = listener.local_addr();
    let right = format!("&passphrase={secret}");

    for stream_id in ["publish:never-to-be-logged-bad", "never-to-be-logged-form"] {
        LiveTransmit::start(address, stream_id, &right)
            .refused()
            .await;
    }
    let wrong = "&passphrase=never-to-be-logged-wrong";
    LiveTransmit::start(address, crate::support::GOOD, wrong)
        .refused()
        .await;
    let publisher = LiveTransmit::start(address, crate::support::GOOD, &right);
    let mut connection = accept(&mut listener).await;
    let shown = format!("{listener:?} {connection:?} {:?}", connection.closer());
    publisher.end().await;
    let _ = collect(&mut connection).await;
    listener.close().await;

    let log = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(log.contains("publisher refused"), "{log}");
    assert!(log.contains("libsrt:"), "libsrt's own lines are passed on");
    for text in [&log, &shown] {
        assert!(!text.contains("never-to-be-logged"), "{text}");
        assert!(!text.contains("a-good-key"), "{text}");
    }
}

#[test]
fn debug_output_has_no_secret() {
    let passphrase = Passphrase::new("never-to-be-shown", KeyLength::Aes256).unwrap();
    let config = ListenerConfig {
        passphrase: Some(passphrase),
        ..config()
    };
    let request = parse_stream_id("publish:never-to-be-shown").unwrap();
    for text in [format!("{config:?}"), format!("{request:?}")] {
        assert!(text.contains("***") && !text.contains("never"), "{text}");
    }
    let error = Passphrase::new("too-short", KeyLength::Aes256).unwrap_err();
    assert!(!error.to_string().contains("too-short"));
}
