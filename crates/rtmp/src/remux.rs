//! Media messages to MPEG-TS, which is what everything behind the ingest reads.
//!
//! Pure: messages in, whole transport packets out. A stream's tables must say what is in it before
//! its first frame, and RTMP only tells by sending it; so the first messages wait until both tracks
//! were seen, or the metadata said that there is one, or half a second of media is there.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use marquee_hls::ts::{AccessUnit, Muxer, Program, StreamType};

use crate::aac::AudioConfig;
use crate::flv::{AudioTag, MediaError, VideoCodec, VideoTag, audio_tag, video_tag};
use crate::nal::VideoConfig;

/// 90 kHz ticks a millisecond.
const MS: i64 = 90;
/// Added to all times: pictures may be shown before their time of decoding, and none below zero.
const BEGIN: i64 = 1_000 * MS;
/// How much is waited for the other track.
const PATIENCE: i64 = 500 * MS;
const PATIENCE_BYTES: usize = 1 << 20;
/// Time between tables where no keyframe brings them.
const TABLES: i64 = 500 * MS;

/// Tracks that a publisher announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tracks {
    pub(crate) video: bool,
    pub(crate) audio: bool,
}

/// Makes a transport stream of one publication.
#[derive(Debug, Default)]
pub(crate) struct Remuxer {
    clock: Clock,
    video: Option<VideoConfig>,
    audio: Option<AudioConfig>,
    announced: Option<Tracks>,
    /// `None` until it is known what is in the stream.
    muxer: Option<Muxer>,
    waiting: VecDeque<Unit>,
    waiting_bytes: usize,
    tables_at: Option<i64>,
}

#[derive(Debug)]
struct Unit {
    track: Track,
    pts: i64,
    dts: i64,
    random_access: bool,
    data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Track {
    Video,
    Audio,
}

impl Remuxer {
    /// The metadata tells which tracks there are.
    pub(crate) fn announce(&mut self, tracks: Tracks) {
        self.announced = Some(tracks);
    }

    /// The tracks that there is something to decode of.
    pub(crate) fn usable(&self) -> Tracks {
        Tracks {
            video: self.video.is_some(),
            audio: self.audio.is_some(),
        }
    }

    /// Takes a video message; `timestamp` is its time of decoding, 32 bits of milliseconds. Tells
    /// whether there was anything in it. After an error it goes on as if the message had not come.
    pub(crate) fn video(
        &mut self,
        timestamp: u32,
        payload: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, MediaError> {
        match video_tag(payload)? {
            VideoTag::Config(codec, record) => {
                self.video = Some(VideoConfig::read(codec, record)?);
            }
            VideoTag::Frame(frame) => {
                let Some(config) = self.video.as_ref().filter(|it| it.codec == frame.codec) else {
                    // Nothing can be decoded before its parameters are known.
                    return Ok(false);
                };
                let mut data = BytesMut::new();
                let Some(random_access) = config.write(&frame, &mut data)? else {
                    return Ok(false);
                };
                let dts = self.clock.ticks(timestamp);
                let unit = Unit {
                    track: Track::Video,
                    pts: dts + i64::from(frame.composition_ms) * MS,
                    dts,
                    random_access,
                    data: data.freeze(),
                };
                self.take(unit, out);
            }
            VideoTag::Nothing => return Ok(false),
        }
        Ok(true)
    }

    /// Takes an audio message, as [`Remuxer::video`] does its own.
    pub(crate) fn audio(
        &mut self,
        timestamp: u32,
        payload: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, MediaError> {
        match audio_tag(payload)? {
            AudioTag::Config(config) => self.audio = Some(AudioConfig::read(config)?),
            AudioTag::Frame(frame) => {
                let Some(config) = self.audio else {
                    return Ok(false);
                };
                let mut data = BytesMut::new();
                config.write(frame, &mut data)?;
                let time = self.clock.ticks(timestamp);
                let unit = Unit {
                    track: Track::Audio,
                    pts: time,
                    dts: time,
                    random_access: true,
                    data: data.freeze(),
                };
                self.take(unit, out);
            }
            AudioTag::Nothing => return Ok(false),
        }
        Ok(true)
    }

    /// Nothing more comes: writes what still waits.
    pub(crate) fn finish(&mut self, out: &mut BytesMut) {
        if self.muxer.is_none() && !self.waiting.is_empty() {
            self.begin(out);
        }
    }

    fn take(&mut self, unit: Unit, out: &mut BytesMut) {
        if self.muxer.is_some() {
            self.write(&unit, out);
            return;
        }
        // With what keeping it costs: frames may be a few bytes long.
        self.waiting_bytes += unit.data.len() + 2 * size_of::<Unit>();
        self.waiting.push_back(unit);
        if self.knows_its_tracks() {
            self.begin(out);
        }
    }

    fn knows_its_tracks(&self) -> bool {
        let seen = self.usable();
        let long = match (self.waiting.front(), self.waiting.back()) {
            (Some(first), Some(last)) => (last.dts - first.dts).abs() >= PATIENCE,
            _ => false,
        };
        (seen.video && seen.audio)
            || self.announced == Some(seen)
            || long
            || self.waiting_bytes >= PATIENCE_BYTES
    }

    fn begin(&mut self, out: &mut BytesMut) {
        self.muxer = Some(Muxer::new(self.program()));
        self.waiting_bytes = 0;
        for unit in std::mem::take(&mut self.waiting) {
            self.write(&unit, out);
        }
    }

    fn program(&self) -> Program {
        Program {
            video: self.video.as_ref().map(|config| match config.codec {
                VideoCodec::H264 => StreamType::H264,
                VideoCodec::Hevc => StreamType::HEVC,
            }),
            audio: self.audio.map(|_| StreamType::AAC),
        }
    }

    fn write(&mut self, unit: &Unit, out: &mut BytesMut) {
        let program = self.program();
        let Some(muxer) = &mut self.muxer else {
            return;
        };
        let due = self
            .tables_at
            .is_none_or(|at| (unit.dts - at).abs() >= TABLES);
        let keyframe = unit.track == Track::Video && unit.random_access;
        if due || keyframe || muxer.program() != program {
            muxer.set_program(program);
            muxer.tables(out);
            self.tables_at = Some(unit.dts);
        }
        let access = AccessUnit {
            pts: unit.pts,
            dts: unit.dts,
            random_access: unit.random_access,
            data: &unit.data,
        };
        match unit.track {
            Track::Video => muxer.video(&access, out),
            Track::Audio => muxer.audio(&access, out),
        }
    }
}

/// Undoes the wrap of 32-bit milliseconds.
#[derive(Debug, Default)]
struct Clock {
    last_ms: Option<i64>,
}

impl Clock {
    fn ticks(&mut self, timestamp: u32) -> i64 {
        let ms = match self.last_ms {
            None => i64::from(timestamp),
            Some(last) => {
                // The low half of both, so that the difference is the shorter way round.
                let low = u32::try_from(last.rem_euclid(1 << 32)).unwrap_or_default();
                last + i64::from(timestamp.wrapping_sub(low).cast_signed())
            }
        };
        self.last_ms = Some(ms);
        ms * MS + BEGIN
    }
}

#[cfg(test)]
mod tests;
