//! When the source's own rung may be passed through, and from where it is made again when not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::ladder::Ladder;
use crate::source::sample::{self, AUD, IDR, RECOVERY_POINT, SLICE, VIDEO_PID, stream};
use crate::source::{Source, SourceInspector, VideoSource};

fn plan(top: TopRung) -> EncodePlan {
    let source = Source {
        video: Some(VideoSource {
            codec: "h264".to_owned(),
            width: 854,
            height: 480,
            fps: 30.0,
            pix_fmt: "yuv420p".to_owned(),
            profile: "High".to_owned(),
            bit_depth: 8,
            rotated: false,
        }),
        ..Source::default()
    };
    EncodePlan::new(&Ladder::for_source(&source).unwrap(), &source, top).unwrap()
}

/// A session that starts its encoder when the head is ready.
struct Session {
    inspector: SourceInspector,
    rule: CopyRule,
    /// What the first encoder was fed.
    fed: Vec<u8>,
    restart: Option<CopyRestart>,
    /// What came after the restart.
    after: Vec<u8>,
}

impl Session {
    fn new(max_kbps: u32) -> Self {
        Self {
            inspector: SourceInspector::new(),
            rule: CopyRule::new(max_kbps),
            fed: Vec::new(),
            restart: None,
            after: Vec::new(),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let mut events = Vec::new();
        let mut running = !self.fed.is_empty();
        for chunk in bytes.chunks(1316) {
            events.clear();
            self.inspector.push(chunk, &mut events).unwrap();
            for event in &events {
                if let Some(restart) = self.rule.observe(event) {
                    assert_eq!(self.restart, None, "told once");
                    self.restart = Some(restart);
                    continue;
                }
                match event {
                    SourceEvent::HeadReady => {
                        let head = self.rule.started(&plan(self.rule.top_rung()));
                        self.fed.extend(head.concat());
                        running = true;
                    }
                    SourceEvent::Media(bytes) if self.restart.is_some() => {
                        self.after.extend_from_slice(bytes);
                    }
                    SourceEvent::Media(bytes) if running => self.fed.extend_from_slice(bytes),
                    _ => {}
                }
            }
        }
    }

    fn run(gops: &[i64]) -> Self {
        let mut session = Self::new(8000);
        session.push(&stream(gops, 400, |_| true));
        session
    }

    fn restart(&self) -> &CopyRestart {
        self.restart.as_ref().unwrap()
    }
}

/// Bytes of so many frames of [`stream`] with 400 bytes a frame, restated tables included.
fn frames(frames: usize, keyframes: usize) -> usize {
    (frames * (3 + 1) + keyframes * 2) * 188
}

#[test]
fn closed_gops_of_up_to_2_4_s_are_copied() {
    for gops in [
        &[60; 10][..],
        &[15; 40],
        &[72; 8],
        &[30, 60, 15, 72, 7, 60, 45, 72, 72],
    ] {
        let session = Session::run(gops);
        assert_eq!(session.restart, None, "{gops:?}");
        assert_eq!(session.rule.top_rung(), TopRung::Copied);
    }
}

#[test]
fn no_second_keyframe_by_2_4_s_means_encoding_from_the_first() {
    let session = Session::run(&[150, 150]);
    let restart = session.restart();
    assert_eq!(restart.reason, CopyRefusal::GopTooLong);
    assert_eq!(restart.keep_segments, 0);
    let head = restart.head.concat();
    assert!(session.fed.starts_with(&head) || head.starts_with(&session.fed));
    let in_frames = frames(72, 0)..frames(78, 0);
    assert!(in_frames.contains(&head.len()), "2.4 s and little more");
}

#[test]
fn everything_after_the_last_cut_comes_again_and_nothing_else() {
    // Cuts at 2 s and 4 s (GOPs of 1 s), then a GOP that is too long.
    let session = Session::run(&[30, 30, 30, 30, 30, 120]);
    let restart = session.restart();
    assert_eq!(restart.reason, CopyRefusal::GopTooLong);
    assert_eq!(restart.keep_segments, 2);
    let again = [restart.head.concat(), session.after].concat();
    assert_eq!(again.len(), frames(150, 2));
    let whole = stream(&[30, 30, 30, 30, 30, 120], 400, |_| true);
    assert!(again.ends_with(&whole[whole.len() - frames(120, 0)..]));
}

#[test]
fn an_open_gop_is_noticed_at_its_keyframe() {
    let mut bytes = stream(&[60, 60], 400, |_| true);
    let open = [AUD, sample::SPS_640, sample::PPS, RECOVERY_POINT, SLICE].concat();
    bytes.extend(sample::pes(VIDEO_PID, 90_000 * 5, true, &open));
    bytes.extend(sample::frame(90_000 * 5 + 3000, 400));
    let mut session = Session::new(8000);
    session.push(&bytes);
    assert_eq!(session.restart().reason, CopyRefusal::OpenGop);
    assert_eq!(session.restart().keep_segments, 1);
}

#[test]
fn keyframes_without_parameter_sets_cannot_be_cut_at() {
    let mut bytes = stream(&[30], 400, |_| true);
    bytes.extend(sample::pes(
        VIDEO_PID,
        90_000 * 2,
        true,
        &[AUD, IDR].concat(),
    ));
    bytes.extend(sample::frame(90_000 * 2 + 3000, 400));
    let mut session = Session::new(8000);
    session.push(&bytes);
    assert_eq!(session.restart().reason, CopyRefusal::NoParameterSets);
    assert_eq!(session.restart().keep_segments, 0);
}

#[test]
fn a_rate_above_the_limit_is_noticed_within_the_first_segment_and_later() {
    // 1000 kbit/s is 4166 bytes a frame.
    let mut session = Session::new(1000);
    session.push(&stream(&[60; 3], 8000, |_| true));
    assert_eq!(session.restart().reason, CopyRefusal::RateTooHigh);
    assert_eq!(session.restart().keep_segments, 0);

    let mut session = Session::new(1000);
    session.push(&stream(&[60; 5], 3900, |_| true));
    assert_eq!(session.restart, None);
    let mut faster = Vec::new();
    for at in 300..900_i64 {
        let pts = 90_000 + at * 3000;
        faster.extend(if at % 60 == 0 {
            sample::keyframe(pts, 5500)
        } else {
            sample::frame(pts, 5500)
        });
    }
    session.push(&faster);
    assert_eq!(session.restart().reason, CopyRefusal::RateTooHigh);
    assert!(session.restart().keep_segments >= 5);
}

#[test]
fn once_refused_a_publisher_is_encoded_also_after_a_new_head() {
    let mut session = Session::run(&[150]);
    assert_eq!(session.rule.top_rung(), TopRung::Encoded);
    assert_eq!(session.rule.refusal(), Some(CopyRefusal::GopTooLong));
    session.inspector.begin_new_head();
    session.push(&stream(&[60, 60, 60], 400, |_| true));
    assert_eq!(session.rule.top_rung(), TopRung::Encoded);
}

#[test]
fn nothing_is_kept_while_every_rung_is_encoded_and_a_bounded_amount_before_any_encoder_runs() {
    let mut rule = CopyRule::new(8000);
    let keyframe = SourceEvent::Keyframe(Keyframe {
        time: 0,
        gop: None,
        closed: true,
        can_begin: true,
        video_bytes: 0,
    });
    let media = SourceEvent::Media(Bytes::from(vec![0; 1 << 20]));
    rule.observe(&keyframe);
    for _ in 0..20 {
        rule.observe(&media);
        assert!(rule.kept_bytes().len() <= MAX_KEPT);
    }
    assert!(
        rule.kept_bytes().is_empty(),
        "what is kept begins with a keyframe"
    );
    rule.observe(&keyframe);
    rule.observe(&media);
    assert_eq!(rule.kept_bytes().len(), 1 << 20);

    assert_eq!(rule.started(&plan(TopRung::Encoded)).len(), 1);
    rule.observe(&media);
    assert!(rule.kept_bytes().is_empty());
}

/// A keyframe that ends a GOP of 2 s, and 1 MiB of media that says which it was.
fn mebibyte(rule: &mut CopyRule, number: u8, closed: bool) {
    let keyframe = Keyframe {
        time: i64::from(number) * 2 * SECOND,
        gop: (number > 0).then_some(2 * SECOND),
        closed,
        can_begin: true,
        video_bytes: 1 << 20,
    };
    rule.observe(&SourceEvent::Keyframe(keyframe));
    more(rule, number);
}

fn more(rule: &mut CopyRule, number: u8) {
    rule.observe(&SourceEvent::Media(Bytes::from(vec![number; 1 << 20])));
}

#[test]
fn a_head_too_long_to_keep_begins_at_a_later_cut_and_says_how_much_later() {
    let mut rule = CopyRule::new(100_000);
    for number in 0..8 {
        mebibyte(&mut rule, number, true);
    }
    assert_eq!(rule.dropped(), Duration::ZERO);
    mebibyte(&mut rule, 8, true);
    mebibyte(&mut rule, 9, true);
    assert_eq!(rule.dropped(), Duration::from_secs(16));
    let head = rule.started(&plan(TopRung::Copied));
    let numbers: Vec<_> = head.iter().map(|media| media[0]).collect();
    assert_eq!(numbers, [8, 9]);
}

#[test]
fn a_refused_source_that_is_too_long_to_keep_begins_at_a_keyframe_too() {
    let mut rule = CopyRule::new(100_000);
    for number in 0..10 {
        mebibyte(&mut rule, number, false);
    }
    assert_eq!(rule.refusal(), Some(CopyRefusal::OpenGop));
    assert!(rule.has_head());
    assert_eq!(rule.dropped(), Duration::from_secs(16));
    let head = rule.started(&plan(TopRung::Encoded));
    assert_eq!(head[0][0], 8);
}

#[test]
fn a_gop_too_long_to_keep_is_no_head_and_the_next_keyframe_begins_one() {
    let mut rule = CopyRule::new(100_000);
    mebibyte(&mut rule, 0, true);
    for _ in 0..8 {
        more(&mut rule, 0);
    }
    assert!(!rule.has_head(), "an encoder would begin in mid-GOP");
    mebibyte(&mut rule, 9, true);
    assert!(rule.has_head());
    assert_eq!(rule.dropped(), Duration::from_secs(18));
}
