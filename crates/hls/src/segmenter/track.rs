//! What a rung's packets mean to the segmenter: where frames start, and what the rendition is.

use bytes::Bytes;

use super::{RenditionParams, rate::FrameClock};
use crate::{
    Rung,
    h264::{HeadScanner, Sps},
    ts::{AccessUnitStart, Packet, PacketKind, StreamType, Tables},
};

/// The least difference in time that tells two cuts apart.
const LEAST_TOLERANCE: i64 = 90 * 20;
/// However slow the frames are, keyframes this far apart are not the same cut.
const MOST_TOLERANCE: i64 = 90 * 500;

/// A moment in a pipe. Each time the clock jumps a new era begins, so that moments stay in order
/// although presentation times do not. All rungs come from one encoder and jump together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub era: u64,
    pub pts: i64,
}

impl Stamp {
    pub const END: Self = Self {
        era: u64::MAX,
        pts: i64::MAX,
    };

    pub fn plus(self, ticks: i64) -> Self {
        Self {
            pts: self.pts.saturating_add(ticks),
            ..self
        }
    }

    /// Ticks from `earlier` to this moment, if both are of one era.
    pub fn since(self, earlier: Self) -> Option<i64> {
        (self.era == earlier.era).then(|| self.pts.saturating_sub(earlier.pts))
    }
}

/// A frame begins. Everything up to the next one goes where it goes.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub at: Stamp,
    /// The same moment on a clock that rises from frame to frame in the order in which they come:
    /// with B-frames, presentation times do not. Equal to `at` at keyframes.
    pub clock: Stamp,
    /// How far from a cut it may be and still be the frame of that cut.
    pub tolerance: i64,
    /// Set where a segment may begin: the tables to put in front.
    pub key: Option<Bytes>,
}

/// Follows the stream of a rung that is cut: the picture, or the sound where there is only sound.
pub(super) struct Track {
    cut_by: PacketKind,
    era: u64,
    clock: FrameClock,
    /// From decoding to presentation times at the last keyframe, or jump.
    reorder: i64,
    head: HeadScanner,
    sps: Option<Sps>,
    video_type: Option<StreamType>,
    audio: Option<String>,
    has_audio: bool,
}

impl Track {
    pub fn new(rung: Rung) -> Self {
        Self {
            cut_by: if rung == Rung::Audio {
                PacketKind::Audio
            } else {
                PacketKind::Video
            },
            era: 0,
            clock: FrameClock::default(),
            reorder: 0,
            head: HeadScanner::default(),
            sps: None,
            video_type: None,
            audio: None,
            has_audio: false,
        }
    }

    /// Looks at a packet; a unit if a frame begins in it.
    pub fn unit(&mut self, packet: &Packet<'_>) -> Option<Unit> {
        let Some(start) = &packet.start else {
            if self.head.is_active() && Self::is_video(packet) {
                self.scan_head(packet.payload());
            }
            return None;
        };
        if packet.kind == PacketKind::Audio {
            self.describe_audio(packet.tables, start.payload);
        }
        if !self.is_cut_by(packet) {
            return None;
        }
        let (pts, dts) = (start.pts?, start.dts?);
        let jumped = self.clock.jumped_at(dts);
        if jumped {
            self.era += 1;
        }
        let key = self.is_key(start).then(|| packet.tables.packets().clone());
        if key.is_some() {
            self.describe(packet.tables, start.payload);
        }
        if key.is_some() || jumped {
            self.reorder = pts.saturating_sub(dts);
        }
        let era = self.era;
        Some(Unit {
            at: Stamp { era, pts },
            clock: Stamp {
                era,
                pts: dts.saturating_add(self.reorder),
            },
            tolerance: self.tolerance(),
            key,
        })
    }

    /// The usual time of a frame; 0 before it is known.
    pub fn frame(&self) -> i64 {
        self.clock.frame()
    }

    pub fn cuts_by_time(&self) -> bool {
        self.cut_by == PacketKind::Audio
    }

    pub fn params(&self) -> Option<RenditionParams> {
        let video = self.sps.as_ref();
        if !self.cuts_by_time() && video.is_none() {
            return None;
        }
        let codecs: Vec<String> = video
            .map(Sps::codec)
            .into_iter()
            .chain(self.audio.clone())
            .collect();
        (!codecs.is_empty()).then(|| RenditionParams {
            codecs: codecs.join(","),
            resolution: video.map(|sps| (sps.width, sps.height)),
            frame_rate: video.and_then(|_| self.clock.rate()),
            has_audio: self.has_audio,
        })
    }

    fn is_video(packet: &Packet<'_>) -> bool {
        packet.kind == PacketKind::Video
            && packet
                .tables
                .video()
                .is_some_and(|stream| stream.pid == packet.pid)
    }

    fn is_cut_by(&self, packet: &Packet<'_>) -> bool {
        if self.cut_by == PacketKind::Video {
            return Self::is_video(packet);
        }
        packet.kind == PacketKind::Audio
            && packet
                .tables
                .audio()
                .is_some_and(|stream| stream.pid == packet.pid)
    }

    fn is_key(&self, start: &AccessUnitStart<'_>) -> bool {
        start.random_access || self.cuts_by_time()
    }

    /// Frames of sound follow each other without end, so the nearest one is meant; keyframes are
    /// rare, and encoders may differ by one frame.
    fn tolerance(&self) -> i64 {
        if self.cuts_by_time() {
            return self.clock.frame() / 2 + 1;
        }
        self.clock.frame().clamp(LEAST_TOLERANCE, MOST_TOLERANCE)
    }

    fn describe(&mut self, tables: &Tables, payload: &[u8]) {
        self.has_audio = tables.audio().is_some();
        self.video_type = tables.video().map(|stream| stream.stream_type);
        if self.cut_by == PacketKind::Video && self.video_type == Some(StreamType::H264) {
            self.head.start();
            self.scan_head(payload);
        }
    }

    fn scan_head(&mut self, bytes: &[u8]) {
        if let Some(head) = self.head.push(bytes) {
            self.sps = head.sps.or(self.sps.take());
        }
    }

    fn describe_audio(&mut self, tables: &Tables, payload: &[u8]) {
        let Some(stream) = tables.audio().filter(|_| self.audio.is_none()) else {
            return;
        };
        self.audio = match (stream.stream_type, payload) {
            (StreamType::AAC, [0xff, sync, profile, ..]) if sync & 0xf6 == 0xf0 => {
                Some(format!("mp4a.40.{}", (profile >> 6) + 1))
            }
            (StreamType::AAC_LATM, _) => Some("mp4a.40.2".to_owned()),
            (StreamType::MPEG1_AUDIO | StreamType::MPEG2_AUDIO, _) => Some("mp4a.40.34".to_owned()),
            _ => None,
        };
    }
}
