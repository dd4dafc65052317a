//! Reads a publisher's transport stream as it comes: finds where decoding can begin, drops what is
//! of no use, and tells what it sees.

use bytes::BytesMut;
use marquee_hls::ts::{PACKET, Packet, PacketKind, Reader};

use super::event::{Keyframe, NewHeadReason, SourceError, SourceEvent, SourceStats};
use super::frame::{FrameHead, FrameKind, FrameScan, Parameters, not_understood};
use super::timeline::{FrameTime, Irregular, SECOND, Timeline};

mod meters;
mod phase;
mod search;
mod sound;

use meters::{Gop, Rate, Sound, SoundChange};
use phase::Phase;
use search::Search;

/// A source that changes its picture more often than this is not begun anew each time.
const FORMAT_SETTLED: i64 = 5 * SECOND;
/// A hole in the picture of less is nothing a new beginning would help.
const MISSING: i64 = SECOND;
/// Packets held while the kind of a frame is not known.
const MAX_PENDING: usize = 128 * 1024;

/// Reads a publisher's transport stream. Pure: bytes in, [`SourceEvent`]s out.
#[derive(Default)]
pub struct SourceInspector {
    reader: Reader,
    state: State,
}

impl SourceInspector {
    /// For one publisher's connection, from its first byte on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on. Events come in the order of the stream; media is handed out at each call's end at
    /// the latest. After an error the source is of no use.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        let state = &mut self.state;
        state.search.received(bytes.len());
        self.reader
            .push(bytes, &mut |packet| state.packet(packet, events));
        state.hand_out(events);
        state.check()
    }

    /// Begins anew at the next keyframe (without video: at the next sound), with
    /// [`SourceEvent::NewHead`]. Media goes on until then.
    pub fn begin_new_head(&mut self) {
        self.state.asked.get_or_insert(NewHeadReason::Asked);
    }

    /// Figures as of now.
    pub fn stats(&self) -> SourceStats {
        SourceStats {
            bitrate_bps: self.state.rate.bps(),
            keyframe_interval_ms: ms(self.state.last_gop).unsigned_abs(),
            has_video: self.state.has_video(),
            has_audio: self.state.sound.present,
            resyncs: self.reader.resyncs(),
        }
    }
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Packets of a frame whose kind is not known yet, and what came between them.
    pending: BytesMut,
    media: BytesMut,
    unit: Option<Unit>,
    timeline: Timeline,
    last_frame: Option<FrameTime>,
    /// Where the sound's clock stood when video last came.
    video_seen_at: Option<i64>,
    gop: Option<Gop>,
    last_gop: i64,
    parameters: Option<Parameters>,
    video_pid: Option<u16>,
    audio_pid: Option<u16>,
    sound: Sound,
    rate: Rate,
    asked: Option<NewHeadReason>,
    video_stopped: bool,
    video_told: bool,
    withheld: Withheld,
    began_at: Option<i64>,
    search: Search,
}

/// What is not handed out before the next head.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Withheld {
    #[default]
    Nothing,
    /// The present ffmpeg would take its time for wrong.
    Sound,
    /// Media is missing, and what comes refers to it.
    Everything,
}

/// The access unit that is coming in.
struct Unit {
    dts: Option<i64>,
    pts: Option<i64>,
    /// `None` once its kind is known.
    scan: Option<FrameScan>,
}

impl State {
    fn packet(&mut self, packet: &Packet<'_>, events: &mut Vec<SourceEvent>) {
        self.search.saw_packet();
        let tables = packet.tables;
        match packet.kind {
            PacketKind::Video if tables.video().is_some_and(|video| video.pid == packet.pid) => {
                self.video(packet, events);
            }
            PacketKind::Audio if tables.audio().is_some_and(|audio| audio.pid == packet.pid) => {
                self.audio(packet, events);
            }
            PacketKind::Psi if packet.pid == 0 || tables.pmt_pid() == Some(packet.pid) => {
                self.program(packet);
                self.route(packet);
            }
            // Other tracks of the program; ffmpeg may know what they are.
            _ if tables
                .streams()
                .iter()
                .any(|stream| stream.pid == packet.pid) =>
            {
                self.route(packet);
            }
            // Other programs, guides and stuffing are of no use to anyone after us.
            _ => {}
        }
    }

