//! The source's clock, as ffmpeg puts it in order.

/// Ticks of the 90 kHz clock a second.
pub(super) const SECOND: i64 = 90_000;
/// A step further than this is a jump, and ffmpeg takes it out (`-dts_delta_threshold`). It judges
/// each track by itself: sound that was away for longer is taken for a jump of the clock, and never
/// finds back to its picture. So not ffmpeg's own 10 s.
pub(crate) const LARGEST_STEP_SECONDS: i64 = 60;
pub(super) const LARGEST_STEP: i64 = LARGEST_STEP_SECONDS * SECOND;
/// It takes a step back of more than this for a jump too.
const LARGEST_STEP_BACK: i64 = SECOND / 10;
/// Frames further apart than this, and than four times the usual, have a hole between them.
const SMALLEST_HOLE: i64 = SECOND / 2;

/// Turns the times of the video (wraps undone) into one clock that only goes on.
#[derive(Default)]
pub(super) struct Timeline {
    last: Option<Last>,
}

struct Last {
    /// DTS as it came.
    dts: i64,
    /// The same on our clock.
    time: i64,
    /// Distance to the one before.
    step: i64,
}

/// A frame on the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameTime {
    /// DTS.
    pub(super) decoded: i64,
    /// PTS.
    pub(super) shown: i64,
    /// Time since the frame before, on the clock.
    pub(super) step: i64,
    /// What the source's own clock did, when it was no ordinary step.
    pub(super) irregular: Option<Irregular>,
}

/// How the source's clock went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Irregular {
    /// Media is missing: the step is on the clock as well.
    Hole,
    /// The clock was set by so many ticks: taken out, the step is an ordinary one.
    Jump(i64),
}

impl Timeline {
    pub(super) fn frame(&mut self, pts: i64, dts: i64) -> FrameTime {
        let Some(last) = &self.last else {
            self.last = Some(Last {
                dts,
                time: dts,
                step: 0,
            });
            return FrameTime {
                decoded: dts,
                shown: pts,
                step: 0,
                irregular: None,
            };
        };
        let came = dts - last.dts;
        let usual = if last.step > 0 { last.step } else { 3000 };
        let (step, irregular) = if !(-LARGEST_STEP_BACK..=LARGEST_STEP).contains(&came) {
            (usual, Some(Irregular::Jump(came)))
        } else if came > SMALLEST_HOLE.max(4 * usual) {
            (came, Some(Irregular::Hole))
        } else {
            (came.max(0), None)
        };
        let time = last.time + step;
        // A source of few frames looks like holes until its pace is known.
        let remembered = match irregular {
            Some(Irregular::Hole) => 4 * usual,
            _ => step,
        };
        self.last = Some(Last {
            dts,
            time,
            step: remembered,
        });
        FrameTime {
            decoded: time,
            shown: time + pts - dts,
            step,
            irregular,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(dts: &[i64]) -> Vec<(i64, Option<Irregular>)> {
        let mut timeline = Timeline::default();
        dts.iter()
            .map(|dts| {
                let frame = timeline.frame(*dts, *dts);
                (frame.step, frame.irregular)
            })
            .skip(1)
            .collect()
    }

    #[test]
    fn a_set_clock_is_put_right_and_told() {
        let back = steps(&[0, 3000, -900_000, -897_000]);
        assert_eq!(back[1], (3000, Some(Irregular::Jump(-903_000))));
        assert_eq!(back[2], (3000, None));
        let ahead = steps(&[0, 3000, 90_000_000]);
        assert_eq!(ahead[1], (3000, Some(Irregular::Jump(89_997_000))));
    }

    #[test]
    fn missing_media_is_a_hole_but_a_slow_source_is_not() {
        assert_eq!(
            steps(&[0, 3000, 3000 + 5 * SECOND])[1],
            (5 * SECOND, Some(Irregular::Hole))
        );
        let slow: Vec<i64> = (0..20).map(|frame| frame * 2 * SECOND).collect();
        assert!(steps(&slow)[4..].iter().all(|step| step.1.is_none()));
    }
}
