//! Which renditions a broadcast has, and what ffmpeg has to do for each of them.
//!
//! Pure rules, so that they can be tested for every size a camera can send. A [`Ladder`] is fixed
//! when a broadcast begins and holds for its life; an [`EncodePlan`] fills that ladder from whatever
//! the present publisher sends, and is made anew for each ffmpeg run:
//!
//! ```text
//! first publisher:      Ladder::for_source(&source) ─┐
//! returning publisher:  Ladder::from_names(…)       ─┴─▶ EncodePlan::new(&ladder, &source, top)
//! ```
//!
//! Rungs go by the short side of the picture, as viewers name them: a portrait 1080 × 1920 is
//! "1080p". The source belongs to the smallest rung that is not below its short side and is never
//! scaled up; what is above 1080 is scaled down to the 1080p rung.

use marquee_hls::Rung;

use crate::source::Source;

mod plan;

pub use plan::{EncodePlan, Keyframes, Output, OutputVideo, Picture, Sound, Thumbnail, TopRung};
pub(crate) use plan::{buffer_kbit, max_rate_kbps};

/// The video rungs, highest first.
pub const VIDEO_RUNGS: [Rung; 4] = [Rung::P1080, Rung::P720, Rung::P480, Rung::P360];

/// Bit rate of each audio track that is made, in kbit/s.
pub const AUDIO_KBPS: u32 = 128;

/// The renditions of a broadcast, highest first. Fixed for the broadcast's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    rungs: Vec<Rung>,
    audio: bool,
}

/// Why there is no ladder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LadderError {
    /// The source has neither a picture nor sound that ffmpeg can decode.
    #[error("the source has neither video nor audio that can be decoded")]
    NothingToShow,
    /// A broadcast of sound alone goes on with a source that has none.
    #[error("the broadcast is audio only and the source has no audio")]
    NoAudio,
    /// A stored ladder names a rung that does not exist, none at all, or mixes video and `audio`.
    #[error("not a ladder: {0:?}")]
    BadNames(Vec<String>),
}

impl Ladder {
    /// The ladder of a broadcast that begins with this source.
    pub fn for_source(source: &Source) -> Result<Self, LadderError> {
        let audio = source.audio.is_some() || source.audio_announced;
        match &source.video {
            Some(video) => {
                let top = rung_of(video.width.min(video.height));
                let rungs = VIDEO_RUNGS
                    .into_iter()
                    .skip_while(|rung| *rung != top)
                    .collect();
                Ok(Self { rungs, audio })
            }
            None if source.audio.is_some() => Ok(Self {
                rungs: vec![Rung::Audio],
                audio: true,
            }),
            None => Err(LadderError::NothingToShow),
        }
    }

    /// The ladder a broadcast began with, as the stream service keeps it.
    pub fn from_names<S: AsRef<str>>(names: &[S], audio: bool) -> Result<Self, LadderError> {
        let bad = || LadderError::BadNames(names.iter().map(|n| n.as_ref().to_owned()).collect());
        let mut rungs = names
            .iter()
            .map(|name| name.as_ref().parse::<Rung>().map_err(|_| bad()))
            .collect::<Result<Vec<_>, _>>()?;
        rungs.sort_unstable();
        rungs.dedup();
        let audio_only = rungs == [Rung::Audio];
        if rungs.is_empty() || (rungs.contains(&Rung::Audio) && !audio_only) {
            return Err(bad());
        }
        Ok(Self {
            rungs,
            audio: audio || audio_only,
        })
    }

    /// The rungs, highest first; `[Rung::Audio]` when there is no video.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// Their names, highest first: `available_qualities`.
    pub fn names(&self) -> Vec<String> {
        self.rungs.iter().map(ToString::to_string).collect()
    }

    /// Whether the broadcast has sound, be it silence while the source has none.
    pub fn audio(&self) -> bool {
        self.audio
    }

    /// Whether it is a broadcast of sound alone.
    pub fn is_audio_only(&self) -> bool {
        self.rungs == [Rung::Audio]
    }

    /// The rung whose keyframes decide where all rungs are cut: the highest.
    pub fn leader(&self) -> Rung {
        self.rungs[0]
    }
}

/// The rung a picture with this short side belongs to: the smallest that is not below it.
pub fn rung_of(short_side: u32) -> Rung {
    VIDEO_RUNGS
        .into_iter()
        .rev()
        .find(|rung| short_side_of(*rung) >= short_side)
        .unwrap_or(Rung::P1080)
}

/// The short side a rung's picture has when it is scaled to it; 0 for the audio rung.
pub fn short_side_of(rung: Rung) -> u32 {
    match rung {
        Rung::P1080 => 1080,
        Rung::P720 => 720,
        Rung::P480 => 480,
        Rung::P360 => 360,
        Rung::Audio => 0,
    }
}

/// The bit rate a rung's video is encoded at, in kbit/s; 0 for the audio rung.
pub fn video_kbps(rung: Rung) -> u32 {
    match rung {
        Rung::P1080 => 5000,
        Rung::P720 => 2800,
        Rung::P480 => 1400,
        Rung::P360 => 800,
        Rung::Audio => 0,
    }
}

/// The size of a picture on a rung: as it is when the rung is not below it, else scaled so that the
/// short side is the rung's. Both sides even, as 4:2:0 needs; never larger than the picture.
fn size_on(rung: Rung, width: u32, height: u32) -> (u32, u32) {
    let (short, target) = (width.min(height), short_side_of(rung));
    if short <= target {
        return (even_floor(width), even_floor(height));
    }
    let scale = |side: u32| {
        let scaled = u64::from(side) * u64::from(target);
        // To the nearest even number.
        let halves = (scaled + u64::from(short)) / (2 * u64::from(short));
        u32::try_from(halves * 2).unwrap_or(u32::MAX - 1).max(2)
    };
    (scale(width), scale(height))
}

/// The size of a picture whose longer side is at most `side`; never larger than the picture.
fn fit(width: u32, height: u32, side: u32) -> (u32, u32) {
    let long = width.max(height);
    if long <= side {
        return (even_floor(width), even_floor(height));
    }
    let scale = |length: u32| {
        let scaled = u64::from(length) * u64::from(side) / u64::from(long);
        even_floor(u32::try_from(scaled).unwrap_or(side))
    };
    (scale(width), scale(height))
}

fn even_floor(side: u32) -> u32 {
    (side & !1).max(2)
}

#[cfg(test)]
mod tests;
