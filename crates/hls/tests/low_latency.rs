//! Low-latency playlists over a broadcast's life, read as a client reads them: a number never changes
//! its meaning, a delta update says what the whole playlist says, and what is announced comes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test stops at what it does not expect"
)]

use std::time::Duration;

use marquee_hls::{
    BroadcastTag, Entry, LiveRendition, Part, PartTarget, Position, Reload, RenditionTimeline,
    Report, Rung, SegmentName,
};
use marquee_testkit::low_latency::{Client, Playlist};
use proptest::prelude::*;
use uuid::Uuid;

const DVR: Duration = Duration::from_mins(1);

fn tag() -> BroadcastTag {
    Uuid::parse_str("01932c07-1234-7000-8000-000000000000")
        .unwrap()
        .into()
}

/// What happens to a rendition.
#[derive(Clone, Debug)]
enum Step {
    /// So many parts come, and with `whole` the segment is whole then.
    Parts { count: u32, whole: bool },
    /// The growing segment turns out to be missing, or the next number has nothing at all.
    Gap,
    /// The run ends, and the next one begins so much later; a number that was growing is a gap.
    Restart { pause_ms: i64 },
    /// Another process goes on so many numbers later.
    TakeOver { numbers: u64, pause_ms: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1_u32..11, any::<bool>()).prop_map(|(count, whole)| Step::Parts { count, whole }),
        1 => Just(Step::Gap),
        1 => (0_i64..20_000).prop_map(|pause_ms| Step::Restart { pause_ms }),
        1 => (0_u64..12, 0_i64..40_000)
            .prop_map(|(numbers, pause_ms)| Step::TakeOver { numbers, pause_ms }),
    ]
}

struct Broadcast {
    live: LiveRendition,
    timeline: RenditionTimeline,
    epoch: u64,
    next_msn: u64,
    growing_ms: u32,
    clock_ms: i64,
    discontinuous: bool,
}

impl Broadcast {
    fn new() -> Self {
        let timeline = RenditionTimeline::new(Rung::P720, tag(), 7);
        Self {
            live: live(timeline.clone()),
            timeline,
            epoch: 1,
            next_msn: 1,
            growing_ms: 0,
            clock_ms: 1_763_692_800_000,
            discontinuous: false,
        }
    }

    fn name(&self, duration_ms: u32) -> SegmentName {
        SegmentName {
            rung: Rung::P720,
            broadcast: tag(),
            epoch: self.epoch,
            msn: self.next_msn,
            start_ms: self.clock_ms,
            duration_ms,
            discontinuity: self.discontinuous,
        }
    }

    fn close(&mut self, gap: bool) {
        let duration_ms = self.growing_ms.max(100);
        let name = self.name(duration_ms);
        let entry = Entry {
            gap,
            ..Entry::stored(&name)
        };
        self.timeline.push(entry.clone());
        self.live.push_segment(entry);
        self.clock_ms += i64::from(duration_ms);
        self.next_msn += 1;
        self.growing_ms = 0;
        self.discontinuous = false;
    }

    fn begin_anew(&mut self, pause_ms: i64) {
        if self.growing_ms > 0 {
            self.close(true);
        }
        self.live.pause();
        self.clock_ms += pause_ms;
        self.discontinuous = self.timeline.last_msn().is_some();
    }

    /// Takes a step; `seen` is called with each state that a client may see.
    fn take(&mut self, step: &Step, mut seen: impl FnMut(&Self)) {
        match *step {
            Step::Parts { count, whole } => {
                for number in 0..count {
                    if self.growing_ms >= 2000 {
                        self.close(false);
                    }
                    let part = Part {
                        duration: 18_000,
                        independent: number == 0,
                        gap: false,
                    };
                    self.live.push_part(&self.name(0), part);
                    self.growing_ms += 200;
                    seen(self);
                }
                if whole {
                    self.close(false);
                }
            }
            Step::Gap => self.close(true),
            Step::Restart { pause_ms } => self.begin_anew(pause_ms),
            Step::TakeOver { numbers, pause_ms } => {
                self.begin_anew(pause_ms);
                self.epoch += 1;
                self.next_msn += numbers;
                self.timeline.forget_before(DVR);
                self.live = live(self.timeline.clone());
            }
        }
        seen(self);
    }

    fn is_listed(&self) -> bool {
        self.live.last().is_some()
    }
}

fn live(timeline: RenditionTimeline) -> LiveRendition {
    LiveRendition::new(Rung::P720, timeline, PartTarget::default(), DVR)
}

