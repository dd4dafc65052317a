//! Whether the source's own rung may be passed through, and the bytes to encode it from when not.
//!
//! A copied rung can only be cut where the source has keyframes, so the source has to send a closed
//! one at least every 2.4 s. That shows while it runs: the rule keeps the media since the last cut
//! (it counts cuts as the segmenter makes them), and when the source breaks the rule everything
//! after that cut is made again by an encoder. No segment of it can have been published; of its parts,
//! which the edge may have shown, see ADR 25.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use marquee_hls::RecentGops;

use super::event::{Keyframe, SourceEvent};
use super::timeline::SECOND;
use crate::ladder::{EncodePlan, TopRung};

/// A longer GOP cannot be cut into segments of the target duration of 2 s, which rounds.
pub(super) const MAX_GOP: i64 = SECOND * 24 / 10;
/// Publishers' clocks are not exact.
pub(super) const GOP_TOLERANCE: i64 = SECOND / 100;
/// Media kept.
const MAX_KEPT: usize = 8 << 20;
/// The rate is that of so much media, or of the first segment.
const RATE_TIME: i64 = 5 * SECOND;
/// Rate control is not exact either.
const RATE_TOLERANCE_PERCENT: u64 = 110;
/// What audio and the container add to a segment at the limit, roughly.
const SEGMENT_SLACK_PERCENT: u64 = 120;
const SEGMENT_SLACK_BYTES: u64 = 256 * 1024;

/// Why the source's own rung is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRefusal {
    /// A keyframe that frames after it reach over.
    OpenGop,
    /// No keyframe within 2.4 s.
    GopTooLong,
    /// A keyframe without its parameter sets: nobody could begin there.
    NoParameterSets,
    /// More than `MAX_PASSTHROUGH_KBPS`.
    RateTooHigh,
}

impl std::fmt::Display for CopyRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OpenGop => "open GOP",
            Self::GopTooLong => "GOP longer than 2.4 s",
            Self::NoParameterSets => "keyframe without parameter sets",
            Self::RateTooHigh => "rate above the passthrough limit",
        })
    }
}

/// The order to encode what was being copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRestart {
    /// Why.
    pub reason: CopyRefusal,
    /// Segments of the present run that stand: those with an index below. The rest of the run is
    /// to be dropped; it comes again.
    pub keep_segments: u64,
    /// The media after those segments; what the inspector hands out next follows it.
    pub head: Vec<Bytes>,
}

/// Keeps the head and judges the source. Pure; see the module `source` for its use.
pub struct CopyRule {
    max_bps: u64,
    phase: Phase,
    refusal: Option<CopyRefusal>,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// Until the next keyframe: there was no room for what came before it.
    skipping: bool,
    /// Media since the last cut.
    segment_bytes: u64,
    last_keyframe: Option<i64>,
    /// The head's first keyframe, and the first one that is still kept.
    head_start: Option<i64>,
    kept_start: Option<i64>,
    segment_start: Option<i64>,
    gops: RecentGops,
    cuts: u64,
    rates: VecDeque<(i64, u64)>,
}

enum Kept {
    Media(Bytes),
    /// A keyframe at which what is kept may begin, and its time.
    Cut(i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No encoder runs yet: everything is kept.
    Waiting,
    /// A rung is copied: what is after the last cut is kept.
    Copying,
    /// Every rung is encoded: nothing is kept.
    Released,
}

impl CopyRule {
    /// The rule for one publisher.
    pub fn new(max_passthrough_kbps: u32) -> Self {
        Self {
            max_bps: u64::from(max_passthrough_kbps) * 1000,
            phase: Phase::Waiting,
            refusal: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            skipping: false,
            segment_bytes: 0,
            last_keyframe: None,
            head_start: None,
            kept_start: None,
            segment_start: None,
            gops: RecentGops::default(),
            cuts: 0,
            rates: VecDeque::new(),
        }
    }