    /// Another program than the one the head began with is another source.
    fn program(&mut self, packet: &Packet<'_>) {
        let video = packet.tables.video().map(|stream| stream.pid);
        let audio = packet.tables.audio().map(|stream| stream.pid);
        let moved = |old: Option<u16>, new: Option<u16>| {
            old.is_some_and(|old| new.is_some_and(|new| new != old))
        };
        if moved(self.video_pid, video) || moved(self.audio_pid, audio) {
            self.asked = Some(NewHeadReason::FormatChanged);
        }
        self.video_pid = video.or(self.video_pid);
        self.audio_pid = audio.or(self.audio_pid);
    }

    fn video(&mut self, packet: &Packet<'_>, events: &mut Vec<SourceEvent>) {
        self.rate.add(PACKET);
        if let Some(gop) = &mut self.gop {
            gop.bytes += PACKET as u64;
        }
        let mut payload = packet.payload();
        if let Some(start) = &packet.start {
            payload = start.payload;
            // Some multiplexers begin a PES packet for each slice of a frame.
            let goes_on = self
                .unit
                .as_ref()
                .is_some_and(|unit| start.dts.is_none() || start.dts == unit.dts);
            if !goes_on {
                self.end_unit(packet, events);
                let stream_type = packet.tables.video().map(|video| video.stream_type);
                self.unit = stream_type.map(|stream_type| Unit {
                    dts: start.dts,
                    pts: start.pts,
                    scan: Some(FrameScan::new(stream_type, start.random_access)),
                });
            }
        }
        self.route(packet);
        let head = match &mut self.unit {
            Some(Unit {
                scan: Some(scan), ..
            }) => scan.push(payload),
            _ => None,
        };
        if let Some(head) = head {
            self.frame(&head, packet, events);
        } else if self.pending.len() > MAX_PENDING {
            self.end_unit(packet, events);
        }
    }

    /// The unit's head never showed what it is.
    fn end_unit(&mut self, packet: &Packet<'_>, events: &mut Vec<SourceEvent>) {
        if self.unit.as_ref().is_some_and(|unit| unit.scan.is_some()) {
            self.frame(&not_understood(), packet, events);
        }
    }

    /// The kind of the frame is known whose first packets are pending.
    fn frame(&mut self, head: &FrameHead, packet: &Packet<'_>, events: &mut Vec<SourceEvent>) {
        let Some(unit) = &mut self.unit else {
            return;
        };
        unit.scan = None;
        if let (Some(pts), Some(dts)) = (unit.pts, unit.dts) {
            let time = self.timeline.frame(pts, dts);
            self.clock(time, events);
        }
        if head.kind != FrameKind::Ordinary {
            self.keyframe(head, packet, events);
        }
        let pending = self.pending.split();
        if self.hands_out() {
            self.media.extend_from_slice(&pending);
        }
        self.tick(events);
    }

    fn clock(&mut self, frame: FrameTime, events: &mut Vec<SourceEvent>) {
        let sound = self.sound.time();
        let heard = match (sound, std::mem::replace(&mut self.video_seen_at, sound)) {
            (Some(now), Some(before)) => now - before,
            _ => 0,
        };
        self.last_frame = Some(frame);
        self.search.clock(frame.decoded);
        self.rate.at(frame.decoded);
        match frame.irregular {
            Some(Irregular::Jump(by)) => events.push(SourceEvent::ClockJump { by_ms: ms(by) }),
            Some(Irregular::Hole) => {
                events.push(SourceEvent::Hole { ms: ms(frame.step) });
                if let Some(gop) = &mut self.gop {
                    gop.holes += frame.step;
                }
                // A picture that stood still while the sound went on is nothing lost.
                if frame.step >= MISSING && heard < frame.step / 2 {
                    self.lose();
                }
            }
            None => {}
        }
        if self.sound.video_at(frame.decoded, frame.step) == Some(SoundChange::Stopped)
            && self.phase.is_open()
        {
            events.push(SourceEvent::AudioStopped);
        }
        if self
            .gop
            .as_mut()
            .is_some_and(|gop| gop.falls_due(frame.decoded))
        {
            events.push(SourceEvent::GopOverdue);
        }
    }

    /// What was to come is missing: a new head begins at the next keyframe.
    fn lose(&mut self) {
        if self.phase.is_open() {
            self.asked.get_or_insert(NewHeadReason::MediaMissing);
            self.withheld = Withheld::Everything;
            self.gop = None;
            self.search.restart();
        }
    }

