//! Playlists over a broadcast's whole life: what was announced once is never changed, whoever
//! writes the next version, and other people's parsers read what we write.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, time::Duration};

use marquee_hls::{
    BroadcastTag, Entry, MasterPlaylist, MediaPlaylist, RenditionTimeline, Rung, SegmentName,
    Variant,
};
use proptest::prelude::*;
use uuid::Uuid;

const DVR: Duration = Duration::from_mins(1);

fn tag() -> BroadcastTag {
    Uuid::parse_str("01932c07-1234-7000-8000-000000000000")
        .unwrap()
        .into()
}

/// Everything any player was ever told, checked against each new version.
#[derive(Default)]
struct Audience {
    told: BTreeMap<u64, (String, u64)>,
    media_sequence: u64,
    discontinuity_sequence: u64,
}

impl Audience {
    fn reload(&mut self, playlist: &MediaPlaylist) {
        assert!(
            playlist.media_sequence >= self.media_sequence,
            "MEDIA-SEQUENCE went back"
        );
        assert!(
            playlist.discontinuity_sequence >= self.discontinuity_sequence,
            "DISCONTINUITY-SEQUENCE went back"
        );
        self.media_sequence = playlist.media_sequence;
        self.discontinuity_sequence = playlist.discontinuity_sequence;
        let mut number = playlist.discontinuity_sequence;
        for (entry, msn) in playlist.entries.iter().zip(playlist.media_sequence..) {
            assert_eq!(entry.msn, msn, "numbers are consecutive");
            number += u64::from(entry.discontinuity);
            let now = (entry.uri.clone(), number);
            let before = self.told.entry(msn).or_insert_with(|| now.clone());
            assert_eq!(*before, now, "number {msn} changed its meaning");
        }
    }
}

/// What a transcoder does in its life with a broadcast.
#[derive(Clone, Debug)]
enum Step {
    /// Stores a segment of so many ms and lists it.
    Store(u32),
    /// Lists the next number as lost.
    Lose(u32),
    /// Ends the ffmpeg run: the next segment is discontinuous, after a pause of so many ms.
    Restart(i64),
    /// Dies; a successor takes over so many numbers and ms later. Some names stored, but not yet
    /// listed, by the dead one.
    TakeOver {
        margin: u64,
        pause_ms: i64,
        unlisted: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (300_u32..2400).prop_map(Step::Store),
        1 => (300_u32..2400).prop_map(Step::Lose),
        1 => (0_i64..20_000).prop_map(Step::Restart),
        1 => (0_u64..12, 0_i64..60_000, 0_u64..3)
            .prop_map(|(margin, pause_ms, unlisted)| Step::TakeOver { margin, pause_ms, unlisted }),
    ]
}

struct Broadcast {
    timeline: RenditionTimeline,
    names: Vec<SegmentName>,
    published: Option<MediaPlaylist>,
    epoch: u64,
    next_msn: u64,
    clock_ms: i64,
    discontinuous: bool,
}

impl Broadcast {
    fn new() -> Self {
        Self {
            timeline: RenditionTimeline::new(Rung::P720, tag(), 7),
            names: Vec::new(),
            published: None,
            epoch: 1,
            next_msn: 1,
            clock_ms: 1_763_692_800_000,
            discontinuous: false,
        }
    }

