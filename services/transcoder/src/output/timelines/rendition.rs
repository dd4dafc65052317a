//! One rendition: what storage has in a row is listed, the rest waits.

use std::{collections::BTreeMap, time::Duration};

use marquee_hls::{Entry, RenditionParams, RenditionTimeline, Rung, SegmentName, Variant};

use super::super::bandwidth::Bandwidth;

pub(super) struct Rendition {
    pub timeline: RenditionTimeline,
    /// Cut but not listed, by number.
    pub waiting: BTreeMap<u64, Waiting>,
    pub bandwidth: Bandwidth,
    pub params: Option<RenditionParams>,
    pub listed_in_run: u64,
}

pub(super) struct Waiting {
    pub entry: Entry,
    pub resolved: bool,
}

impl Rendition {
    pub fn new(timeline: RenditionTimeline) -> Self {
        Self {
            timeline,
            waiting: BTreeMap::new(),
            bandwidth: Bandwidth::passed_through(),
            params: None,
            listed_in_run: 0,
        }
    }

    pub fn has(&self, msn: u64) -> bool {
        self.waiting.contains_key(&msn) || self.timeline.last_msn().is_some_and(|last| last >= msn)
    }

    pub fn add_gap(&mut self, name: &SegmentName) -> Entry {
        let entry = Entry {
            gap: true,
            ..Entry::stored(name)
        };
        let waiting = Waiting {
            entry: entry.clone(),
            resolved: true,
        };
        self.waiting.insert(name.msn, waiting);
        entry
    }

    /// Lists what no longer waits for anything before it; tells whether anything was.
    pub fn list_resolved(&mut self, dvr_window: Duration) -> bool {
        let mut listed = false;
        while let Some(first) = self.waiting.first_entry()
            && first.get().resolved
        {
            self.timeline.push(first.remove().entry);
            self.listed_in_run += 1;
            listed = true;
        }
        self.timeline.forget_before(dvr_window);
        listed
    }

    fn variant(&self, rung: Rung) -> Option<Variant> {
        let params = self.params.as_ref()?;
        Some(Variant {
            uri: format!("{rung}/playlist.m3u8"),
            bandwidth: self.bandwidth.announced_bps(),
            average_bandwidth: self.bandwidth.average_bps(),
            codecs: params.codecs.clone(),
            resolution: params.resolution,
            frame_rate: params.frame_rate,
        })
    }
}

/// Those of the renditions that were measured.
pub(super) fn variants(renditions: &BTreeMap<Rung, Rendition>) -> impl Iterator<Item = Variant> {
    let variant = |(rung, rendition): (&Rung, &Rendition)| rendition.variant(*rung);
    renditions.iter().filter_map(variant)
}
