//! Silence in a rung while the source's audio is away.
//!
//! A publisher whose audio track stops for a while (a capture device unplugged, a remote guest
//! lost) leaves ffmpeg nothing to encode: the rungs go on without sound. A player that has begun
//! with both tracks then waits for audio that does not come. So between ffmpeg and the segmenter
//! the hole is filled with silent AAC frames, on the PID and in the format of the audio that was
//! there; what comes back is let in where the silence ends.
//!
//! A source that has no audio at all, in a broadcast that began with some, gets its track in the
//! same place, and the program's tables say so. Not from ffmpeg's `anullsrc`: ffmpeg 5.1 serves the
//! output whose last timestamp is oldest, that is the live thumbnail with its picture each ten
//! seconds, and the made-up track came up to ten seconds behind its picture.

use bytes::BytesMut;
use marquee_hls::ts::{
    AUDIO_PID, Muxer, PACKET, Packet, PacketKind, Program, Reader, StreamType, VIDEO_PID,
};

use super::arguments::AUDIO_RATE;

/// 90 kHz ticks of one AAC frame of 1024 samples.
const FRAME_TICKS: i64 = 1024 * 90_000 / AUDIO_RATE as i64;
/// Audio that stays away for longer than this is filled in. Publishers that pack audio in large PES
/// packets send them up to 0.7 s apart.
const PATIENCE_TICKS: i64 = 90_000;
/// Audio behind its video by more than this is not a habit worth keeping up in the silence.
const MOST_LAG_TICKS: i64 = 90_000;
/// A hole longer than this is a jump of the clock.
const LONGEST_HOLE_TICKS: i64 = 120 * 90_000;
/// Frames in one PES packet, which then fits one TS packet.
const FRAMES_PER_PES: i64 = 10;
/// How many are due before they are written, so that little of each packet is stuffing.
const FEWEST_FRAMES: i64 = 5;

/// A silent AAC-LC frame, two channels, with its ADTS header (48 kHz).
const SILENT_FRAME: [u8; 16] = [
    0xff, 0xf1, 0x4c, 0x80, 0x02, 0x1f, 0xfc, // ADTS: LC, 48 kHz, stereo, 16 bytes
    0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80,
];

/// The filter between one output pipe and its reader.
pub(super) struct SilenceFiller {
    reader: Reader,
    /// Writes the program's tables where the source has no audio that they could name.
    tables: Option<Muxer>,
    track: Track,
}

impl SilenceFiller {
    /// For an output whose audio may stay away for a while.
    pub(super) fn of_holes() -> Self {
        Self {
            reader: Reader::new(),
            tables: None,
            track: Track::default(),
        }
    }

    /// For an output that has video only.
    pub(super) fn of_all() -> Self {
        Self {
            tables: Some(Muxer::default()),
            ..Self::of_holes()
        }
    }

    /// Passes `bytes` on to `out`, with silence where audio is missing.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self {
            reader,
            tables,
            track,
        } = self;
        reader.push(bytes, &mut |packet| match tables {
            None => track.packet(packet, out),
            Some(tables) => track.packet_without_audio(packet, tables, out),
        });
    }
}

/// The audio of one output.
#[derive(Default)]
struct Track {
    counter: u8,
    /// DTS of the newest video frame.
    video: Option<i64>,
    /// `video` when the last audio came.
    video_at_audio: i64,
    /// Where the audio ends that was passed on or made.
    audio_end: Option<i64>,
    /// How far audio usually ends behind `video`.
    lag: i64,
    filling: bool,
    /// The present audio PES lies where silence was put already.
    dropping: bool,
}

impl Track {
    fn packet(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) {
        match packet.kind {
            PacketKind::Video => {
                if let Some(dts) = packet.start.and_then(|start| start.dts)
                    && let Some(audio) = packet.tables.audio()
                {
                    self.video_frame(audio.pid, dts, out);
                }
                out.extend_from_slice(packet.bytes);
            }
            PacketKind::Audio => {
                if let Some(pts) = packet.start.and_then(|start| start.pts) {
                    self.audio_frame(packet.pid, pts, out);
                }
                if self.dropping {
                    return;
                }
                let mut bytes = *packet.bytes;
                // Only packets with a payload count.
                if bytes[3] & 0x10 != 0 {
                    bytes[3] = (bytes[3] & 0xf0) | self.next_counter();
                }
                out.extend_from_slice(&bytes);
            }
            PacketKind::Psi | PacketKind::Other => out.extend_from_slice(packet.bytes),
        }
    }