/// All but the dates, which stand where the version begins as well, and what a client knows better:
/// which of the skipped had parts.
fn content(mut playlist: Playlist) -> Playlist {
    for segment in playlist.segments.iter_mut().chain([&mut playlist.open]) {
        segment.date = None;
    }
    playlist
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_delta_update_on_the_playlist_before_is_the_whole_playlist(
        steps in prop::collection::vec(step(), 1..120),
        reads in prop::collection::vec(prop::bool::weighted(0.7), 1..60),
    ) {
        let mut broadcast = Broadcast::new();
        let (mut by_delta, mut by_whole) = (Client::default(), Client::default());
        let mut reads = reads.into_iter().cycle();
        let mut last_read_ms: Option<i64> = None;
        for step in &steps {
            broadcast.take(step, |broadcast| {
                if !broadcast.is_listed() || !reads.next().unwrap_or(true) {
                    return;
                }
                let whole = by_whole.read(&broadcast.live.write(&[], false));
                // A client asks for a delta only while what it has is young.
                let end_ms = broadcast.live.end_ms().unwrap();
                let is_young = last_read_ms.is_some_and(|read| end_ms - read < 6_000);
                last_read_ms = Some(end_ms);
                let delta = by_delta.read(&broadcast.live.write(&[], is_young));
                assert_eq!(content(delta), content(whole));
            });
        }
    }

    #[test]
    fn a_reload_is_answered_when_the_playlist_has_what_it_names(
        steps in prop::collection::vec(step(), 1..60),
        ahead in 0_u64..3,
        part in prop::option::of(0_u32..24),
    ) {
        let mut broadcast = Broadcast::new();
        for step in &steps {
            broadcast.take(step, |broadcast| {
                let Some(last) = broadcast.live.last() else { return };
                let playlist = Playlist::parse(&broadcast.live.write(&[], false));
                let msn = (last.msn + ahead).saturating_sub(1);
                let (next_msn, next_part) = playlist.next();
                let parts = |msn: u64| {
                    let place = msn.checked_sub(playlist.media_sequence)?;
                    let segment = playlist.segments.get(usize::try_from(place).ok()?)?;
                    Some(segment.parts.len() as u64)
                };
                let parts = |msn: u64| parts(msn).unwrap_or(0);
                let has = match part.map(u64::from) {
                    None => msn < next_msn,
                    // Past the last part of a whole segment: the first of the next one.
                    Some(part) if msn + 1 == next_msn && part >= parts(msn) => next_part > 0,
                    Some(part) => msn < next_msn || (msn == next_msn && part < next_part),
                };
                match broadcast.live.reload(msn, part) {
                    Reload::Now => assert!(has, "{msn} {part:?} is not in the playlist"),
                    Reload::Later => assert!(!has, "{msn} {part:?} is in the playlist"),
                    Reload::TooFar => assert!(part.is_some_and(|part| part >= 15)),
                }
                assert_eq!(broadcast.live.reload(last.msn + 3, None), Reload::TooFar);
            });
        }
    }
}

#[test]
fn reports_hints_and_the_end_are_written_as_a_client_reads_them() {
    let mut broadcast = Broadcast::new();
    let parts = Step::Parts {
        count: 13,
        whole: false,
    };
    broadcast.take(&parts, |_| {});
    let reports = [Report {
        rung: Rung::P360,
        last: Position {
            msn: 2,
            part: Some(1),
        },
    }];
    let mut client = Client::default();
    let playlist = client.read(&broadcast.live.write(&reports, false));
    assert_eq!(playlist.next(), (2, 3));
    assert_eq!(
        playlist.reports,
        [("../360p/playlist.m3u8".to_owned(), 2, Some(1))]
    );
    let hint = broadcast.live.hint().unwrap();
    assert_eq!((hint.msn, hint.part), (2, 3));
    assert_eq!(playlist.hint, Some(hint.uri()));

    broadcast.begin_anew(0);
    let paused = client.read(&broadcast.live.write(&reports, false));
    assert_eq!(paused.hint, None, "nothing comes for now");
    let missing = &paused.segments[1];
    assert!(missing.gap && missing.parts.len() == 3);
    assert!(
        missing.parts.iter().all(|part| part.gap),
        "parts of a gap are offered: {missing:?}"
    );
    broadcast.live.end();
    let ended = client.read(&broadcast.live.write(&reports, false));
    assert!(ended.ended && ended.reports.is_empty());
}

#[test]
fn the_window_does_not_go_back_when_a_filled_hole_is_longer_than_the_time_that_passed() {
    let parts = |count, whole| Step::Parts { count, whole };
    let mut steps = vec![parts(10, true); 30];
    steps.push(parts(7, true));
    // Twelve numbers that took no time: their gaps reach past the short segment that follows.
    steps.push(Step::TakeOver {
        numbers: 12,
        pause_ms: 0,
    });
    steps.push(parts(1, true));
    let mut broadcast = Broadcast::new();
    let mut client = Client::default();
    for step in &steps {
        broadcast.take(step, |broadcast| {
            if broadcast.is_listed() {
                client.read(&broadcast.live.write(&[], false));
            }
        });
    }
}

#[test]
fn parts_of_a_number_that_is_listed_are_ignored() {
    let mut broadcast = Broadcast::new();
    broadcast.take(
        &Step::Parts {
            count: 10,
            whole: true,
        },
        |_| {},
    );
    let before = broadcast.live.write(&[], false);
    let late = SegmentName {
        msn: 1,
        ..broadcast.name(0)
    };
    let part = Part {
        duration: 18_000,
        independent: true,
        gap: false,
    };
    broadcast.live.push_part(&late, part);
    assert_eq!(broadcast.live.write(&[], false), before);
}
