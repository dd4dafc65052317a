//! How long the next GOP may be, by the last ones: what decides whether a segment is cut here or
//! one GOP later.

/// GOPs that are looked back at. An encoder that sets keyframes at scene cuts has short ones between
/// its regular ones, and the next may well be a regular one again.
const LOOK_BACK: usize = 8;

/// The last GOPs of one source.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecentGops {
    lengths: [i64; LOOK_BACK],
    next: usize,
}

impl RecentGops {
    /// A GOP ended; its length in 90 kHz ticks.
    pub fn ended(&mut self, length: i64) {
        self.lengths[self.next] = length.max(0);
        self.next = (self.next + 1) % LOOK_BACK;
    }

    /// Whether a segment of `elapsed` ticks, ended by a keyframe, must be cut there because one
    /// more GOP could make it longer than `max_segment`.
    pub fn must_cut(&self, elapsed: i64, max_segment: i64) -> bool {
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        elapsed.saturating_add(longest) > max_segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 90_000;
    const MAX: i64 = 216_000;

    #[test]
    fn a_short_gop_at_a_scene_cut_does_not_let_a_segment_grow_past_the_target() {
        let mut gops = RecentGops::default();
        gops.ended(2 * SECOND);
        gops.ended(SECOND * 9 / 10);
        assert!(
            gops.must_cut(SECOND * 9 / 10, MAX),
            "the next GOP may last 2 s again"
        );
    }

    #[test]
    fn regular_gops_fill_the_target() {
        let mut gops = RecentGops::default();
        for _ in 0..20 {
            gops.ended(SECOND / 2);
        }
        assert!(!gops.must_cut(SECOND * 3 / 2, MAX));
        assert!(gops.must_cut(2 * SECOND, MAX));
    }
}
