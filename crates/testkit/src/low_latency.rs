//! A low-latency client's view of one rendition: it reads playlists as they come, whole or as delta
//! updates, and panics at what RFC 8216bis does not allow.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

/// Hundred-thousandths of a second, the resolution of part durations.
const UNITS_A_S: u64 = 100_000;
/// Longest distance from the end at which parts are still listed, in target durations.
const PARTS_LISTED: u64 = 3;

/// A playlist, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playlist {
    /// `EXT-X-TARGETDURATION`, seconds.
    pub target_s: u64,
    /// `PART-TARGET` in 10 µs.
    pub part_target: u64,
    /// `PART-HOLD-BACK` in 10 µs.
    pub part_hold_back: u64,
    /// `CAN-SKIP-UNTIL` in 10 µs.
    pub can_skip_until: u64,
    /// Number of the first segment, skipped or not.
    pub media_sequence: u64,
    /// Discontinuity number before the first segment.
    pub discontinuity_sequence: u64,
    /// `SKIPPED-SEGMENTS`.
    pub skipped: usize,
    /// Whole segments, oldest first.
    pub segments: Vec<Segment>,
    /// Parts of the segment that is growing; its other fields but the URI are set, too.
    pub open: Segment,
    /// URI of the part that comes next.
    pub hint: Option<String>,
    /// The other renditions: URI, last segment, last part.
    pub reports: Vec<(String, u64, Option<u64>)>,
    /// `EXT-X-ENDLIST`.
    pub ended: bool,
}

/// A segment as listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Relative to the playlist.
    pub uri: String,
    /// `EXTINF` in 10 µs.
    pub duration: u64,
    /// Whether a discontinuity precedes it.
    pub discontinuity: bool,
    /// Whether it is missing.
    pub gap: bool,
    /// `EXT-X-PROGRAM-DATE-TIME`, as written.
    pub date: Option<String>,
    /// Its parts, while they are listed.
    pub parts: Vec<Part>,
}

/// A part as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Relative to the playlist.
    pub uri: String,
    /// In 10 µs.
    pub duration: u64,
    /// Whether it has a keyframe.
    pub independent: bool,
    /// Whether it is missing.
    pub gap: bool,
}

impl Playlist {
    /// Reads a text; panics at any line that our edge has no reason to write.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("#EXTM3U"));
        let mut playlist = Self::default();
        let mut next = Segment::default();
        for line in lines {
            assert!(!playlist.ended, "{line} after EXT-X-ENDLIST");
            let Some(tag) = line.strip_prefix('#') else {
                let mut whole = std::mem::take(&mut next);
                line.clone_into(&mut whole.uri);
                playlist.segments.push(whole);
                continue;
            };
            let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
            let attributes = || attributes(value);
            match name {
                "EXT-X-VERSION" => assert!(number(value) >= 9, "{line}"),
                "EXT-X-INDEPENDENT-SEGMENTS" => {}
                "EXT-X-TARGETDURATION" => playlist.target_s = number(value),
                "EXT-X-MEDIA-SEQUENCE" => playlist.media_sequence = number(value),
                "EXT-X-DISCONTINUITY-SEQUENCE" => playlist.discontinuity_sequence = number(value),
                "EXT-X-SERVER-CONTROL" => {
                    let control = attributes();
                    assert_eq!(control["CAN-BLOCK-RELOAD"], "YES");
                    playlist.can_skip_until = decimal(control["CAN-SKIP-UNTIL"]);
                    playlist.part_hold_back = decimal(control["PART-HOLD-BACK"]);
                }
                "EXT-X-PART-INF" => playlist.part_target = decimal(attributes()["PART-TARGET"]),
                "EXT-X-SKIP" => {
                    let skipped = number(attributes()["SKIPPED-SEGMENTS"]);
                    playlist.skipped = usize::try_from(skipped).expect("some segments");
                    assert!(playlist.segments.is_empty() && next == Segment::default());
                }
                "EXT-X-DISCONTINUITY" => next.discontinuity = true,
                "EXT-X-GAP" => next.gap = true,
                "EXT-X-PROGRAM-DATE-TIME" => next.date = Some(value.to_owned()),
                "EXTINF" => next.duration = decimal(value.trim_end_matches(',')),
                "EXT-X-PART" => next.parts.push(part(&attributes())),
                "EXT-X-PRELOAD-HINT" => {
                    let hint = attributes();
                    assert_eq!(hint["TYPE"], "PART");
                    playlist.hint = Some(hint["URI"].to_owned());
                }
                "EXT-X-RENDITION-REPORT" => {
                    let report = attributes();
                    let part = report.get("LAST-PART").map(|part| number(part));
                    let uri = report["URI"].to_owned();
                    playlist
                        .reports
                        .push((uri, number(report["LAST-MSN"]), part));
                }
                "EXT-X-ENDLIST" => playlist.ended = true,
                _ => panic!("{line} is nothing that the edge writes"),
            }
        }
        playlist.open = next;
        playlist
    }

    /// Number of the newest whole segment; one below the first where there is none.
    pub fn last_msn(&self) -> u64 {
        self.media_sequence + (self.skipped + self.segments.len()) as u64 - 1
    }

    /// What a client asks for next: the number of the growing segment, and of its next part.
    pub fn next(&self) -> (u64, u64) {
        (self.last_msn() + 1, self.open.parts.len() as u64)
    }
}

/// A client that keeps what it was told.
#[derive(Debug, Default)]
pub struct Client {
    /// URI and discontinuity number of everything it was ever told, by number.
    told: BTreeMap<u64, (String, u64)>,
    last: Option<Playlist>,
}

