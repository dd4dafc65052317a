//! BANDWIDTH and AVERAGE-BANDWIDTH of the master playlist (RFC 8216 section 4.3.4.2).
//!
//! An encoded rung announces its rate control's maximum with sound and 8 % for the transport
//! stream; a passed-through one announces its highest segment so far × 1.1. A segment above what
//! was announced raises it, so the announced figure is always an upper bound.

/// What is announced of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    announced_bps: u64,
    bytes: u64,
    media_ms: u64,
}

impl Bandwidth {
    /// An encoded rung that announces `max_bps`: its rate control's maximum, sound and 8 %.
    pub fn encoded(max_bps: u64) -> Self {
        Self {
            announced_bps: max_bps,
            bytes: 0,
            media_ms: 0,
        }
    }

    /// A passed-through rung, of which nothing is known before its first segment.
    pub fn passed_through() -> Self {
        Self {
            announced_bps: 0,
            bytes: 0,
            media_ms: 0,
        }
    }

    /// Goes on under another run's rate control without ever announcing less.
    pub fn continued_by(&mut self, next: Self) {
        self.announced_bps = self.announced_bps.max(next.announced_bps);
    }

    /// Counts a segment. Segments below 0.5 s (the last of a run) do not set the peak: a lone
    /// keyframe there would announce a rate that is never asked of the network.
    pub fn segment(&mut self, bytes: u64, duration_ms: u32) {
        if duration_ms == 0 {
            return;
        }
        self.bytes += bytes;
        self.media_ms += u64::from(duration_ms);
        let bps = bytes * 8000 / u64::from(duration_ms);
        if bps > self.announced_bps && (duration_ms >= 500 || self.announced_bps == 0) {
            self.announced_bps = bps * 11 / 10;
        }
    }

    /// BANDWIDTH in bits a second.
    pub fn announced_bps(&self) -> u64 {
        self.announced_bps
    }

    /// AVERAGE-BANDWIDTH in bits a second, rounded to 10 kbit/s so that the master does not change
    /// with each segment.
    pub fn average_bps(&self) -> u64 {
        let average = (self.bytes * 8000).checked_div(self.media_ms).unwrap_or(0);
        average.div_ceil(10_000) * 10_000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_segment_of_half_a_second_or_more_is_above_what_is_announced(
            segments in proptest::collection::vec((1_u64..4_000_000, 500_u32..2500), 1..50),
        ) {
            let mut bandwidth = Bandwidth::passed_through();
            for (bytes, duration_ms) in segments {
                bandwidth.segment(bytes, duration_ms);
                prop_assert!(bytes * 8000 / u64::from(duration_ms) <= bandwidth.announced_bps());
            }
            prop_assert!(bandwidth.average_bps() <= bandwidth.announced_bps() + 10_000);
        }
    }

    #[test]
    fn an_encoded_rung_announces_its_rate_control_whatever_it_averages() {
        let mut bandwidth = Bandwidth::encoded(3_240_000);
        bandwidth.segment(500_000, 2000);
        assert_eq!(bandwidth.announced_bps(), 3_240_000);
        assert_eq!(bandwidth.average_bps(), 2_000_000);
    }
}
