//! A rendition's whole life as one list: every published playlist is a window on it.
//!
//! What was listed once keeps its URI and its discontinuity number, over takeovers and rebuilds
//! too: players stop for good when a number changes its meaning. So numbers only rise here, holes
//! are filled by a pure function of their neighbours, and a successor starts from the names in
//! storage and from what its predecessor published last.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    name::{BroadcastTag, SegmentName},
    playlist::{Entry, MediaPlaylist, TARGET_DURATION_S},
    rung::Rung,
};

/// A window never lists fewer than this, however short it is (RFC 8216 section 6.2.2 asks for
/// three target durations).
const MIN_ENTRIES: usize = 3;
/// Bounds of a filled hole's entries, ms: short ones are skipped fast, none is above the target.
const GAP_MS: std::ops::RangeInclusive<i64> = 100..=TARGET_DURATION_S as i64 * 1000;
/// A hole above this is no takeover but a broken name; it is not filled but jumped over by a
/// timeline that begins anew behind it.
const MAX_HOLE: u64 = 10_000;

/// All listed segments of one rendition of one broadcast.
#[derive(Clone, Debug)]
pub struct RenditionTimeline {
    rung: Rung,
    broadcast: BroadcastTag,
    /// Discontinuity number before the first listed entry's own flag.
    discontinuity_seq_before: u64,
    listed: VecDeque<Listed>,
    /// Latest end of all that was ever listed: windows count back from here. The newest entry may
    /// end earlier, because a filled hole can be longer than the time that passed.
    latest_end_ms: i64,
    ended: bool,
}

#[derive(Clone, Debug)]
struct Listed {
    entry: Entry,
    discontinuity_number: u64,
}

impl RenditionTimeline {
    /// Nothing listed yet; the first segment will have this discontinuity number.
    pub fn new(rung: Rung, broadcast: BroadcastTag, discontinuity_seq_first: u64) -> Self {
        Self {
            rung,
            broadcast,
            discontinuity_seq_before: discontinuity_seq_first,
            listed: VecDeque::new(),
            latest_end_ms: i64::MIN,
            ended: false,
        }
    }

    /// The timeline as storage and the last published playlist tell it. `names` are those of all
    /// the broadcast's renditions; names of other broadcasts are passed over. The highest epoch
    /// wins a number; what was published stays as it was published. A number that only another
    /// rendition stored is a gap of the same time here, so that all renditions agree.
    pub fn rebuild(
        rung: Rung,
        broadcast: BroadcastTag,
        discontinuity_seq_first: u64,
        names: impl IntoIterator<Item = SegmentName>,
        published: Option<&MediaPlaylist>,
    ) -> Self {
        let published = published.filter(|playlist| belongs(playlist, rung, broadcast));
        let mut winners: BTreeMap<u64, SegmentName> = BTreeMap::new();
        for name in names.into_iter().filter(|name| name.broadcast == broadcast) {
            let winner = winners.entry(name.msn).or_insert(name);
            let rank = |candidate: &SegmentName| (candidate.epoch, candidate.rung == rung);
            if rank(&name) > rank(winner) {
                *winner = name;
            }
        }
        let mut entries: BTreeMap<u64, Entry> = winners
            .into_iter()
            .map(|(msn, name)| {
                let entry = Entry {
                    gap: name.rung != rung,
                    ..Entry::stored(&SegmentName { rung, ..name })
                };
                (msn, entry)
            })
            .collect();
        let mut timeline = Self::new(rung, broadcast, discontinuity_seq_first);
        if let Some(playlist) = published {
            // What fell out of the window stays out, and the published numbers count: a lost
            // segment took its discontinuity mark with it, so names alone may count too few.
            entries = entries.split_off(&playlist.media_sequence);
            entries.extend(
                playlist
                    .entries
                    .iter()
                    .map(|entry| (entry.msn, entry.clone())),
            );
            timeline.discontinuity_seq_before = playlist.discontinuity_sequence;
        }
        for entry in entries.into_values() {
            timeline.push(entry);
        }
        timeline
    }

    /// Lists the next segment. A number that is listed already keeps what it has; a hole before
    /// this one is filled with gaps.
    pub fn push(&mut self, entry: Entry) {
        if self.last_msn().is_some_and(|last| entry.msn <= last) {
            return;
        }
        self.fill_before(&entry);
        self.list(entry);
    }

    /// Fills the hole before a segment that is about to be listed. Its duration does not matter.
    pub fn fill_before(&mut self, next: &Entry) {
        let Some(last) = self.listed.back() else {
            return;
        };
        if next.msn <= last.entry.msn {
            return;
        }
        if next.msn - last.entry.msn > MAX_HOLE {
            self.discontinuity_seq_before = last.discontinuity_number;
            self.listed.clear();
            return;
        }
        for gap in self.gaps_before(&last.entry.clone(), next) {
            self.list(gap);
        }
    }