    /// Takes every event of the inspector, in order. Answers once, when a rung that is being copied
    /// turns out not to be copyable; the event is then dealt with, its media is in the answer.
    pub fn observe(&mut self, event: &SourceEvent) -> Option<CopyRestart> {
        match event {
            SourceEvent::NewHead(_) => self.begin(),
            SourceEvent::Keyframe(keyframe) => self.keyframe(keyframe),
            SourceEvent::GopOverdue => self.refuse(CopyRefusal::GopTooLong),
            SourceEvent::Media(bytes) => self.keep(bytes),
            _ => {}
        }
        let reason = self.refusal.filter(|_| self.phase == Phase::Copying)?;
        let head = self.media();
        self.release();
        Some(CopyRestart {
            reason,
            keep_segments: self.cuts,
            head,
        })
    }

    /// All that is kept, for the probe.
    pub fn kept_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.kept_bytes);
        for media in self.media() {
            bytes.extend_from_slice(&media);
        }
        bytes.freeze()
    }

    /// Whether an encoder can begin with what is kept. False after more came than there is room for,
    /// until the next keyframe.
    pub fn has_head(&self) -> bool {
        !self.skipping && !self.kept.is_empty()
    }

    /// How much of the head was dropped for want of room: what is kept begins so much after it.
    pub fn dropped(&self) -> Duration {
        let ticks = self
            .kept_start
            .zip(self.head_start)
            .map_or(0, |(kept, head)| (kept - head).max(0).unsigned_abs());
        Duration::from_millis(ticks / 90)
    }

    /// What to plan with, by what is known of the source so far.
    pub fn top_rung(&self) -> TopRung {
        match self.refusal {
            None => TopRung::Copied,
            Some(_) => TopRung::Encoded,
        }
    }

    /// Why the source's own rung is encoded, when it is because of this rule.
    pub fn refusal(&self) -> Option<CopyRefusal> {
        self.refusal
    }

    /// An encoder was started for `plan`: feed it these, then the media of the events that follow.
    pub fn started(&mut self, plan: &EncodePlan) -> Vec<Bytes> {
        let head = self.media();
        if plan.copies() {
            self.phase = Phase::Copying;
            self.drop_until_last_cut();
        } else {
            self.release();
        }
        head
    }

    /// Every keyframe so far belongs to the past: the next one is the first.
    fn begin(&mut self) {
        let fresh = Self::new(0);
        *self = Self {
            max_bps: self.max_bps,
            // A publisher's encoder is not set up anew while it sends.
            refusal: self.refusal,
            ..fresh
        };
    }

    fn keyframe(&mut self, keyframe: &Keyframe) {
        if self.skipping {
            let head_start = self.head_start;
            self.begin();
            self.head_start = head_start;
        }
        self.head_start.get_or_insert(keyframe.time);
        self.kept_start.get_or_insert(keyframe.time);
        let cut = self.measure(keyframe);
        if !keyframe.can_begin {
            self.refuse(CopyRefusal::NoParameterSets);
        }
        if !keyframe.closed {
            self.refuse(CopyRefusal::OpenGop);
        }
        if cut && self.refusal.is_none() {
            self.cuts += 1;
            self.segment_bytes = 0;
            if self.phase != Phase::Released {
                self.kept.push_back(Kept::Cut(keyframe.time));
            }
            if self.phase == Phase::Copying {
                self.drop_until_last_cut();
            }
        } else if self.phase == Phase::Waiting && keyframe.can_begin && self.refusal.is_some() {
            // It will be encoded, which can begin at any keyframe.
            self.kept.push_back(Kept::Cut(keyframe.time));
        }
    }

    /// Whether the segmenter cuts at this keyframe; judges length and rate of what lies before it.
    fn measure(&mut self, keyframe: &Keyframe) -> bool {
        let time = keyframe.time;
        let Some(last) = self.last_keyframe.replace(time) else {
            self.segment_start = Some(time);
            return false;
        };
        let gop = keyframe.gop.unwrap_or(0);
        if gop > MAX_GOP + GOP_TOLERANCE {
            self.refuse(CopyRefusal::GopTooLong);
        }
        let start = self.segment_start.unwrap_or(last);
        self.gops.ended(time - last);
        let cut = self.gops.must_cut(time - start, MAX_GOP);
        if cut {
            self.segment_start = Some(time);
        }
        self.judge_rate(gop, keyframe.video_bytes, cut);
        cut
    }

    fn judge_rate(&mut self, gop: i64, bytes: u64, cut: bool) {
        if gop <= 0 {
            return;
        }
        self.rates.push_back((gop, bytes));
        let mut ticks: i64 = self.rates.iter().map(|(ticks, _)| ticks).sum();
        while let Some((oldest, _)) = self.rates.front()
            && ticks - oldest >= RATE_TIME
        {
            ticks -= oldest;
            self.rates.pop_front();
        }
        // At the first cut with what there is: nothing has been published then.
        if !cut || (ticks < RATE_TIME && self.cuts > 0) {
            return;
        }
        let bytes: u64 = self.rates.iter().map(|(_, bytes)| bytes).sum();
        if self.is_above(bytes, ticks, RATE_TOLERANCE_PERCENT) {
            self.refuse(CopyRefusal::RateTooHigh);
        }
    }

    /// Bytes of a segment at the highest rate, and never more than may be kept.
    fn segment_limit(&self) -> u64 {
        let video = self.max_bps / 8 * RATE_TOLERANCE_PERCENT / 100 * MAX_GOP.unsigned_abs()
            / SECOND.unsigned_abs();
        (video * SEGMENT_SLACK_PERCENT / 100 + SEGMENT_SLACK_BYTES).min(MAX_KEPT as u64)
    }

    fn is_above(&self, bytes: u64, ticks: i64, percent: u64) -> bool {
        let bits = bytes * 8 * SECOND.unsigned_abs() * 100;
        bits > self.max_bps * percent * ticks.unsigned_abs()
    }

    fn keep(&mut self, bytes: &Bytes) {
        if self.phase == Phase::Released || self.skipping {
            return;
        }
        self.segment_bytes += bytes.len() as u64;
        if self.segment_bytes > self.segment_limit() {
            // Sooner than at the cut: a head as long as a segment takes its time to encode.
            self.refuse(CopyRefusal::RateTooHigh);
        }
        if self.kept_bytes + bytes.len() > MAX_KEPT && self.phase == Phase::Waiting {
            // The probe takes too long for this rate. What is kept has to begin with a keyframe.
            if let Some(time) = self.drop_until_last_cut() {
                self.cuts = 0;
                self.kept_start = Some(time);
            } else {
                self.kept.clear();
                self.kept_bytes = 0;
                self.skipping = true;
                return;
            }
        }
        self.kept_bytes += bytes.len();
        self.kept.push_back(Kept::Media(bytes.clone()));
    }

    /// The time of the cut that what is kept begins with now; `None` when there was none in it.
    fn drop_until_last_cut(&mut self) -> Option<i64> {
        let (last, time) =
            self.kept
                .iter()
                .enumerate()
                .rev()
                .find_map(|(at, kept)| match kept {
                    Kept::Cut(time) => Some((at, *time)),
                    Kept::Media(_) => None,
                })?;
        for kept in self.kept.drain(..=last) {
            if let Kept::Media(bytes) = kept {
                self.kept_bytes -= bytes.len();
            }
        }
        Some(time)
    }

    fn refuse(&mut self, reason: CopyRefusal) {
        self.refusal.get_or_insert(reason);
    }

    fn media(&self) -> Vec<Bytes> {
        self.kept
            .iter()
            .filter_map(|kept| match kept {
                Kept::Media(bytes) => Some(bytes.clone()),
                Kept::Cut(_) => None,
            })
            .collect()
    }

    fn release(&mut self) {
        self.phase = Phase::Released;
        self.kept = VecDeque::new();
        self.kept_bytes = 0;
    }
}

#[cfg(test)]
mod tests;