impl Client {
    /// Reads a playlist that follows those before; what it says, with what it skips filled in.
    pub fn read(&mut self, text: &str) -> Playlist {
        let read = Playlist::parse(text);
        self.check_head(&read);
        let whole = self.fill_in(read);
        check_parts(&whole);
        self.check_meaning(&whole);
        self.check_hint(&whole);
        self.last = Some(whole.clone());
        whole
    }

    /// The playlist so far.
    pub fn last(&self) -> &Playlist {
        self.last.as_ref().expect("something was read")
    }

    fn check_head(&self, read: &Playlist) {
        assert!(read.target_s > 0 && read.part_target > 0);
        assert!(read.can_skip_until >= 6 * read.target_s * UNITS_A_S);
        assert!(read.part_hold_back >= 3 * read.part_target);
        let Some(last) = &self.last else { return };
        assert_eq!(read.target_s, last.target_s, "TARGETDURATION changed");
        assert_eq!(read.part_target, last.part_target, "PART-TARGET changed");
        assert!(
            read.media_sequence >= last.media_sequence,
            "numbers went back"
        );
        assert!(read.discontinuity_sequence >= last.discontinuity_sequence);
        assert!(
            read.last_msn() >= last.last_msn(),
            "segments were taken back"
        );
        assert!(read.next() >= last.next(), "parts were taken back");
        assert!(!last.ended || read.ended, "it ended before");
    }

    fn fill_in(&self, mut read: Playlist) -> Playlist {
        if read.skipped == 0 {
            return read;
        }
        let last = self
            .last
            .as_ref()
            .expect("a delta update needs a playlist before it");
        let first = read.media_sequence - last.media_sequence;
        let first = usize::try_from(first).expect("some segments");
        let known = last.segments.get(first..first + read.skipped);
        let mut segments = known.expect("all that is skipped is known").to_vec();
        // Skipped segments are old: their parts are not listed any more.
        for segment in &mut segments {
            segment.parts.clear();
        }
        let after: u64 = read.segments.iter().map(|segment| segment.duration).sum();
        let open: u64 = read.open.parts.iter().map(|part| part.duration).sum();
        assert!(
            after + open + 1_000 >= read.can_skip_until,
            "too much is skipped"
        );
        segments.append(&mut read.segments);
        Playlist {
            skipped: 0,
            segments,
            ..read
        }
    }

    fn check_meaning(&mut self, whole: &Playlist) {
        let mut discontinuity = whole.discontinuity_sequence;
        for (msn, segment) in (whole.media_sequence..).zip(&whole.segments) {
            discontinuity += u64::from(segment.discontinuity);
            let now = (segment.uri.clone(), discontinuity);
            let before = self.told.entry(msn).or_insert_with(|| now.clone());
            assert_eq!(*before, now, "number {msn} changed its meaning");
        }
    }

    fn check_hint(&mut self, whole: &Playlist) {
        let listed = whole.segments.iter().flat_map(|segment| &segment.parts);
        let listed: Vec<_> = listed
            .chain(&whole.open.parts)
            .map(|part| &part.uri)
            .collect();
        if let Some(hint) = &whole.hint {
            assert!(!whole.ended, "a part is announced after the end");
            assert!(!listed.contains(&hint), "{hint} is listed already");
        }
        // A part that came was announced under this name, but where another epoch began.
        let epoch = |uri: &str| uri.rsplit_once('-').map(|(epoch, _)| epoch.to_owned());
        if let (Some(last), Some(new)) = (&self.last, whole.open.parts.last())
            && let Some(hint) = &last.hint
            && epoch(hint) == epoch(&new.uri)
            && whole.next() == (last.next().0, last.next().1 + 1)
        {
            assert_eq!(hint, &new.uri, "another part was announced");
        }
    }
}

/// Sections 4.4.3.7 and 4.4.4.9.
fn check_parts(playlist: &Playlist) {
    let target = playlist.part_target;
    let open: u64 = playlist.open.parts.iter().map(|part| part.duration).sum();
    let mut from_end = open;
    let segments = playlist.segments.iter().rev();
    for (place, segment) in std::iter::once(&playlist.open).chain(segments).enumerate() {
        let is_whole = place > 0;
        for (number, part) in segment.parts.iter().enumerate() {
            assert!(
                part.duration <= target,
                "{part:?} is above the target of {target}"
            );
            let may_be_short = part.independent || part.gap || number + 1 == segment.parts.len();
            assert!(
                may_be_short || part.duration * 100 >= target * 85,
                "{part:?} is short for a target of {target}"
            );
        }
        if is_whole {
            let rounded = (segment.duration + UNITS_A_S / 2) / UNITS_A_S;
            assert!(
                rounded <= playlist.target_s,
                "{segment:?} is above the target"
            );
            let listed = from_end <= PARTS_LISTED * playlist.target_s * UNITS_A_S;
            assert!(
                segment.parts.is_empty() || listed,
                "{segment:?} is too old for parts"
            );
            from_end += segment.duration;
        }
    }
}

fn part(attributes: &BTreeMap<&str, &str>) -> Part {
    Part {
        uri: attributes["URI"].to_owned(),
        duration: decimal(attributes["DURATION"]),
        independent: attributes.get("INDEPENDENT") == Some(&"YES"),
        gap: attributes.get("GAP") == Some(&"YES"),
    }
}

/// None of ours has a comma in a quoted value.
fn attributes(list: &str) -> BTreeMap<&str, &str> {
    list.split(',')
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("NAME=VALUE");
            (name, value.trim_matches('"'))
        })
        .collect()
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// Seconds with up to five decimals, in 10 µs.
fn decimal(text: &str) -> u64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    number(whole) * UNITS_A_S + number(&format!("{fraction:0<5}"))
}
