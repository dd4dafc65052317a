//! How long a frame lasts, measured from the stream itself.

/// Steps between frames that are remembered: two seconds at 30 frames a second.
const MEMORY: usize = 60;
/// A step above this is a jump and not a slow frame rate; so is any step back.
const LONGEST_STEP: i64 = 10 * 90_000;
const TICKS: f64 = 90_000.0;
const USUAL_RATES: [f64; 12] = [
    10.0, 12.0, 12.5, 15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0,
];

/// Watches decoding times, which rise from frame to frame whatever order they are shown in.
#[derive(Default)]
pub(super) struct FrameClock {
    last: Option<i64>,
    steps: Vec<i64>,
    oldest: usize,
    frame: i64,
    since_measured: usize,
}

impl FrameClock {
    /// Takes the next frame's decoding time. True if time jumped.
    pub fn jumped_at(&mut self, dts: i64) -> bool {
        let Some(last) = self.last.replace(dts) else {
            return false;
        };
        let step = dts.wrapping_sub(last);
        if step > 0 && step <= LONGEST_STEP {
            self.remember(step);
        }
        !(0..=LONGEST_STEP).contains(&step)
    }

    /// The usual time of a frame in 90 kHz ticks; 0 before it is known.
    pub fn frame(&self) -> i64 {
        self.frame
    }

    /// Frames a second.
    pub fn rate(&self) -> Option<f64> {
        let median = self.median()?;
        let near = |step: &&i64| **step * 2 > median && **step * 2 < median * 3;
        let (count, sum) =
            self.steps
                .iter()
                .filter(near)
                .fold((0u32, 0u32), |(count, sum), &step| {
                    (
                        count + 1,
                        sum.saturating_add(u32::try_from(step).unwrap_or(u32::MAX)),
                    )
                });
        (sum > 0).then(|| rounded(f64::from(count) * TICKS / f64::from(sum)))
    }

    fn remember(&mut self, step: i64) {
        if self.steps.len() < MEMORY {
            self.steps.push(step);
        } else {
            self.steps[self.oldest] = step;
            self.oldest = (self.oldest + 1) % MEMORY;
        }
        self.since_measured += 1;
        // Sorting at each frame would cost more than all else that is done for it.
        if self.frame == 0 || self.since_measured >= 15 {
            self.since_measured = 0;
            self.frame = self.median().unwrap_or_default();
        }
    }

    fn median(&self) -> Option<i64> {
        let mut sorted = self.steps.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// A usual rate if the measure is one but for the millisecond clocks of some encoders.
fn rounded(rate: f64) -> f64 {
    USUAL_RATES
        .into_iter()
        .find(|usual| (rate - usual).abs() < usual * 0.000_45)
        .unwrap_or_else(|| (rate * 1000.0).round() / 1000.0)
}