    fn packet_without_audio(&mut self, packet: &Packet<'_>, tables: &mut Muxer, out: &mut Vec<u8>) {
        match packet.kind {
            PacketKind::Video => {
                if let Some(dts) = packet.start.and_then(|start| start.dts) {
                    self.silence_up_to(dts, out);
                }
                out.extend_from_slice(packet.bytes);
            }
            // Both tables are written where ffmpeg's second one stands. Its video has our muxer's PID.
            PacketKind::Psi if Some(packet.pid) == packet.tables.pmt_pid() => {
                let video = packet.tables.video();
                debug_assert!(video.is_none_or(|video| video.pid == VIDEO_PID));
                tables.set_program(Program {
                    video: video.map(|video| video.stream_type),
                    audio: Some(StreamType::AAC),
                });
                let mut both = BytesMut::with_capacity(2 * PACKET);
                tables.tables(&mut both);
                out.extend_from_slice(&both);
            }
            PacketKind::Psi if packet.pid == 0 => {}
            PacketKind::Psi | PacketKind::Audio | PacketKind::Other => {
                out.extend_from_slice(packet.bytes);
            }
        }
    }

    /// There is nothing but silence: it follows the video at once, and wherever its clock jumps to.
    fn silence_up_to(&mut self, video: i64, out: &mut Vec<u8>) {
        let end = *self.audio_end.get_or_insert(video);
        let hole = video - end;
        if hole.abs() > LONGEST_HOLE_TICKS {
            self.audio_end = Some(video);
            return;
        }
        let frames = hole / FRAME_TICKS;
        if frames >= FEWEST_FRAMES {
            self.audio_end = Some(end + frames * FRAME_TICKS);
            self.silence(AUDIO_PID, end, frames, out);
        }
    }

    fn video_frame(&mut self, audio_pid: u16, video: i64, out: &mut Vec<u8>) {
        if self.video.replace(video).is_none() {
            self.video_at_audio = video;
        }
        let away = video - self.video_at_audio;
        if away <= PATIENCE_TICKS {
            return;
        }
        let end = self.audio_end.unwrap_or(self.video_at_audio);
        let hole = video - self.lag - end;
        if hole > LONGEST_HOLE_TICKS {
            self.audio_end = Some(video);
            return;
        }
        self.filling = true;
        let frames = hole / FRAME_TICKS;
        if frames >= FEWEST_FRAMES {
            self.audio_end = Some(end + frames * FRAME_TICKS);
            self.silence(audio_pid, end, frames, out);
        }
    }

    fn audio_frame(&mut self, pid: u16, pts: i64, out: &mut Vec<u8>) {
        self.dropping = self.filling
            && self
                .audio_end
                .is_some_and(|end| end - LONGEST_HOLE_TICKS < pts && pts + FRAME_TICKS / 2 < end);
        if let Some(video) = self.video {
            self.video_at_audio = video;
        }
        if self.dropping {
            return;
        }
        if std::mem::take(&mut self.filling)
            && let Some(end) = self.audio_end
            && (0..LONGEST_HOLE_TICKS).contains(&(pts - end))
        {
            self.silence(pid, end, (pts - end) / FRAME_TICKS, out);
        }
        let end = pts + FRAME_TICKS;
        self.audio_end = Some(end);
        if let Some(video) = self.video {
            self.lag = (video - end).clamp(0, MOST_LAG_TICKS);
        }
    }

    fn silence(&mut self, pid: u16, mut pts: i64, mut frames: i64, out: &mut Vec<u8>) {
        while frames > 0 {
            let now = frames.min(FRAMES_PER_PES);
            self.silent_packet(pid, pts, usize::try_from(now).unwrap_or(1), out);
            pts += now * FRAME_TICKS;
            frames -= now;
        }
    }

