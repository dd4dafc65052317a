//! A UDP relay between one publisher and the listener: it loses datagrams, and reads off the wire
//! what a caller is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::support::Random;

pub struct Relay {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    dropped: AtomicU64,
    shutdowns: AtomicU64,
    rejects: Mutex<Vec<u32>>,
}

impl Relay {
    /// Loses this part of the datagrams, in both directions, handshakes too.
    pub async fn start(listener: SocketAddr, loss_percent: u64) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        back.connect(listener).await.unwrap();
        let address = front.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let task = tokio::spawn(relay(front, back, loss_percent, Arc::clone(&seen)));
        Self {
            address,
            seen,
            task,
        }
    }

    /// Where the publisher sends to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn dropped(&self) -> u64 {
        self.seen.dropped.load(Ordering::Relaxed)
    }

    /// How often the listener's side ended a connection.
    pub fn shutdowns(&self) -> u64 {
        self.seen.shutdowns.load(Ordering::Relaxed)
    }

    /// The reasons for which the caller was refused, as it was told.
    pub fn rejects(&self) -> Vec<u32> {
        self.seen.rejects.lock().unwrap().clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(front: UdpSocket, back: UdpSocket, loss_percent: u64, seen: Arc<Seen>) {
    let mut random = Random::new(2);
    let mut publisher = None;
    let (mut up, mut down) = ([0; 2048], [0; 2048]);
    loop {
        let lost = random.chance(loss_percent);
        tokio::select! {
            Ok((len, from)) = front.recv_from(&mut up) => {
                publisher = Some(from);
                if !lost {
                    let _ = back.send(&up[..len]).await;
                }
            }
            Ok(len) = back.recv(&mut down) => {
                if down.starts_with(&SHUTDOWN) {
                    seen.shutdowns.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(reason) = reject_reason(&down[..len]) {
                    seen.rejects.lock().unwrap().push(reason);
                }
                if let Some(publisher) = publisher && !lost {
                    let _ = front.send_to(&down[..len], publisher).await;
                }
            }
        }
        if lost {
            seen.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A control packet of type 5.
const SHUTDOWN: [u8; 4] = [0x80, 5, 0, 0];

/// A handshake (control packet of type 0) whose own type is above 1000 refuses the caller: 1000 and
/// the reason.
fn reject_reason(datagram: &[u8]) -> Option<u32> {
    let word = |at: usize| {
        let bytes = datagram.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let handshake_type = word(36)?;
    (word(0)? == 0x8000_0000 && (1000..10_000).contains(&handshake_type))
        .then(|| handshake_type - 1000)
}
