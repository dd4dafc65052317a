//! The renditions a stream can have.

use std::{fmt, str::FromStr};

/// A rendition, highest first. Its name is its folder, and what viewers read in the quality menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// Short side up to 1080.
    P1080,
    /// Short side up to 720.
    P720,
    /// Short side up to 480.
    P480,
    /// Short side up to 360.
    P360,
    /// Sound alone.
    Audio,
}

/// The text names no rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a rung: expected 1080p, 720p, 480p, 360p or audio")]
pub struct UnknownRung;

impl Rung {
    /// All of them, highest first.
    pub const ALL: [Self; 5] = [Self::P1080, Self::P720, Self::P480, Self::P360, Self::Audio];

    /// `1080p`, `720p`, `480p`, `360p` or `audio`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P1080 => "1080p",
            Self::P720 => "720p",
            Self::P480 => "480p",
            Self::P360 => "360p",
            Self::Audio => "audio",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rung {
    type Err = UnknownRung;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "1080p" => Ok(Self::P1080),
            "720p" => Ok(Self::P720),
            "480p" => Ok(Self::P480),
            "360p" => Ok(Self::P360),
            "audio" => Ok(Self::Audio),
            _ => Err(UnknownRung),
        }
    }
}