    /// A listed segment turned out to be lost.
    pub fn mark_gap(&mut self, msn: u64) {
        let first = self.listed.front().map_or(0, |listed| listed.entry.msn);
        let place = msn
            .checked_sub(first)
            .and_then(|place| usize::try_from(place).ok());
        if let Some(listed) = place.and_then(|place| self.listed.get_mut(place)) {
            listed.entry.gap = true;
        }
    }

    /// Whether nothing follows.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Media and discontinuity sequence of the window of the newest `dvr`, and its entries.
    pub(crate) fn listed_in(&self, dvr: Duration) -> (u64, u64, impl Iterator<Item = &Entry>) {
        let first = self.first_in_window(dvr);
        let listed = self.listed.range(first..).map(|listed| &listed.entry);
        let (media_sequence, discontinuity_sequence) =
            self.listed
                .get(first)
                .map_or((1, self.discontinuity_seq_before), |oldest| {
                    let own = u64::from(oldest.entry.discontinuity);
                    (oldest.entry.msn, oldest.discontinuity_number - own)
                });
        (media_sequence, discontinuity_sequence, listed)
    }

    /// Which broadcast it is.
    pub fn broadcast(&self) -> BroadcastTag {
        self.broadcast
    }

    /// The newest number.
    pub fn last_msn(&self) -> Option<u64> {
        self.listed.back().map(|listed| listed.entry.msn)
    }

    /// The newest segment's discontinuity number.
    pub fn last_discontinuity_number(&self) -> Option<u64> {
        self.listed.back().map(|listed| listed.discontinuity_number)
    }

    /// Date of the newest segment's end, Unix ms.
    pub fn end_ms(&self) -> Option<i64> {
        self.listed.back().map(|listed| listed.entry.end_ms())
    }

    /// Nothing follows.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The playlist of the newest `dvr`, of three entries at least. Between versions call
    /// [`RenditionTimeline::forget_before`] with the same `dvr`, so that none lists again what an
    /// earlier one had dropped, whatever the dates are.
    pub fn window(&self, dvr: Duration) -> MediaPlaylist {
        let (media_sequence, discontinuity_sequence, entries) = self.listed_in(dvr);
        MediaPlaylist {
            target_duration_s: TARGET_DURATION_S,
            media_sequence,
            discontinuity_sequence,
            entries: entries.cloned().collect(),
            ended: self.ended,
        }
    }

    /// Forgets what no window of `dvr` will list again.
    pub fn forget_before(&mut self, dvr: Duration) {
        for _ in 0..self.first_in_window(dvr) {
            if let Some(oldest) = self.listed.pop_front() {
                self.discontinuity_seq_before = oldest.discontinuity_number;
            }
        }
    }

    fn first_in_window(&self, dvr: Duration) -> usize {
        let dvr_ms = i64::try_from(dvr.as_millis()).unwrap_or(i64::MAX);
        let oldest_end = self.latest_end_ms.saturating_sub(dvr_ms);
        let at_least = self.listed.len().saturating_sub(MIN_ENTRIES);
        self.listed
            .iter()
            .take(at_least)
            .take_while(|listed| listed.entry.end_ms() <= oldest_end)
            .count()
    }

    fn list(&mut self, entry: Entry) {
        let before = self
            .last_discontinuity_number()
            .unwrap_or(self.discontinuity_seq_before);
        self.latest_end_ms = self.latest_end_ms.max(entry.end_ms());
        self.listed.push_back(Listed {
            discontinuity_number: before + u64::from(entry.discontinuity),
            entry,
        });
    }

    /// Entries for the numbers between two neighbours: the same for everyone who knows both.
    fn gaps_before(&self, previous: &Entry, next: &Entry) -> Vec<Entry> {
        let count = i64::try_from(next.msn - previous.msn - 1).unwrap_or(0);
        if count == 0 {
            return Vec::new();
        }
        let epoch = SegmentName::from_uri(self.rung, &next.uri).map_or(0, |name| name.epoch);
        let hole_ms = next.start_ms.saturating_sub(previous.end_ms());
        let each_ms = (hole_ms / count).clamp(*GAP_MS.start(), *GAP_MS.end());
        (0..count)
            .zip(previous.msn + 1..)
            .map(|(index, msn)| {
                let name = SegmentName {
                    rung: self.rung,
                    broadcast: self.broadcast,
                    epoch,
                    msn,
                    start_ms: previous.end_ms().saturating_add(index * each_ms),
                    duration_ms: u32::try_from(each_ms).unwrap_or(u32::MAX),
                    discontinuity: false,
                };
                Entry {
                    gap: true,
                    ..Entry::stored(&name)
                }
            })
            .collect()
    }
}

/// Whether a published playlist lists this broadcast.
fn belongs(playlist: &MediaPlaylist, rung: Rung, broadcast: BroadcastTag) -> bool {
    playlist.entries.first().is_some_and(|entry| {
        SegmentName::from_uri(rung, &entry.uri).is_ok_and(|name| name.broadcast == broadcast)
    })
}
