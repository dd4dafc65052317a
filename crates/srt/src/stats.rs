//! A connection's figures.

use crate::sys::Counters;

/// How a connection does, counted from its start. After its end: as last read, at most a second
/// before.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// Round-trip time, smoothed, ms. libsrt starts at 100.
    pub rtt_ms: f64,
    /// How long packets are held before they are given out, as agreed with the publisher, ms.
    pub latency_ms: u64,
    /// What waits to be given out, ms of media. Well above `latency_ms`: the reader lags.
    pub buffered_ms: u64,
    /// Packets that came, repeated ones once.
    pub packets_received: u64,
    /// Packets that were missing at first; most come when repeated.
    pub packets_lost: u64,
    /// Repeated packets that came.
    pub packets_retransmitted: u64,
    /// Packets given up: they never came in time, or found no room. Holes in the media.
    pub packets_dropped: u64,
    /// Packets that could not be decrypted.
    pub packets_undecrypted: u64,
    /// Bytes of payload that came, repeated ones once.
    pub bytes_received: u64,
}

/// libsrt counts bytes as they are on the wire: with the headers of IPv4, UDP and SRT.
const HEADERS: u64 = 20 + 8 + 16;

impl Stats {
    pub(crate) fn new(counters: &Counters, latency_ms: u64) -> Self {
        Self {
            rtt_ms: counters.rtt_ms,
            latency_ms,
            buffered_ms: counters.buffered_ms,
            packets_received: counters.received,
            packets_lost: counters.lost,
            packets_retransmitted: counters.retransmitted,
            packets_dropped: counters.dropped,
            packets_undecrypted: counters.undecrypted,
            bytes_received: counters.bytes.saturating_sub(HEADERS * counters.received),
        }
    }
}
