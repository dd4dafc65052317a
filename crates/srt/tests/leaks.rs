//! Nothing is left behind. A process of its own: it counts all its threads and file descriptors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use marquee_srt::{Admission, HANDOVER_PACKETS, Listener, ListenerConfig, RecvError, Reject};

const ROUNDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);

struct Anyone;

impl Admission for Anyone {
    fn check(&self, _stream_id: &str, _peer: SocketAddr) -> Result<(), Reject> {
        Ok(())
    }
}

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn threads() -> usize {
    count("/proc/self/task")
}

fn descriptors() -> usize {
    count("/proc/self/fd")
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "not within {PATIENCE:?}: {what}; {} threads, {} descriptors",
            threads(),
            descriptors()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// A real publisher of endless zeroes, killed on drop.
struct Publisher {
    child: Child,
    feeder: Option<JoinHandle<()>>,
}

impl Publisher {
    fn start(to: SocketAddr) -> Self {
        let mut child = Command::new("srt-live-transmit")
            .args(["-quiet", "-autoreconnect:no", "-chunk:1316", "file://con"])
            .arg(format!("srt://{to}?streamid=publish:KEY"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("srt-live-transmit of Debian's package srt-tools");
        let mut stdin = child.stdin.take().unwrap();
        let feeder = thread::spawn(move || {
            // 26 Mbit/s, until the publisher is killed.
            while stdin.write_all(&[0; 10 * 1316]).is_ok() {
                thread::sleep(Duration::from_millis(4));
            }
        });
        Self {
            child,
            feeder: Some(feeder),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.feeder.take().unwrap().join().unwrap();
    }
}

#[test]
fn twenty_connections_and_their_listener_leave_no_thread_and_no_socket_behind() {
    // No thread of its own, unlike a multi-threaded runtime.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (threads_before, descriptors_before) = (threads(), descriptors());
    let config = ListenerConfig::new("127.0.0.1:0".parse().unwrap());
    let mut listener = Listener::bind(&config, Arc::new(Anyone)).unwrap();
    let address = listener.local_addr();
    let (threads_listening, descriptors_listening) = (threads(), descriptors());

    for round in 0..ROUNDS {
        let publisher = Publisher::start(address);
        runtime.block_on(async {
            let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
            let mut connection = accepted.expect("in time").unwrap();
            assert!(connection.recv().await.unwrap().is_some());
            match round % 4 {
                0 => drop(publisher),
                1 => connection.closer().close(),
                2 => drop(connection),
                // The channel is full: its thread waits for a reader that will not come.
                _ => {
                    while connection.stats().packets_received < 2 * HANDOVER_PACKETS as u64 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    connection.closer().close();
                    assert_eq!(connection.recv().await, Err(RecvError::Closed));
                }
            }
        });
    }
    eventually("only the listener's threads are left", || {
        threads() == threads_listening && descriptors() == descriptors_listening
    });

    runtime.block_on(listener.close());
    // The runtime keeps a thread for blocking calls for a while.
    drop(runtime);
    eventually("everything is as before", || {
        threads() == threads_before && descriptors() <= descriptors_before
    });
}
