//! A segment's name is its identity: written once, the same URI in every playlist that lists it,
//! and enough to rebuild a playlist from a bucket listing alone.
//!
//! `{rung}/{broadcast}-{epoch}-{msn}-{start_ms}-{duration_ms}[-d].ts`, relative to the stream's
//! folder; `d` says that a discontinuity precedes it. Epoch and number are written with leading
//! zeros: S3 lists names in the order of their bytes, and so a broadcast's in the order in which
//! they were written, from any of them on.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::rung::Rung;

/// Bits of a UUIDv7 that are its time in ms (RFC 9562 section 5.7).
const TAG_BITS: u32 = 48;
/// Publishers come and go less often than a million times in one broadcast.
const EPOCH_DIGITS: usize = 6;
/// Sixty years of segments of 2 s.
const MSN_DIGITS: usize = 9;

/// A broadcast's short form: the 48-bit millisecond of its UUIDv7, unique within a stream because a
/// stream starts one broadcast at a time. Later broadcasts are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BroadcastTag(u64);

/// The identity of a stored segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentName {
    /// The rendition.
    pub rung: Rung,
    /// The broadcast.
    pub broadcast: BroadcastTag,
    /// The epoch of the transcoder that wrote it; the highest wins a number.
    pub epoch: u64,
    /// Media sequence number.
    pub msn: u64,
    /// PROGRAM-DATE-TIME of its first frame, Unix ms, not negative.
    pub start_ms: i64,
    /// Duration in ms.
    pub duration_ms: u32,
    /// Whether `#EXT-X-DISCONTINUITY` precedes it.
    pub discontinuity: bool,
}

/// The identity of a part, which is served from memory and never stored:
/// `{rung}/{broadcast}-{epoch}-{msn}.{part}.ts`. A segment's own name has its duration, which is not
/// known before its last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartName {
    /// The rendition.
    pub rung: Rung,
    /// The broadcast.
    pub broadcast: BroadcastTag,
    /// The epoch of the transcoder that serves it.
    pub epoch: u64,
    /// Media sequence number of its segment.
    pub msn: u64,
    /// Its number in the segment, from 0.
    pub part: u32,
}

/// The text is no segment name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a segment name: expected {{rung}}/{{broadcast}}-{{epoch}}-{{msn}}-{{start_ms}}-{{duration_ms}}[-d].ts"
)]
pub struct NameError;

impl From<Uuid> for BroadcastTag {
    fn from(broadcast_id: Uuid) -> Self {
        let (high, _) = broadcast_id.as_u64_pair();
        Self(high >> (u64::BITS - TAG_BITS))
    }
}

impl fmt::Display for BroadcastTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl FromStr for BroadcastTag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 12 || !text.bytes().all(lower_hex) {
            return Err(NameError);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| NameError)
    }
}

impl SegmentName {
    /// The name relative to the rendition's playlist: what the playlist lists.
    pub fn uri(&self) -> String {
        let mark = if self.discontinuity { "-d" } else { "" };
        format!(
            "{}-{:0EPOCH_DIGITS$}-{:0MSN_DIGITS$}-{}-{}{mark}.ts",
            self.broadcast, self.epoch, self.msn, self.start_ms, self.duration_ms
        )
    }

    /// Reads back [`SegmentName::uri`].
    pub fn from_uri(rung: Rung, uri: &str) -> Result<Self, NameError> {
        let stem = uri.strip_suffix(".ts").ok_or(NameError)?;
        let (stem, discontinuity) = match stem.strip_suffix("-d") {
            Some(stem) => (stem, true),
            None => (stem, false),
        };
        let mut fields = stem.split('-');
        let mut field = || fields.next().ok_or(NameError);
        let name = Self {
            rung,
            broadcast: field()?.parse()?,
            epoch: number(field()?, EPOCH_DIGITS)?,
            msn: number(field()?, MSN_DIGITS)?,
            start_ms: number(field()?, 1)?,
            duration_ms: number(field()?, 1)?,
            discontinuity,
        };
        match fields.next() {
            None => Ok(name),
            Some(_) => Err(NameError),
        }
    }
}

impl PartName {
    /// The name relative to the rendition's playlist.
    pub fn uri(&self) -> String {
        format!(
            "{}-{:0EPOCH_DIGITS$}-{:0MSN_DIGITS$}.{}.ts",
            self.broadcast, self.epoch, self.msn, self.part
        )
    }

