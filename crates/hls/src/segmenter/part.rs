//! How long the parts of a segment are: RFC 8216bis sections 4.4.3.7 and 4.4.4.9 allow none above
//! the target, and none below 85 % of it but those that hold a keyframe, are missing, or end their
//! segment.

/// About what a part lasts: the edge of a live is a few of them behind the camera.
const ABOUT_S: f64 = 0.2;
/// A source whose frame rate is not known, or mad, is cut as one of this.
const USUAL_RATE: f64 = 30.0;
/// Rates that are believed.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=240.0;
const TICKS_A_MS: u32 = 90;
/// Least length of an ordinary part, in hundredths of the target.
const LEAST_PERCENT: i64 = 85;

/// `PART-TARGET`: what a part lasts at most. It is fixed for a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartTarget {
    ms: u32,
}

impl Default for PartTarget {
    fn default() -> Self {
        Self::for_frame_rate(USUAL_RATE)
    }
}

impl PartTarget {
    /// As many whole frames as come closest to 0.2 s, rounded up to 1 ms. Measured rates within one
    /// per cent of a usual one are taken for it: encoders' millisecond clocks make 30.3 of 30.
    pub fn for_frame_rate(measured: f64) -> Self {
        const USUAL: [f64; 9] = [15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0];
        let believed = if RATES.contains(&measured) {
            measured
        } else {
            USUAL_RATE
        };
        let distance = |usual: f64| (usual - believed).abs() / usual;
        let rate = USUAL
            .into_iter()
            .min_by(|one, other| distance(*one).total_cmp(&distance(*other)))
            .filter(|usual| distance(*usual) < 0.012)
            .unwrap_or(believed);
        let frames = (ABOUT_S * rate).round().max(1.0);
        // A hair off, so that 0.2 s is not rounded up to 201 ms.
        let ms = (frames * 1000.0 / rate - 1e-6).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most a frame of the slowest rate: a second"
        )]
        Self { ms: ms as u32 }
    }

    /// In ms.
    pub fn ms(self) -> u32 {
        self.ms
    }

    /// In 90 kHz ticks.
    pub fn ticks(self) -> i64 {
        i64::from(self.ms * TICKS_A_MS)
    }

    /// Whether a part of so many ticks ends before a frame that lasts `frame`: with it, it would be
    /// too long. A quarter of a frame is no reason: clocks are rounded.
    pub(super) fn is_full(self, elapsed: i64, frame: i64) -> bool {
        elapsed.saturating_add(frame) > self.ticks().saturating_add(frame / 4)
    }

    /// What is announced of a part that lasts `ticks`: what it lasts, but for sources whose frames
    /// come unevenly, where it is brought into the bounds. The segment's own duration stays true.
    pub(super) fn announced(self, ticks: i64, may_be_short: bool) -> i64 {
        let target = self.ticks();
        let least = if may_be_short {
            1
        } else {
            (target * LEAST_PERCENT + 99) / 100
        };
        ticks.clamp(least, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_a_whole_number_of_frames_near_a_fifth_of_a_second() {
        for (rate, ms) in [
            (23.976, 209),
            (24.0, 209),
            (25.0, 200),
            (29.97, 201),
            (30.0, 200),
            (30.303, 200),
            (50.0, 200),
            (59.94, 201),
            (60.0, 200),
            (10.0, 200),
            (1.0, 1000),
            // Frames of AAC at 48 kHz.
            (46.875, 192),
            (0.0, 200),
            (f64::NAN, 200),
            (90_000.0, 200),
        ] {
            assert_eq!(PartTarget::for_frame_rate(rate).ms(), ms, "{rate}");
        }
    }
}
