//! What the inspector tells of a source.

use bytes::Bytes;

/// What a `SourceInspector` saw.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceEvent {
    /// Packets for ffmpeg: whole ones, from the first keyframe on. Those that follow a
    /// [`SourceEvent::Keyframe`] begin with it, with the tables in front.
    Media(Bytes),
    /// A keyframe begins with the next media.
    Keyframe(Keyframe),
    /// The head is long enough for the probe. Once after each beginning.
    HeadReady,
    /// The inspector begins anew: what follows does not continue what was before it.
    NewHead(NewHeadReason),
    /// 2.4 s have passed since the last keyframe; once a GOP. Missing media does not count.
    GopOverdue,
    /// Audio came of which nothing was in the head, or which had stopped.
    AudioStarted,
    /// There has been no audio for a second of video.
    AudioStopped,
    /// A keyframe came although the head was one of sound alone.
    VideoStarted,
    /// There has been no video for three seconds of audio.
    VideoStopped,
    /// The publisher's clock was set by so much; ffmpeg takes it out, nothing needs to be done.
    ClockJump {
        /// Milliseconds, negative when it was set back.
        by_ms: i64,
    },
    /// There was no picture for so long. Where media is missing (a second or more, of the sound as
    /// well), a new head follows with the next keyframe and what comes before that is dropped.
    Hole {
        /// Milliseconds.
        ms: i64,
    },
}

/// A keyframe of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyframe {
    /// Its PTS on a clock without jumps, in 90 kHz ticks.
    pub time: i64,
    /// Length of the GOP it ends, missing media not counted; `None` for the first.
    pub gop: Option<i64>,
    /// Nothing after it refers to anything before it (an IDR frame).
    pub closed: bool,
    /// It came with its parameter sets: a decoder can begin here.
    pub can_begin: bool,
    /// Bytes of video since the last keyframe, transport headers included.
    pub video_bytes: u64,
}

/// Why a new head began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewHeadReason {
    /// `SourceInspector::begin_new_head` was called.
    Asked,
    /// The source's picture is another one (size, codec, parameters) from here on.
    FormatChanged,
    /// A second of media or more is missing before it.
    MediaMissing,
    /// Sound is back that was away for so long that a running ffmpeg would take its time for wrong.
    SoundReturned,
}

/// Why a source is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It is not MPEG-TS.
    #[error("not an MPEG transport stream")]
    NotTransportStream,
    /// It never said what is in it.
    #[error("the transport stream has no program")]
    NoProgram,
    /// Nothing in it can be decoded from where we came in.
    #[error("no keyframe with its parameter sets, and no audio alone")]
    NoKeyframe,
}

/// Figures of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Bits a second over the last second of media.
    pub bitrate_bps: u64,
    /// Distance of the last two keyframes; 0 before the second.
    pub keyframe_interval_ms: u64,
    /// Whether video comes.
    pub has_video: bool,
    /// Whether audio comes.
    pub has_audio: bool,
    /// How often the packets had to be found again after something else.
    pub resyncs: u64,
}