    /// One TS packet with one PES packet of `frames` silent frames (ISO/IEC 13818-1, 2.4.3).
    fn silent_packet(&mut self, pid: u16, pts: i64, frames: usize, out: &mut Vec<u8>) {
        const PES_HEADER: usize = 14;
        let payload = PES_HEADER + frames * SILENT_FRAME.len();
        // An adaptation field fills the packet up; its length byte is not part of its length.
        let adaptation = PACKET - 4 - payload;
        let pid = pid.to_be_bytes();
        out.extend_from_slice(&[0x47, 0x40 | pid[0], pid[1], 0x30 | self.next_counter()]);
        out.push(u8::try_from(adaptation - 1).unwrap_or(0));
        if adaptation > 1 {
            out.push(0);
            out.resize(out.len() + adaptation - 2, 0xff);
        }
        let length = u16::try_from(payload - 6).unwrap_or(0).to_be_bytes();
        out.extend_from_slice(&[0, 0, 1, 0xc0, length[0], length[1], 0x80, 0x80, 5]);
        out.extend_from_slice(&pts_field(pts));
        for _ in 0..frames {
            out.extend_from_slice(&SILENT_FRAME);
        }
    }

    fn next_counter(&mut self) -> u8 {
        let counter = self.counter;
        self.counter = (counter + 1) & 0x0f;
        counter
    }
}