    fn next_name(&mut self, duration_ms: u32) -> SegmentName {
        let name = SegmentName {
            rung: Rung::P720,
            broadcast: tag(),
            epoch: self.epoch,
            msn: self.next_msn,
            start_ms: self.clock_ms,
            duration_ms,
            discontinuity: std::mem::take(&mut self.discontinuous),
        };
        self.next_msn += 1;
        self.clock_ms += i64::from(duration_ms);
        name
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Store(duration_ms) => {
                let name = self.next_name(duration_ms);
                self.names.push(name);
                self.timeline.push(Entry::stored(&name));
            }
            Step::Lose(duration_ms) => {
                let name = self.next_name(duration_ms);
                self.timeline.push(Entry {
                    gap: true,
                    ..Entry::stored(&name)
                });
            }
            Step::Restart(pause_ms) => {
                self.clock_ms += pause_ms;
                self.discontinuous = self.timeline.last_msn().is_some();
            }
            Step::TakeOver {
                margin,
                pause_ms,
                unlisted,
            } => {
                for _ in 0..unlisted {
                    let name = self.next_name(2000);
                    self.names.push(name);
                }
                self.clock_ms += pause_ms;
                self.epoch += 1;
                let rebuilt = RenditionTimeline::rebuild(
                    Rung::P720,
                    tag(),
                    7,
                    self.names.iter().copied(),
                    self.published.as_ref(),
                );
                self.timeline = rebuilt;
                self.next_msn = self
                    .timeline
                    .last_msn()
                    .map_or(self.next_msn, |last| self.next_msn.max(last + 1))
                    + margin;
                self.discontinuous = self.timeline.last_msn().is_some();
            }
        }
    }

    fn publish(&mut self) -> Option<MediaPlaylist> {
        self.timeline.forget_before(DVR);
        let playlist = self.timeline.window(DVR);
        if playlist.entries.is_empty() {
            return None;
        }
        self.published = Some(playlist.clone());
        Some(playlist)
    }
}

