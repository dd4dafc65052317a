//! Real publishers as child processes, killed when dropped.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

use crate::support::{PATIENCE, eventually};

/// The payload of a packet of MPEG-TS.
pub const PAYLOAD: usize = 1316;

/// `srt-live-transmit`, fed by its standard input: it sends what it is given, as it is.
pub struct LiveTransmit {
    child: Child,
    stdin: ChildStdin,
    log: Arc<Mutex<String>>,
}

impl LiveTransmit {
    /// `more` is appended to the URI's query: `&passphrase=…`.
    pub fn start(to: SocketAddr, stream_id: &str, more: &str) -> Self {
        Self::start_with_payload(PAYLOAD, to, stream_id, more)
    }

    pub fn start_with_payload(payload: usize, to: SocketAddr, stream_id: &str, more: &str) -> Self {
        let uri = format!("srt://{to}?streamid={stream_id}{more}");
        let mut child = Command::new("srt-live-transmit")
            .args(["-autoreconnect:no", "-verbose", "-loglevel:note"])
            .args([&format!("-chunk:{payload}"), "file://con", &uri])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("srt-live-transmit of Debian's package srt-tools");
        let log = gather_log(&mut child);
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, log }
    }

    /// Sends at a steady rate. In multiples of ten packets: it reads ten before it sends one.
    pub async fn send(&mut self, data: &[u8], bits_per_second: u64) {
        // What it reads before it knows that it is connected it throws away.
        self.says("SRT target connected").await;
        let start = Instant::now();
        let mut sent = 0;
        for packet in data.chunks(PAYLOAD) {
            // Fails when the listener has ended the connection, which some tests want.
            if self.stdin.write_all(packet).await.is_err() {
                return;
            }
            sent += packet.len() as u64;
            let due = Duration::from_micros(sent * 8 * 1_000_000 / bits_per_second);
            tokio::time::sleep_until(start + due).await;
        }
    }

    /// It disconnects in an orderly way and exits. (The end of its input would do nothing.)
    pub async fn end(mut self) {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.exited().await;
    }

    /// SIGKILL: the listener is not told.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until it was refused; gives its log. (It often stays afterwards, having missed the event.)
    pub async fn refused(mut self) -> String {
        self.says("REJECT reported from HS processing").await;
        self.child.kill().await.unwrap();
        self.log.lock().unwrap().clone()
    }

    /// Waits for it to exit by itself, because it was disconnected.
    pub async fn exited(&mut self) {
        let exit = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let log = self.log.lock().unwrap();
        assert!(exit.is_ok(), "srt-live-transmit does not exit: {log}");
    }

    /// Waits for a line in its log.
    pub async fn says(&self, text: &str) {
        eventually(&format!("srt-live-transmit says {text:?}"), || {
            self.log.lock().unwrap().contains(text)
        })
        .await;
    }
}

fn gather_log(child: &mut Child) -> Arc<Mutex<String>> {
    let log = Arc::<Mutex<String>>::default();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let into = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut log = into.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    log
}

/// Runs ffmpeg to its end. No argument has a space in it.
pub async fn ffmpeg(arguments: &str) -> ExitStatus {
    let run = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status();
    tokio::time::timeout(PATIENCE, run)
        .await
        .expect("ffmpeg ends")
        .expect("ffmpeg of Debian's package ffmpeg")
}
