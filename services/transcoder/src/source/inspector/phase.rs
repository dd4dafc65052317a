//! How far the beginning of a source has come.

use super::SECOND;

/// Bytes ffprobe needs to see both tracks of a fast source; a slow one is given half a second.
const HEAD_BYTES: usize = 256 * 1024;
const HEAD_TIME: i64 = SECOND / 2;
/// Audio that is listed is waited for so long before the head is said to be ready.
const AUDIO_PATIENCE: i64 = SECOND;

#[derive(Default)]
pub(super) enum Phase {
    /// Looking for where to begin.
    #[default]
    Seeking,
    /// Until the head is long enough.
    Head {
        began: Option<i64>,
        bytes: usize,
        with_video: bool,
    },
    /// After it.
    Flowing { with_video: bool },
}

impl Phase {
    pub(super) fn head(with_video: bool, began: Option<i64>) -> Self {
        Self::Head {
            began,
            bytes: 0,
            with_video,
        }
    }

    /// Whether packets are handed out.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::Seeking)
    }

    pub(super) fn is_flowing(&self) -> bool {
        matches!(self, Self::Flowing { .. })
    }

    /// Whether it began with a keyframe rather than with sound alone.
    pub(super) fn with_video(&self) -> bool {
        match self {
            Self::Seeking => false,
            Self::Head { with_video, .. } | Self::Flowing { with_video } => *with_video,
        }
    }

    pub(super) fn took(&mut self, more: usize) {
        if let Self::Head { bytes, .. } = self {
            *bytes += more;
        }
    }

    /// True once: when the head is long enough at this time of the source's clock.
    pub(super) fn becomes_ready(&mut self, now: i64, audio_due: bool) -> bool {
        let Self::Head {
            began,
            bytes,
            with_video,
        } = self
        else {
            return false;
        };
        let length = now - *began.get_or_insert(now);
        let long_enough = *bytes >= HEAD_BYTES || length >= HEAD_TIME;
        if !long_enough || (audio_due && length < AUDIO_PATIENCE) {
            return false;
        }
        *self = Self::Flowing {
            with_video: *with_video,
        };
        true
    }
}
