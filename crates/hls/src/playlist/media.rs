//! Media playlists.

use std::fmt::Write as _;

use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use super::{PlaylistError, VERSION, check_length};
use crate::name::SegmentName;

/// `EXT-X-TARGETDURATION`. Segments are cut so that they round to at most this; it must not change
/// in a playlist's life (RFC 8216 section 6.2.1).
pub const TARGET_DURATION_S: u32 = 2;
/// Dates are repeated at this distance: a date on each of 3,600 segments costs 340 KB.
const DATE_INTERVAL_MS: i64 = 60_000;

/// A media playlist. Numbers of the entries are consecutive from `media_sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// `EXT-X-TARGETDURATION`, seconds.
    pub target_duration_s: u32,
    /// Number of the first entry.
    pub media_sequence: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`: discontinuities before the first entry's own tag.
    pub discontinuity_sequence: u64,
    /// What is listed, oldest first.
    pub entries: Vec<Entry>,
    /// Whether `EXT-X-ENDLIST` closes it.
    pub ended: bool,
}

/// A segment in a media playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Media sequence number.
    pub msn: u64,
    /// URI relative to the playlist.
    pub uri: String,
    /// `EXTINF` in ms.
    pub duration_ms: u32,
    /// Whether `EXT-X-DISCONTINUITY` precedes it.
    pub discontinuity: bool,
    /// Whether it is missing (`EXT-X-GAP`).
    pub gap: bool,
    /// Date of its first frame, Unix ms.
    pub start_ms: i64,
}

impl Entry {
    /// The entry of a stored segment.
    pub fn stored(name: &SegmentName) -> Self {
        Self {
            msn: name.msn,
            uri: name.uri(),
            duration_ms: name.duration_ms,
            discontinuity: name.discontinuity,
            gap: false,
            start_ms: name.start_ms,
        }
    }

    /// Date of its end, Unix ms.
    pub fn end_ms(&self) -> i64 {
        self.start_ms.saturating_add(self.duration_ms.into())
    }

    /// Writes the tags that stand before everything else of a segment.
    pub(super) fn write_start(&self, dates: &mut DateMarks, text: &mut String) {
        if self.discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if dates.needed(self) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", date(self.start_ms));
        }
    }

    /// Writes the tags that a whole segment ends with, and its URI.
    pub(super) fn write_end(&self, text: &mut String) {
        if self.gap {
            text.push_str("#EXT-X-GAP\n");
        }
        let (seconds, millis) = (self.duration_ms / 1000, self.duration_ms % 1000);
        let _ = writeln!(text, "#EXTINF:{seconds}.{millis:03},\n{}", self.uri);
    }
}

impl MediaPlaylist {
    /// The text. A date stands on the first entry, after each discontinuity, where the dates of
    /// neighbours do not follow from their durations, and on the first that starts in a minute.
    pub fn write(&self) -> String {
        let mut text = String::with_capacity(256 + 80 * self.entries.len());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{}\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MEDIA-SEQUENCE:{}\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
            self.target_duration_s, self.media_sequence, self.discontinuity_sequence
        );
        let mut dates = DateMarks::default();
        for entry in &self.entries {
            entry.write_start(&mut dates, &mut text);
            entry.write_end(&mut text);
        }
        if self.ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        text
    }

    /// Reads back what [`MediaPlaylist::write`] wrote.
    pub fn parse(text: &str) -> Result<Self, PlaylistError> {
        check_length(text)?;
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.line(index, line).map_err(|problem| PlaylistError {
                line: index + 1,
                problem,
            })?;
        }
        reader.finish()
    }
}

/// Decides which entries carry a date: the same in all versions of a playlist, but that the first
/// one always does.
#[derive(Default)]
pub(super) struct DateMarks {
    previous: Option<(i64, i64)>,
}

impl DateMarks {
    pub fn needed(&mut self, entry: &Entry) -> bool {
        let minute = |start_ms: i64| start_ms.div_euclid(DATE_INTERVAL_MS);
        let follows = |(start_ms, end_ms): (i64, i64)| {
            end_ms == entry.start_ms && minute(start_ms) == minute(entry.start_ms)
        };
        let previous = self.previous.replace((entry.start_ms, entry.end_ms()));
        entry.discontinuity || !previous.is_some_and(follows)
    }
}

/// `2026-11-21T03:22:21.040Z`; dates beyond the calendar are brought to its ends.
fn date(unix_ms: i64) -> String {
    const MAX_MS: i64 = 253_402_300_799_999;
    let nanos = i128::from(unix_ms.clamp(0, MAX_MS)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| {
            time.format(format_description!(
                "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
            ))
            .ok()
        })
        .unwrap_or_default()
}

#[derive(Default)]
struct Reader {
    target_duration_s: Option<u32>,
    media_sequence: Option<u64>,
    discontinuity_sequence: u64,
    entries: Vec<Entry>,
    ended: bool,
    next: Pending,
}

/// Tags that wait for their URI.
#[derive(Default)]
struct Pending {
    duration_ms: Option<u32>,
    discontinuity: bool,
    gap: bool,
    start_ms: Option<i64>,
}

impl Reader {
    fn line(&mut self, index: usize, line: &str) -> Result<(), &'static str> {
        if index == 0 {
            return (line == "#EXTM3U").then_some(()).ok_or("expected #EXTM3U");
        }
        if self.ended {
            return Err("nothing may follow EXT-X-ENDLIST");
        }
        let Some(tag) = line.strip_prefix('#') else {
            return self.uri(line);
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXT-X-VERSION" | "EXT-X-INDEPENDENT-SEGMENTS" => {}
            "EXT-X-TARGETDURATION" => self.target_duration_s = Some(number(value)?),
            "EXT-X-MEDIA-SEQUENCE" => self.media_sequence = Some(number(value)?),
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence = number(value)?,
            "EXT-X-DISCONTINUITY" => self.next.discontinuity = true,
            "EXT-X-GAP" => self.next.gap = true,
            "EXT-X-PROGRAM-DATE-TIME" => self.next.start_ms = Some(unix_ms(value)?),
            "EXTINF" => self.next.duration_ms = Some(duration_ms(value)?),
            "EXT-X-ENDLIST" => self.ended = true,
            _ => return Err("a tag that we never write"),
        }
        Ok(())
    }

    fn uri(&mut self, uri: &str) -> Result<(), &'static str> {
        if uri.is_empty() {
            return Err("an empty line");
        }
        let first = self
            .media_sequence
            .ok_or("a segment before EXT-X-MEDIA-SEQUENCE")?;
        let msn = first
            .checked_add(self.entries.len() as u64)
            .ok_or("a media sequence number beyond 64 bits")?;
        let pending = std::mem::take(&mut self.next);
        let start_ms = pending
            .start_ms
            .or_else(|| self.entries.last().map(Entry::end_ms))
            .ok_or("the first segment has no date")?;
        self.entries.push(Entry {
            msn,
            uri: uri.to_owned(),
            duration_ms: pending.duration_ms.ok_or("a segment without EXTINF")?,
            discontinuity: pending.discontinuity,
            gap: pending.gap,
            start_ms,
        });
        Ok(())
    }

    fn finish(self) -> Result<MediaPlaylist, PlaylistError> {
        let missing = |problem| PlaylistError { line: 0, problem };
        Ok(MediaPlaylist {
            target_duration_s: self
                .target_duration_s
                .ok_or(missing("no EXT-X-TARGETDURATION"))?,
            media_sequence: self
                .media_sequence
                .ok_or(missing("no EXT-X-MEDIA-SEQUENCE"))?,
            discontinuity_sequence: self.discontinuity_sequence,
            entries: self.entries,
            ended: self.ended,
        })
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, &'static str> {
    text.parse().map_err(|_| "not a number")
}

/// `SECONDS.MMM,` as we write it.
fn duration_ms(value: &str) -> Result<u32, &'static str> {
    let problem = "expected EXTINF:SECONDS.MMM,";
    let (seconds, millis) = value
        .strip_suffix(',')
        .and_then(|value| value.split_once('.'))
        .ok_or(problem)?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if millis.len() != 3 || !digits(millis) || !digits(seconds) {
        return Err(problem);
    }
    let seconds: u32 = number(seconds)?;
    let millis: u32 = number(millis)?;
    seconds
        .checked_mul(1000)
        .and_then(|ms| ms.checked_add(millis))
        .ok_or(problem)
}

fn unix_ms(value: &str) -> Result<i64, &'static str> {
    let time = OffsetDateTime::parse(value, &Rfc3339).map_err(|_| "not an RFC 3339 date")?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|_| "a date out of range")
}
