//! What one ffmpeg run makes: the outputs that fill a broadcast's ladder from a given source.

use marquee_hls::Rung;

use super::{AUDIO_KBPS, Ladder, LadderError, fit, rung_of, short_side_of, size_on, video_kbps};
use crate::source::{Source, VideoSource};

/// Peak rate over the average one that the encoder may reach: `-maxrate`.
const MAX_RATE_PERCENT: u32 = 107;
/// What MPEG-TS adds, for BANDWIDTH.
const CONTAINER_PERCENT: u64 = 108;
/// The longer side of the live thumbnail.
const THUMBNAIL_SIDE: u32 = 640;
/// The size of the black picture that stands in for a camera that is off.
const BLACK_SIZE: (u32, u32) = (640, 360);

/// Whether the source's own rung may be passed through.
///
/// [`TopRung::Copied`] is what is wanted; the plan still encodes it where the codec or the size
/// does not allow copying. [`TopRung::Encoded`] is for a source that broke the rule for copying
/// (`source::CopyRule`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopRung {
    /// Pass it through if it can be.
    Copied,
    /// Encode it like the others.
    Encoded,
}

/// Where the picture comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// The publisher.
    Source,
    /// Black, because a broadcast that began with video goes on with a source that has none.
    Black,
    /// There is none: audio only.
    None,
}

/// Where the sound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// The publisher.
    Source,
    /// Silence, because a broadcast that began with sound goes on with a source that has none.
    Silence,
    /// The broadcast has no sound.
    None,
}

/// What decides the keyframes of the encoded rungs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyframes {
    /// The source's: it is what a copied rung has.
    AsSource,
    /// The clock, every 2 s: no rung is copied.
    EveryTwoSeconds,
}

/// The video of an [`Output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputVideo {
    /// Passed through untouched.
    Copied {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Encoded as H.264.
    Encoded {
        /// Width in pixels, even.
        width: u32,
        /// Height in pixels, even.
        height: u32,
        /// Average bit rate in kbit/s.
        kbps: u32,
    },
    /// None: the audio rung.
    None,
}

/// One MPEG-TS pipe of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The rungs its bytes fill, highest first. More than one where the broadcast's ladder reaches
    /// above what this publisher sends: those rungs all carry the same, unscaled picture.
    pub rungs: Vec<Rung>,
    /// Its picture.
    pub video: OutputVideo,
}

/// The live thumbnail, one more output of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
    /// The output whose encoded picture it is made of; `None`: the source's, where nothing is
    /// encoded.
    pub from_output: Option<usize>,
}

/// Everything one ffmpeg run has to make. `encode::Encoder::start` takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodePlan {
    /// The outputs, largest picture first. Each is scaled from the one before it.
    pub outputs: Vec<Output>,
    /// Where the picture comes from.
    pub picture: Picture,
    /// Where the sound comes from.
    pub sound: Sound,
    /// What decides the encoded rungs' keyframes.
    pub keyframes: Keyframes,
    /// The live thumbnail; none while there is no picture of the publisher's.
    pub thumbnail: Option<Thumbnail>,
}

impl EncodePlan {
    /// Fills `ladder` from `source`.
    pub fn new(ladder: &Ladder, source: &Source, top: TopRung) -> Result<Self, LadderError> {
        if source.video.is_none() && source.audio.is_none() {
            return Err(LadderError::NothingToShow);
        }
        let sound = match (ladder.audio(), &source.audio) {
            (false, _) => Sound::None,
            (true, Some(_)) => Sound::Source,
            (true, None) => Sound::Silence,
        };
        if ladder.is_audio_only() {
            if source.audio.is_none() {
                return Err(LadderError::NoAudio);
            }
            return Ok(Self {
                outputs: vec![Output {
                    rungs: vec![Rung::Audio],
                    video: OutputVideo::None,
                }],
                picture: Picture::None,
                sound,
                keyframes: Keyframes::EveryTwoSeconds,
                thumbnail: None,
            });
        }
        let (picture, outputs) = match &source.video {
            Some(video) => (Picture::Source, outputs_from(ladder, video, top)),
            None => (Picture::Black, vec![black_output(ladder)]),
        };
        let thumbnail = source
            .video
            .as_ref()
            .map(|video| thumbnail_of(&outputs, video));
        let mut plan = Self {
            outputs,
            picture,
            sound,
            keyframes: Keyframes::EveryTwoSeconds,
            thumbnail,
        };
        if plan.copies() {
            plan.keyframes = Keyframes::AsSource;
        }
        Ok(plan)
    }

    /// All rungs that are filled, highest first.
    pub fn rungs(&self) -> Vec<Rung> {
        self.outputs
            .iter()
            .flat_map(|output| output.rungs.iter().copied())
            .collect()
    }

