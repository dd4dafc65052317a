//! How long a beginning is looked for.

use super::SECOND;
use crate::source::event::SourceError;

/// Only garbage so far: no packet among so many bytes.
const MAX_GARBAGE: u64 = 1 << 20;
/// Packets, but no program among so many bytes.
const MAX_WITHOUT_PROGRAM: u64 = 4 << 20;
/// A program, but nowhere to begin among so many bytes.
const MAX_WITHOUT_START: u64 = 64 << 20;
/// The same in time.
const MAX_TIME_WITHOUT_START: i64 = 20 * SECOND;

/// What came before a beginning was found.
#[derive(Default)]
pub(super) struct Search {
    bytes: u64,
    packets: u64,
    since: Option<i64>,
}

impl Search {
    /// Another beginning is looked for.
    pub(super) fn restart(&mut self) {
        self.bytes = 0;
        self.since = None;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn saw_packet(&mut self) {
        self.packets += 1;
    }

    pub(super) fn clock(&mut self, now: i64) {
        self.since.get_or_insert(now);
    }

    /// Whether it is worth going on.
    pub(super) fn goes_on(&self, has_program: bool, now: Option<i64>) -> Result<(), SourceError> {
        if self.packets == 0 && self.bytes > MAX_GARBAGE {
            return Err(SourceError::NotTransportStream);
        }
        if !has_program && self.bytes > MAX_WITHOUT_PROGRAM {
            return Err(SourceError::NoProgram);
        }
        let waited = match (now, self.since) {
            (Some(now), Some(since)) => now - since,
            _ => 0,
        };
        if self.bytes > MAX_WITHOUT_START || waited > MAX_TIME_WITHOUT_START {
            return Err(SourceError::NoKeyframe);
        }
        Ok(())
    }
}