    fn keyframe(&mut self, head: &FrameHead, packet: &Packet<'_>, events: &mut Vec<SourceEvent>) {
        self.video_stopped = false;
        self.compare(head);
        if self.phase.is_open() && !self.phase.with_video() {
            if !self.phase.is_flowing() {
                self.asked.get_or_insert(NewHeadReason::FormatChanged);
            } else if !std::mem::replace(&mut self.video_told, true) {
                events.push(SourceEvent::VideoStarted);
            }
        }
        let begins = head.can_begin && (!self.phase.is_open() || self.asked.is_some());
        if begins {
            self.parameters.clone_from(&head.parameters);
            self.begin(true, events);
        } else if !self.phase.with_video() || !self.hands_out() {
            return;
        }
        let Some(frame) = self.last_frame else {
            return;
        };
        let gop = self.gop.replace(Gop::new(frame.shown));
        let length = gop.as_ref().map(|gop| gop.length(frame.shown));
        self.last_gop = length.unwrap_or(self.last_gop);
        self.hand_out(events);
        events.push(SourceEvent::Keyframe(Keyframe {
            time: frame.shown,
            gop: length,
            closed: head.kind == FrameKind::ClosedKey,
            can_begin: head.can_begin,
            video_bytes: gop.map_or(0, |gop| gop.bytes),
        }));
        // Whoever begins at this keyframe needs the tables first.
        self.media.extend_from_slice(packet.tables.packets());
    }

    /// Another picture than before is another source.
    fn compare(&mut self, head: &FrameHead) {
        let Some(parameters) = &head.parameters else {
            return;
        };
        let same = self.parameters.as_ref().is_none_or(|old| old == parameters);
        let settled = match (self.began_at, self.last_frame) {
            (Some(began), Some(frame)) => frame.decoded - began > FORMAT_SETTLED,
            _ => true,
        };
        if same || settled {
            self.parameters = Some(parameters.clone());
        }
        if !same && settled {
            self.asked = Some(NewHeadReason::FormatChanged);
        }
    }

    /// A head begins with the packets that are pending or come next.
    fn begin(&mut self, with_video: bool, events: &mut Vec<SourceEvent>) {
        self.hand_out(events);
        if self.phase.is_open() {
            let reason = self.asked.unwrap_or(NewHeadReason::Asked);
            events.push(SourceEvent::NewHead(reason));
        }
        self.asked = None;
        self.gop = None;
        if !with_video {
            self.last_frame = None;
            self.timeline = Timeline::default();
        }
        self.video_told = false;
        self.withheld = Withheld::Nothing;
        self.sound.begin();
        self.began_at = self.now();
        self.phase = Phase::head(with_video, self.began_at);
    }

    fn now(&self) -> Option<i64> {
        match self.last_frame {
            Some(frame) => Some(frame.decoded),
            None => self.sound.time(),
        }
    }

    /// Packets wait while the frame they belong to is not understood, so that all stay in order.
    fn route(&mut self, packet: &Packet<'_>) {
        let undecided = self.unit.as_ref().is_some_and(|unit| unit.scan.is_some());
        if undecided {
            self.pending.extend_from_slice(packet.bytes);
        } else if self.hands_out() {
            self.media.extend_from_slice(packet.bytes);
        }
        if self.phase.is_open() {
            self.phase.took(PACKET);
        }
    }

    fn hands_out(&self) -> bool {
        self.phase.is_open() && self.withheld != Withheld::Everything
    }

    fn tick(&mut self, events: &mut Vec<SourceEvent>) {
        if !self.hands_out() {
            return;
        }
        let audio_due = self.audio_pid.is_some() && !self.sound.present;
        if let Some(now) = self.now()
            && self.phase.becomes_ready(now, audio_due)
        {
            self.hand_out(events);
            events.push(SourceEvent::HeadReady);
        }
    }

    fn hand_out(&mut self, events: &mut Vec<SourceEvent>) {
        if !self.media.is_empty() {
            events.push(SourceEvent::Media(self.media.split().freeze()));
        }
    }

    fn has_video(&self) -> bool {
        self.last_frame.is_some() && !self.video_stopped
    }

    fn check(&self) -> Result<(), SourceError> {
        if self.hands_out() {
            return Ok(());
        }
        let has_program = self.video_pid.is_some() || self.audio_pid.is_some();
        self.search.goes_on(has_program, self.now())
    }
}

fn ms(ticks: i64) -> i64 {
    ticks / (SECOND / 1000)
}

#[cfg(test)]
mod tests;
