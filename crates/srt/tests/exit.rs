//! A process may end at any moment, also while publishers are connected and while connections are
//! just being closed: it must not crash on its way out. The crash this guards against came from
//! libsrt's static destructors, which ran while threads of ours were still calling it.
//!
//! No test harness: what is looked at is how whole processes end, so this program runs itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use marquee_srt::{Admission, Listener, ListenerConfig, Reject};

const CHILDREN: usize = 18;
const AT_ONCE: usize = 6;
const PUBLISHERS: usize = 4;

struct Anyone;

impl Admission for Anyone {
    fn check(&self, _stream_id: &str, _peer: SocketAddr) -> Result<(), Reject> {
        Ok(())
    }
}

fn main() {
    if let Some(round) = std::env::args().nth(1).and_then(|round| round.parse().ok()) {
        return serve_and_leave(round);
    }
    let rounds: Vec<usize> = (0..CHILDREN).collect();
    for together in rounds.chunks(AT_ONCE) {
        let children: Vec<Child> = together.iter().map(|round| run_myself(*round)).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", output.status);
        }
    }
    println!("{CHILDREN} processes left in good order");
}

fn run_myself(round: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg(round.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Takes some publishers and returns from `main` with them in a state that depends on `round`.
fn serve_and_leave(round: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = ListenerConfig::new("127.0.0.1:0".parse().unwrap());
    let mut listener = Listener::bind(&config, Arc::new(Anyone)).unwrap();
    let mut publishers: Vec<Child> = (0..PUBLISHERS)
        .map(|_| publish(listener.local_addr()))
        .collect();
    let connections = runtime.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..PUBLISHERS {
            let accepted = tokio::time::timeout(Duration::from_secs(20), listener.accept()).await;
            connections.push(accepted.expect("a publisher comes").unwrap());
        }
        connections
    });
    match round % 3 {
        // Everything is being closed at the moment of the exit: libsrt shuts down meanwhile.
        0 => drop((connections, listener)),
        // The connections are, the listener is not.
        1 => {
            drop(connections);
            std::mem::forget(listener);
        }
        // Nothing is.
        _ => std::mem::forget((connections, listener)),
    }
    for publisher in &mut publishers {
        publisher.kill().unwrap();
        publisher.wait().unwrap();
    }
}

fn publish(to: SocketAddr) -> Child {
    Command::new("srt-live-transmit")
        .args(["-quiet", "-autoreconnect:no", "file://con"])
        .arg(format!("srt://{to}?streamid=publish:KEY"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("srt-live-transmit of Debian's package srt-tools")
}
