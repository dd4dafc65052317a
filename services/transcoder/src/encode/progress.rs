//! How fast ffmpeg works, from its `-progress` pipe.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// Reports the figures are taken over: ffmpeg's own are averages since its start, and would hide
/// that it fell behind a minute ago.
const WINDOW: usize = 5;
/// ffmpeg's keys and values are short; what is longer is not from it.
const LINE_BYTES: usize = 256;

/// What ffmpeg does, over the last 5 s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Frames a second of the largest output.
    pub fps: f64,
    /// Media seconds a second; below 1 the machine is too slow.
    pub speed: f64,
    /// Media made so far, in milliseconds.
    pub out_time_ms: u64,
}

#[derive(Clone, Copy)]
struct Report {
    at: Instant,
    frames: u64,
    out_time_us: u64,
}

/// Puts ffmpeg's reports together.
pub(super) struct ProgressReader {
    line: Vec<u8>,
    frames: u64,
    out_time_us: u64,
    reports: VecDeque<Report>,
}

impl ProgressReader {
    pub(super) fn new(started: Instant) -> Self {
        let first = Report {
            at: started,
            frames: 0,
            out_time_us: 0,
        };
        Self {
            line: Vec::new(),
            frames: 0,
            out_time_us: 0,
            reports: VecDeque::from([first]),
        }
    }

    /// Reads the pipe to its end.
    pub(super) async fn follow(
        mut self,
        mut pipe: impl AsyncRead + Unpin,
        progress: watch::Sender<Progress>,
    ) {
        let mut buffer = [0_u8; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
            if let Some(latest) = self.push(&buffer[..read], Instant::now()) {
                progress.send_replace(latest);
            }
        }
    }

    /// The figures after the last complete report in `bytes`, if there was one.
    fn push(&mut self, bytes: &[u8], now: Instant) -> Option<Progress> {
        let mut latest = None;
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    latest = self.line(&String::from_utf8_lossy(&line), now).or(latest);
                }
                _ if self.line.len() < LINE_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
        latest
    }

    fn line(&mut self, line: &str, now: Instant) -> Option<Progress> {
        let (key, value) = line.split_once('=')?;
        let value = value.trim();
        match key {
            "frame" => self.frames = value.parse().unwrap_or(self.frames),
            // N/A until the first packet, and below zero for a moment after it.
            "out_time_us" => self.out_time_us = value.parse().unwrap_or(self.out_time_us),
            "progress" => return Some(self.report(now)),
            _ => {}
        }
        None
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "frames and microseconds of a few seconds are far below 2^52"
    )]
    fn report(&mut self, now: Instant) -> Progress {
        let report = Report {
            at: now,
            frames: self.frames,
            out_time_us: self.out_time_us,
        };
        let since = self.reports.front().copied().unwrap_or(report);
        if self.reports.len() == WINDOW {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
        let seconds = (report.at - since.at).as_secs_f64().max(0.001);
        Progress {
            fps: report.frames.saturating_sub(since.frames) as f64 / seconds,
            speed: report.out_time_us.saturating_sub(since.out_time_us) as f64 / 1e6 / seconds,
            out_time_ms: report.out_time_us / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_are_those_of_the_last_reports_and_not_of_the_whole_run() {
        let started = Instant::now();
        let mut reader = ProgressReader::new(started);
        let mut latest = Progress::default();
        for second in 1..=20_u64 {
            // Real time at first, then half of it.
            let media = second.min(10) * 2 + second.saturating_sub(10);
            let text = format!(
                "frame={}\nfps=30.0\nout_time_us={}\nspeed=1x\nprogress=continue\n",
                media * 15,
                media * 500_000,
            );
            let now = started + Duration::from_secs(second);
            if let Some(progress) = reader.push(text.as_bytes(), now) {
                latest = progress;
            }
        }
        assert!((latest.fps - 15.0).abs() < 0.01, "{latest:?}");
        assert!((latest.speed - 0.5).abs() < 0.01, "{latest:?}");
        assert_eq!(latest.out_time_ms, 15_000);
    }

    #[test]
    fn a_report_may_come_in_pieces_and_begin_without_a_time() {
        let started = Instant::now();
        let mut reader = ProgressReader::new(started);
        let now = started + Duration::from_secs(1);
        assert_eq!(reader.push(b"frame=30\nout_time_us=N/A\nprog", now), None);
        let progress = reader.push(b"ress=continue\n", now);
        assert_eq!(
            progress,
            Some(Progress {
                fps: 30.0,
                speed: 0.0,
                out_time_ms: 0
            })
        );
    }
}
