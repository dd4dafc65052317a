//! Small meters of the inspector: sound, rate and GOP.

use super::SECOND;
use crate::source::copy_rule::{GOP_TOLERANCE, MAX_GOP};
use crate::source::timeline::LARGEST_STEP;

/// Audio that does not come for so long has stopped.
const STOPPED: i64 = SECOND;
/// Sound that was away for so long is kept from an ffmpeg that had heard it, which would soon take
/// its step for a jump of the clock.
const LOST: i64 = LARGEST_STEP - 5 * SECOND;

/// Follows the audio track: whether it comes, and its own clock.
#[derive(Default)]
pub(super) struct Sound {
    /// Its clock without jumps.
    time: Option<i64>,
    last_pts: i64,
    /// How far its clock went with the last of it.
    step: i64,
    /// Video time when the last of it came.
    heard_at: Option<i64>,
    /// There was some since the last beginning.
    in_run: bool,
    pub(super) present: bool,
}

/// What changed about the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SoundChange {
    Started,
    /// After a time that ffmpeg does not bear.
    ReturnedLate,
    Stopped,
}

impl Sound {
    /// Audio came while the video's clock stood at `video`.
    pub(super) fn heard(&mut self, pts: Option<i64>, video: Option<i64>) -> Option<SoundChange> {
        if let Some(pts) = pts {
            let step = pts - self.last_pts;
            let goes_on = self.time.is_some() && (0..LARGEST_STEP).contains(&step);
            self.step = if goes_on { step } else { 0 };
            self.time = Some(self.time.unwrap_or(pts) + self.step);
            self.last_pts = pts;
        }
        let away = match (video, std::mem::replace(&mut self.heard_at, video)) {
            (Some(video), Some(heard_at)) => video - heard_at,
            _ => 0,
        };
        let before = std::mem::replace(&mut self.in_run, true);
        if std::mem::replace(&mut self.present, true) {
            None
        } else if before && away > LOST {
            Some(SoundChange::ReturnedLate)
        } else {
            Some(SoundChange::Started)
        }
    }

    /// A new head begins: nothing of it has been heard.
    pub(super) fn begin(&mut self) {
        self.in_run = false;
        self.present = false;
        self.heard_at = None;
    }

    /// The video's clock went on by `step` to `video`.
    pub(super) fn video_at(&mut self, video: i64, step: i64) -> Option<SoundChange> {
        let since = self.heard_at.get_or_insert(video);
        if step > STOPPED / 2 {
            // Frames far apart, or media missing: sound has not had its turn.
            *since += step;
        }
        if self.present && video - *since > STOPPED {
            self.present = false;
            return Some(SoundChange::Stopped);
        }
        None
    }

    pub(super) fn time(&self) -> Option<i64> {
        self.time
    }

    /// A step of its clock in which nothing else has had its turn: the sound itself was away.
    pub(super) fn leap(&self) -> i64 {
        if self.step > STOPPED / 2 {
            self.step
        } else {
            0
        }
    }
}

/// Bits a second over the last second of media.
#[derive(Default)]
pub(super) struct Rate {
    since: Option<i64>,
    bytes: u64,
    bps: u64,
}

impl Rate {
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn at(&mut self, time: i64) {
        let since = *self.since.get_or_insert(time);
        let ticks = time - since;
        if !(0..SECOND).contains(&ticks) {
            if let Ok(ticks @ 1..) = u64::try_from(ticks) {
                self.bps = self.bytes * 8 * SECOND.unsigned_abs() / ticks;
            }
            self.since = Some(time);
            self.bytes = 0;
        }
    }

    pub(super) fn bps(&self) -> u64 {
        self.bps
    }
}

/// The group of pictures that is coming in.
pub(super) struct Gop {
    began: i64,
    pub(super) holes: i64,
    pub(super) bytes: u64,
    overdue: bool,
}

impl Gop {
    pub(super) fn new(began: i64) -> Self {
        Self {
            began,
            holes: 0,
            bytes: 0,
            overdue: false,
        }
    }

    /// Its length if it ends at `shown`, without what is missing in it.
    pub(super) fn length(&self, shown: i64) -> i64 {
        shown - self.began - self.holes
    }

    /// True once, when a frame is decoded after the next keyframe was due.
    pub(super) fn falls_due(&mut self, decoded: i64) -> bool {
        let late = self.length(decoded) > MAX_GOP + GOP_TOLERANCE;
        late && !std::mem::replace(&mut self.overdue, true)
    }
}

#[cfg(test)]
mod tests {
    use super::SoundChange::{Started, Stopped};
    use super::*;

    #[test]
    fn sound_that_stops_and_returns_is_told_once_each() {
        let mut sound = Sound::default();
        let mut told = Vec::new();
        for frame in 0..300 {
            let video = frame * 3000;
            told.extend(sound.video_at(video, 3000));
            if !(60..120).contains(&frame) {
                told.extend(sound.heard(Some(video), Some(video)));
            }
        }
        assert_eq!(told, [Started, Stopped, Started]);
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut rate = Rate::default();
        for frame in 0..=90 {
            rate.at(frame * 3000);
            rate.add(if frame < 30 { 1000 } else { 25_000 });
        }
        assert_eq!(rate.bps(), 25_000 * 30 * 8);
    }
}