proptest! {
    #[test]
    fn over_all_versions_a_number_keeps_one_uri_and_one_discontinuity_number(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut broadcast = Broadcast::new();
        let mut audience = Audience::default();
        for step in &steps {
            broadcast.take(step);
            if let Some(playlist) = broadcast.publish() {
                audience.reload(&playlist);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_written_the_same(
        steps in proptest::collection::vec(step(), 1..60),
        ended in any::<bool>(),
    ) {
        let mut broadcast = Broadcast::new();
        for step in &steps {
            broadcast.take(step);
        }
        if ended {
            broadcast.timeline.end();
        }
        if let Some(playlist) = broadcast.publish() {
            let text = playlist.write();
            let read = MediaPlaylist::parse(&text).unwrap();
            prop_assert_eq!(&read, &playlist);
            prop_assert_eq!(read.write(), text);
        }
    }

    #[test]
    fn an_independent_parser_reads_the_same_segments(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut broadcast = Broadcast::new();
        for step in &steps {
            broadcast.take(step);
        }
        if let Some(playlist) = broadcast.publish() {
            let theirs = m3u8_rs::parse_media_playlist_res(playlist.write().as_bytes()).unwrap();
            prop_assert_eq!(theirs.media_sequence, playlist.media_sequence);
            prop_assert_eq!(theirs.discontinuity_sequence, playlist.discontinuity_sequence);
            prop_assert_eq!(theirs.end_list, playlist.ended);
            prop_assert_eq!(theirs.segments.len(), playlist.entries.len());
            for (their, ours) in theirs.segments.iter().zip(&playlist.entries) {
                prop_assert_eq!(&their.uri, &ours.uri);
                prop_assert_eq!(their.discontinuity, ours.discontinuity);
                prop_assert!((f64::from(their.duration) * 1000.0 - f64::from(ours.duration_ms)).abs() < 1.0);
            }
        }
    }

    #[test]
    fn arbitrary_text_is_no_playlist_and_no_panic(text in "(#EXTM3U\n)?(#EXT[-A-Z:0-9.,=\"]{0,30}\n|[a-z0-9-]{0,20}\n){0,20}") {
        if let Ok(playlist) = MediaPlaylist::parse(&text) {
            let _ = playlist.write();
        }
        let _ = MasterPlaylist::parse(&text);
    }

    #[test]
    fn a_master_playlist_is_read_back_and_accepted_by_an_independent_parser(
        rates in proptest::collection::vec((1_u64..20_000_000, 0_u64..20_000_000, 1_u32..4000, 1_u32..240_000), 1..5),
    ) {
        let master = MasterPlaylist {
            variants: rates
                .iter()
                .map(|(bandwidth, average_bandwidth, height, fps_milli)| Variant {
                    uri: format!("{height}p/playlist.m3u8"),
                    bandwidth: *bandwidth,
                    average_bandwidth: *average_bandwidth,
                    codecs: "avc1.64001f,mp4a.40.2".into(),
                    resolution: Some((height * 16 / 9, *height)),
                    frame_rate: Some(f64::from(*fps_milli) / 1000.0),
                })
                .collect(),
        };
        let text = master.write();
        prop_assert_eq!(MasterPlaylist::parse(&text).unwrap(), master.clone());
        let theirs = m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap();
        prop_assert_eq!(theirs.variants.len(), master.variants.len());
        for (their, our) in theirs.variants.iter().zip(&master.variants) {
            prop_assert_eq!(their.bandwidth, our.bandwidth);
            prop_assert_eq!(&their.uri, &our.uri);
        }
    }
}

#[test]
fn a_successor_fills_what_may_have_been_announced_and_marks_one_discontinuity() {
    let mut broadcast = Broadcast::new();
    for _ in 0..16 {
        broadcast.take(&Step::Store(2000));
    }
    broadcast.publish();
    broadcast.take(&Step::TakeOver {
        margin: 6,
        pause_ms: 4800,
        unlisted: 0,
    });
    broadcast.take(&Step::Store(2000));
    let playlist = broadcast.publish().unwrap();
    let gaps: Vec<_> = playlist.entries.iter().filter(|entry| entry.gap).collect();
    assert_eq!(
        gaps.iter().map(|gap| gap.msn).collect::<Vec<_>>(),
        [17, 18, 19, 20, 21, 22]
    );
    assert!(
        gaps.iter().all(|gap| gap.duration_ms == 800),
        "the hole's real time, split evenly"
    );
    let marks: Vec<_> = playlist
        .entries
        .iter()
        .filter(|entry| entry.discontinuity)
        .collect();
    assert_eq!(
        marks.iter().map(|entry| entry.msn).collect::<Vec<_>>(),
        [23]
    );
}

#[test]
fn a_number_that_only_another_rendition_stored_is_a_gap_of_the_same_time() {
    let mut broadcast = Broadcast::new();
    for step in [
        Step::Store(2000),
        Step::Store(1900),
        Step::Restart(700),
        Step::Store(2100),
    ] {
        broadcast.take(&step);
    }
    let names = broadcast.names.clone();
    let low: Vec<_> = names
        .iter()
        .take(1)
        .map(|name| SegmentName {
            rung: Rung::P360,
            ..*name
        })
        .collect();
    let rebuild = |rung| {
        let all = names.iter().chain(&low).copied();
        RenditionTimeline::rebuild(rung, tag(), 7, all, None).window(DVR)
    };
    let (high, low) = (rebuild(Rung::P720), rebuild(Rung::P360));
    assert_eq!(high.entries.len(), 3);
    for (high, low) in high.entries.iter().zip(&low.entries) {
        assert_eq!(low.gap, low.msn > 1);
        assert_eq!(
            Entry {
                gap: false,
                ..low.clone()
            },
            *high
        );
    }
}

#[test]
fn a_playlist_reads_as_the_rfc_shows_it() {
    let mut broadcast = Broadcast::new();
    for step in [
        Step::Store(2000),
        Step::Lose(1900),
        Step::Restart(1000),
        Step::Store(2100),
    ] {
        broadcast.take(&step);
    }
    broadcast.timeline.end();
    let text = broadcast.publish().unwrap().write();
    assert_eq!(
        text,
        "#EXTM3U\n\
         #EXT-X-VERSION:8\n\
         #EXT-X-TARGETDURATION:2\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MEDIA-SEQUENCE:1\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:7\n\
         #EXT-X-PROGRAM-DATE-TIME:2025-11-21T02:40:00.000Z\n\
         #EXTINF:2.000,\n\
         01932c071234-000001-000000001-1763692800000-2000.ts\n\
         #EXT-X-GAP\n\
         #EXTINF:1.900,\n\
         01932c071234-000001-000000002-1763692802000-1900.ts\n\
         #EXT-X-DISCONTINUITY\n\
         #EXT-X-PROGRAM-DATE-TIME:2025-11-21T02:40:04.900Z\n\
         #EXTINF:2.100,\n\
         01932c071234-000001-000000003-1763692804900-2100-d.ts\n\
         #EXT-X-ENDLIST\n"
    );
}

#[test]
fn an_error_names_the_line() {
    let error = MediaPlaylist::parse("#EXTM3U\n#EXT-X-TARGETDURATION:two\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2: not a number");
}
