//! What ffmpeg last said, for the event that tells of its death.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Lines kept.
const LINES: usize = 20;
/// Longer ones are cut: stderr carries text from the source's metadata.
const LINE_BYTES: usize = 400;

/// The last lines of a run.
#[derive(Clone, Default)]
pub(super) struct LogTail(Arc<Mutex<VecDeque<String>>>);

impl LogTail {
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Reads stderr to its end.
    pub(super) async fn follow(self, mut stderr: impl AsyncRead + Unpin) {
        let mut buffer = [0_u8; 4096];
        let mut line = Vec::with_capacity(LINE_BYTES);
        while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
            for byte in &buffer[..read] {
                match byte {
                    b'\n' | b'\r' => self.take(&mut line),
                    _ if line.len() < LINE_BYTES => line.push(*byte),
                    _ => {}
                }
            }
        }
        self.take(&mut line);
    }

    fn take(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        line.clear();
        if text.is_empty() {
            return;
        }
        tracing::debug!(target: "ffmpeg", "{text}");
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}