    /// Reads back [`PartName::uri`].
    pub fn from_uri(rung: Rung, uri: &str) -> Result<Self, NameError> {
        let stem = uri.strip_suffix(".ts").ok_or(NameError)?;
        let (stem, part) = stem.split_once('.').ok_or(NameError)?;
        let mut fields = stem.split('-');
        let mut field = || fields.next().ok_or(NameError);
        let name = Self {
            rung,
            broadcast: field()?.parse()?,
            epoch: number(field()?, EPOCH_DIGITS)?,
            msn: number(field()?, MSN_DIGITS)?,
            part: number(part, 1)?,
        };
        match fields.next() {
            None => Ok(name),
            Some(_) => Err(NameError),
        }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.rung, self.uri())
    }
}

impl FromStr for SegmentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (rung, uri) = text.split_once('/').ok_or(NameError)?;
        Self::from_uri(rung.parse().map_err(|_| NameError)?, uri)
    }
}

/// A decimal number with one spelling: no sign, and no zero in front beyond `digits`.
fn number<N: FromStr>(text: &str, digits: usize) -> Result<N, NameError> {
    let one_spelling = text.len() == digits || (text.len() > digits && !text.starts_with('0'));
    if !one_spelling || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NameError);
    }
    text.parse().map_err(|_| NameError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_name() -> impl Strategy<Value = SegmentName> {
        let rungs = [Rung::P1080, Rung::P720, Rung::P480, Rung::P360, Rung::Audio];
        (
            proptest::sample::select(rungs.to_vec()),
            0..1_u64 << TAG_BITS,
            any::<u64>(),
            any::<u64>(),
            0..=i64::MAX,
            any::<u32>(),
            any::<bool>(),
        )
            .prop_map(
                |(rung, tag, epoch, msn, start_ms, duration_ms, discontinuity)| SegmentName {
                    rung,
                    broadcast: BroadcastTag(tag),
                    epoch,
                    msn,
                    start_ms,
                    duration_ms,
                    discontinuity,
                },
            )
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_as_it_was_written(name in any_name()) {
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn a_parts_name_is_read_back_as_it_was_written_and_is_no_segments(
            SegmentName { rung, broadcast, epoch, msn, .. } in any_name(),
            part in any::<u32>(),
        ) {
            let name = PartName { rung, broadcast, epoch, msn, part };
            prop_assert_eq!(PartName::from_uri(rung, &name.uri()), Ok(name));
            prop_assert_eq!(SegmentName::from_uri(rung, &name.uri()), Err(NameError));
        }

        #[test]
        fn names_of_a_broadcast_sort_by_epoch_and_number(
            name in any_name(),
            other in any_name(),
            epochs in [0..10_u64.pow(6), 0..20],
            numbers in [0..10_u64.pow(9), 0..200],
        ) {
            let [one, two] = [0, 1].map(|which| SegmentName {
                broadcast: name.broadcast,
                epoch: epochs[which],
                msn: numbers[which],
                ..[name, other][which]
            });
            prop_assume!((one.epoch, one.msn) != (two.epoch, two.msn));
            prop_assert_eq!(
                (one.epoch, one.msn).cmp(&(two.epoch, two.msn)),
                one.uri().cmp(&two.uri())
            );
        }

        #[test]
        fn whatever_is_accepted_has_one_spelling(text in "(1080p|audio|9p)/[0-9a-f]{11,13}-[0-9+]{5,7}-[0-9+]{8,10}(-[0-9+]{1,4}){1,3}(-d)?\\.ts") {
            if let Ok(name) = text.parse::<SegmentName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn arbitrary_text_is_refused_without_panic(text in any::<String>()) {
            let _ = text.parse::<SegmentName>();
        }
    }

    #[test]
    fn a_later_broadcast_has_a_greater_tag() {
        let earlier = Uuid::parse_str("01932c07-0000-7000-8000-000000000000");
        let later = Uuid::parse_str("01932c08-0000-7000-8000-000000000000");
        let tag = |id: Result<Uuid, _>| id.map(BroadcastTag::from).ok();
        assert!(tag(earlier) < tag(later));
        assert_eq!(
            tag(Uuid::parse_str("01932c08-1234-7000-8000-000000000000")).map(|t| t.to_string()),
            Some("01932c081234".to_owned())
        );
    }
}
