//! What the tests share: listeners on free ports, conditions with a deadline, data to send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marquee_srt::{
    Admission, Connection, Listener, ListenerConfig, RecvError, Reject, parse_stream_id,
};

/// No step of a test takes longer than this, also on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The stream id of a publisher that [`KnownKey`] lets in.
pub const GOOD: &str = "publish:a-good-key";

/// Lets one key in.
pub struct KnownKey;

impl Admission for KnownKey {
    fn check(&self, stream_id: &str, _peer: SocketAddr) -> Result<(), Reject> {
        match parse_stream_id(stream_id)?.key {
            "a-good-key" => Ok(()),
            "panic" => panic!("the admission check panics, as the test wants"),
            _ => Err(Reject::BadKey),
        }
    }
}

/// Loopback, any port, the defaults.
pub fn config() -> ListenerConfig {
    ListenerConfig::new("127.0.0.1:0".parse().unwrap())
}

pub fn listen(config: &ListenerConfig) -> Listener {
    Listener::bind(config, Arc::new(KnownKey)).unwrap()
}

pub async fn accept(listener: &mut Listener) -> Connection {
    within("a publisher is accepted", listener.accept())
        .await
        .unwrap()
}

/// Everything until the connection's end, and how it ended.
pub async fn collect(connection: &mut Connection) -> (Vec<u8>, Result<(), RecvError>) {
    let mut received = Vec::new();
    loop {
        match within("data or the end", connection.recv()).await {
            Ok(Some(packet)) => received.extend_from_slice(&packet),
            Ok(None) => return (received, Ok(())),
            Err(error) => return (received, Err(error)),
        }
    }
}

/// At least `len` bytes.
pub async fn collect_at_least(connection: &mut Connection, len: usize) -> Vec<u8> {
    let mut received = Vec::new();
    while received.len() < len {
        match within("more data", connection.recv()).await {
            Ok(Some(packet)) => received.extend_from_slice(&packet),
            end => panic!(
                "{end:?} after {} of {len} bytes; {:?}",
                received.len(),
                connection.stats()
            ),
        }
    }
    received
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Polls until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Bytes that repeat nowhere, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Says where two byte strings differ instead of printing megabytes.
pub fn assert_same(received: &[u8], sent: &[u8]) {
    let differs = received.iter().zip(sent).position(|(a, b)| a != b);
    assert_eq!(differs, None, "the first byte that differs");
    assert_eq!(received.len(), sent.len(), "length");
}

/// xorshift64*: repeatable, and good enough to drop packets by.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// True in `percent` of the cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}