    /// The output that fills a rung.
    pub fn output_of(&self, rung: Rung) -> Option<&Output> {
        self.outputs
            .iter()
            .find(|output| output.rungs.contains(&rung))
    }

    /// Whether a rung is the publisher's own picture, passed through.
    pub fn is_copied(&self, rung: Rung) -> bool {
        self.output_of(rung)
            .is_some_and(|output| matches!(output.video, OutputVideo::Copied { .. }))
    }

    /// Whether any rung is.
    pub fn copies(&self) -> bool {
        self.outputs
            .iter()
            .any(|output| matches!(output.video, OutputVideo::Copied { .. }))
    }

    /// Whether the source's own rung is passed through, as long as the source keeps to the rule.
    pub fn is_passed_through(&self) -> bool {
        let is_copied = |output: &Output| matches!(output.video, OutputVideo::Copied { .. });
        self.outputs.iter().any(is_copied)
    }

    /// BANDWIDTH of an encoded rung in bit/s: the encoder's peak rate, audio, and 8 % for the
    /// container. `None` for a copied rung, where only measuring tells, and for one not filled.
    pub fn nominal_bandwidth_bps(&self, rung: Rung) -> Option<u64> {
        let video_kbps = match self.output_of(rung)?.video {
            OutputVideo::Copied { .. } => return None,
            OutputVideo::Encoded { kbps, .. } => max_rate_kbps(kbps),
            OutputVideo::None => 0,
        };
        let audio_kbps = match self.sound {
            Sound::None => 0,
            Sound::Source | Sound::Silence => AUDIO_KBPS,
        };
        Some(u64::from(video_kbps + audio_kbps) * 10 * CONTAINER_PERCENT)
    }
}

/// `-maxrate` of an average rate, in kbit/s.
pub(crate) fn max_rate_kbps(kbps: u32) -> u32 {
    kbps * MAX_RATE_PERCENT / 100
}

/// `-bufsize` of an average rate, in kbit: a second and a half, so that a burst cannot starve a
/// viewer whose line is just wide enough.
pub(crate) fn buffer_kbit(kbps: u32) -> u32 {
    kbps * 3 / 2
}

fn outputs_from(ladder: &Ladder, video: &VideoSource, top: TopRung) -> Vec<Output> {
    let short = video.width.min(video.height);
    let own = rung_of(short);
    // The rungs at and above the source's own all carry its picture as it is. There are none when
    // the ladder begins below it, and then the highest is scaled down to.
    let (carriers, smaller): (Vec<Rung>, Vec<Rung>) = ladder
        .rungs()
        .iter()
        .partition(|rung| short_side_of(**rung) >= short_side_of(own));
    let mut outputs = Vec::with_capacity(1 + smaller.len());
    if !carriers.is_empty() {
        let copied =
            top == TopRung::Copied && video.can_be_copied() && short <= short_side_of(Rung::P1080);
        let video = if copied {
            OutputVideo::Copied {
                width: video.width,
                height: video.height,
            }
        } else {
            encoded(own, video)
        };
        outputs.push(Output {
            rungs: carriers,
            video,
        });
    }
    outputs.extend(smaller.into_iter().map(|rung| Output {
        rungs: vec![rung],
        video: encoded(rung, video),
    }));
    outputs
}

fn encoded(rung: Rung, video: &VideoSource) -> OutputVideo {
    let (width, height) = size_on(rung, video.width, video.height);
    OutputVideo::Encoded {
        width,
        height,
        kbps: video_kbps(rung),
    }
}

/// Made of the smallest encoded picture that is large enough, since that is the cheapest to scale.
fn thumbnail_of(outputs: &[Output], video: &VideoSource) -> Thumbnail {
    let encoded = outputs.iter().enumerate().filter_map(|(index, output)| {
        let OutputVideo::Encoded { width, height, .. } = output.video else {
            return None;
        };
        Some((index, width, height))
    });
    let large_enough =
        |(_, width, height): &(usize, u32, u32)| *width.max(height) >= THUMBNAIL_SIDE;
    let from = encoded
        .clone()
        .rfind(large_enough)
        .or_else(|| encoded.clone().next());
    let (width, height) = from.map_or((video.width, video.height), |(_, width, height)| {
        (width, height)
    });
    let (width, height) = fit(width, height, THUMBNAIL_SIDE);
    Thumbnail {
        width,
        height,
        from_output: from.map(|(index, ..)| index),
    }
}

fn black_output(ladder: &Ladder) -> Output {
    Output {
        rungs: ladder.rungs().to_vec(),
        video: OutputVideo::Encoded {
            width: BLACK_SIZE.0,
            height: BLACK_SIZE.1,
            kbps: video_kbps(Rung::P360),
        },
    }
}