/// The PTS field of a PES header that has no DTS.
fn pts_field(pts: i64) -> [u8; 5] {
    let bits = |shift: u32, mask: i64| u8::try_from((pts >> shift) & mask).unwrap_or(0);
    [
        0x21 | (bits(30, 0x07) << 1),
        bits(22, 0xff),
        0x01 | (bits(15, 0x7f) << 1),
        bits(7, 0xff),
        0x01 | (bits(0, 0x7f) << 1),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::source::sample::{self, SECOND, av_tables};

    const WRAP: i64 = 1 << 33;

    /// 30 fps video from `start`, audio of 1024 samples a PES where `has_audio` says so.
    fn rung(start: i64, seconds: i64, lag: i64, has_audio: impl Fn(i64) -> bool) -> Vec<u8> {
        let mut bytes = av_tables();
        let mut audio = 0;
        let mut counter = 0;
        for frame in 0..seconds * 30 {
            let video = frame * 3000;
            bytes.extend(sample::frame(start + video, 0));
            while audio + FRAME_TICKS + lag <= video {
                if has_audio(audio) {
                    let mut packet = sample::sound(start + audio);
                    packet[3] = 0x30 | counter;
                    counter = (counter + 1) & 0x0f;
                    bytes.extend(packet);
                }
                audio += FRAME_TICKS;
            }
        }
        bytes
    }

    /// PTS of each audio frame, and whether it is silence of ours; counters checked.
    fn audio_of(bytes: &[u8]) -> Vec<(i64, bool)> {
        let mut frames = Vec::new();
        let mut counter = None;
        let mut reader = Reader::new();
        reader.push(bytes, &mut |packet| {
            if packet.kind != PacketKind::Audio {
                return;
            }
            let expected = counter.map_or(packet.bytes[3] & 0x0f, |last: u8| (last + 1) & 0x0f);
            assert_eq!(packet.bytes[3] & 0x0f, expected, "continuity counter");
            counter = Some(expected);
            let start = packet.start.unwrap();
            let silent = start.payload.starts_with(&SILENT_FRAME);
            let count = if silent { start.payload.len() / 16 } else { 1 };
            for index in 0..i64::try_from(count).unwrap() {
                frames.push((start.pts.unwrap() + index * FRAME_TICKS, silent));
            }
        });
        frames
    }

    fn fill(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        SilenceFiller::of_holes().push(bytes, &mut out);
        out
    }

    fn fill_all(bytes: &[u8], read: usize) -> Vec<u8> {
        let (mut filler, mut out) = (SilenceFiller::of_all(), Vec::new());
        for chunk in bytes.chunks(read) {
            filler.push(chunk, &mut out);
        }
        out
    }

    #[test]
    fn a_picture_alone_gets_a_track_of_silence_that_the_tables_name() {
        for start in [SECOND, WRAP - 3 * SECOND] {
            let mut bytes = sample::tables(&[(0x1b, sample::VIDEO_PID)]);
            for frame in 0..180 {
                bytes.extend(sample::frame(start + frame * 3000, 0));
            }
            let filled = fill_all(&bytes, usize::MAX);
            assert!(fill_all(&bytes, 100) == filled, "reads of any size");
            let frames = audio_of(&filled);
            assert!(frames.iter().all(|(_, silent)| *silent));
            assert_eq!(frames[0].0, start);
            assert!(
                frames
                    .windows(2)
                    .all(|pair| pair[1].0 - pair[0].0 == FRAME_TICKS)
            );
            let end = frames.last().unwrap().0;
            assert!(start + 6 * SECOND - end < SECOND / 3, "{end}");
            let mut reader = Reader::new();
            reader.push(&filled, &mut |_| {});
            assert_eq!(reader.tables().video().unwrap().pid, VIDEO_PID);
            assert_eq!(reader.tables().audio().unwrap().pid, AUDIO_PID);
        }
    }

    #[test]
    fn silence_alone_goes_where_the_clock_jumps() {
        let mut bytes = sample::tables(&[(0x1b, sample::VIDEO_PID)]);
        for start in [3600 * SECOND, SECOND, 7200 * SECOND] {
            for frame in 0..60 {
                bytes.extend(sample::frame(start + frame * 3000, 0));
            }
        }
        let frames = audio_of(&fill_all(&bytes, usize::MAX));
        for start in [3600 * SECOND, SECOND, 7200 * SECOND] {
            let there = start..start + 2 * SECOND;
            let count = frames.iter().filter(|(pts, _)| there.contains(pts)).count();
            assert!((85..95).contains(&count), "{count} from {start}");
        }
        assert!(frames.len() < 285, "{}", frames.len());
    }

    #[test]
    fn a_rung_whose_audio_never_stops_is_passed_on_unchanged() {
        for lag in [0, 9000, 60_000, 85_000] {
            let bytes = rung(SECOND, 6, lag, |_| true);
            assert!(fill(&bytes) == bytes, "lag {lag}");
        }
    }

    #[test]
    fn a_hole_is_filled_without_gap_or_overlap_and_real_audio_follows() {
        for lag in [0, 9000, 45_000] {
            let away = 3 * SECOND..23 * SECOND;
            let bytes = rung(SECOND, 30, lag, |pts| !away.contains(&pts));
            let frames = audio_of(&fill(&bytes));
            for pair in frames.windows(2) {
                let step = pair[1].0 - pair[0].0;
                assert!(
                    (step - FRAME_TICKS).abs() <= FRAME_TICKS,
                    "{pair:?}, lag {lag}"
                );
            }
            let silent = frames.iter().filter(|(_, silent)| *silent).count();
            let hole = usize::try_from(20 * SECOND / FRAME_TICKS).unwrap();
            assert!(
                (hole - 2..hole + 30).contains(&silent),
                "{silent} of {hole}"
            );
            assert!(!frames.last().unwrap().1, "the real audio is back");
        }
    }

    #[test]
    fn a_hole_across_the_wrap_of_the_clock_is_filled_alike() {
        let away = 3 * SECOND..8 * SECOND;
        let start = WRAP - 5 * SECOND;
        let frames = audio_of(&fill(&rung(start, 12, 0, |pts| !away.contains(&pts))));
        let silent = frames.iter().filter(|(_, silent)| *silent).count();
        assert!(silent > 200, "{silent}");
        for pair in frames.windows(2) {
            let step = pair[1].0 - pair[0].0;
            assert!((step - FRAME_TICKS).abs() <= FRAME_TICKS, "{pair:?}");
        }
    }

    #[test]
    fn reads_of_any_size_give_the_same_bytes() {
        let away = 2 * SECOND..4 * SECOND;
        let bytes = rung(SECOND, 6, 9000, |pts| !away.contains(&pts));
        let whole = fill(&bytes);
        for size in [1, 100, 187, 189, 1316, 4000] {
            let mut filler = SilenceFiller::of_holes();
            let mut out = Vec::new();
            for chunk in bytes.chunks(size) {
                filler.push(chunk, &mut out);
            }
            assert!(out == whole, "reads of {size}");
        }
    }
}
