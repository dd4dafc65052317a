//! One broadcast at the edge: its renditions, and the master playlist that leads to them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use marquee_common::contract::StreamId;
use marquee_hls::{
    BroadcastTag, Entry, LiveRendition, Part, PartName, PartTarget, RenditionTimeline, Report,
    Rung, SegmentName,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    rendition::{NoPart, PlaylistRequest, ReloadError, Reloaded, Rendition, SegmentPlace},
    text::Text,
};
use crate::output::uploader::Outcome;

/// What is fixed for a broadcast.
#[derive(Clone, Copy, Debug)]
pub struct StreamFormat {
    /// What a part lasts.
    pub part_target: PartTarget,
    /// How far playlists reach back.
    pub dvr_window: Duration,
}

/// One broadcast.
pub struct LiveStream {
    stream_id: StreamId,
    broadcast: BroadcastTag,
    epoch: AtomicU64,
    renditions: BTreeMap<Rung, Rendition>,
    master: Mutex<Option<Arc<Text>>>,
    /// Cancelled when another process, or another broadcast, has the stream.
    retired: CancellationToken,
    /// Notified when the broadcast becomes playable.
    changed: Arc<Notify>,
}

impl LiveStream {
    pub(super) fn new(
        stream_id: StreamId,
        broadcast: BroadcastTag,
        renditions: &[(Rung, RenditionTimeline)],
        format: StreamFormat,
        changed: Arc<Notify>,
    ) -> Self {
        let renditions = renditions.iter().map(|(rung, timeline)| {
            let live = LiveRendition::new(
                *rung,
                timeline.clone(),
                format.part_target,
                format.dvr_window,
            );
            (*rung, Rendition::new(*rung, live))
        });
        Self {
            stream_id,
            broadcast,
            epoch: AtomicU64::new(0),
            renditions: renditions.collect(),
            master: Mutex::default(),
            retired: CancellationToken::new(),
            changed,
        }
    }

    /// The stream.
    pub fn stream_id(&self) -> StreamId {
        self.stream_id
    }

    /// The epoch of its newest run.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// A run begins under this epoch.
    pub fn begin_run(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// The next part of the segment that `segment` begins to name; without bytes it is missing.
    pub fn push_part(&self, segment: &SegmentName, part: Part, bytes: Bytes) {
        if let Some(rendition) = self.renditions.get(&segment.rung) {
            rendition.push_part(segment, part, bytes);
        }
    }

    /// A whole segment: the parts before it, one after the other.
    pub fn push_segment(&self, name: &SegmentName, bytes: Bytes) {
        if let Some(rendition) = self.renditions.get(&name.rung) {
            rendition.push_segment(Entry::stored(name), bytes);
        }
    }

    /// A number that a rendition lacks.
    pub fn push_gap(&self, rung: Rung, entry: Entry) {
        if let Some(rendition) = self.renditions.get(&rung) {
            rendition.push_gap(entry);
        }
    }

    /// Storage took a segment, or did not.
    pub fn settle(&self, name: &SegmentName, outcome: Outcome) {
        if let Some(rendition) = self.renditions.get(&name.rung) {
            rendition.settle(name.msn, outcome);
        }
    }

    /// A run ended; nothing comes before the next one.
    pub fn pause(&self) {
        self.renditions.values().for_each(Rendition::pause);
    }

    /// Another process goes on from what viewers know by now: nothing is added here any more, or one
    /// number would mean two things.
    pub fn give_way(&self) {
        self.renditions.values().for_each(Rendition::give_way);
    }

    /// Whether another process goes on with the broadcast.
    pub fn gives_way(&self) -> bool {
        self.renditions.values().any(Rendition::gives_way)
    }

    /// The broadcast is over.
    pub fn end(&self) {
        self.renditions.values().for_each(Rendition::end);
    }

    /// Whether the broadcast is over.
    pub fn is_ended(&self) -> bool {
        self.renditions.values().all(Rendition::is_ended)
    }

    /// Whoever waits is answered at once: what comes next comes from elsewhere.
    pub fn retire(&self) {
        self.retired.cancel();
    }

    #[cfg(test)]
    pub(super) fn is_retired(&self) -> bool {
        self.retired.is_cancelled()
    }

    /// The master playlist, once all renditions are known.
    pub fn set_master(&self, text: String) {
        let mut master = self.master.lock().unwrap_or_else(PoisonError::into_inner);
        if master.is_none() {
            self.changed.notify_one();
        }
        if master.as_ref().is_none_or(|known| known.plain() != text) {
            *master = Some(Arc::new(Text::new(text)));
        }
    }

    /// The master playlist; `None` before the broadcast can be played.
    pub fn master(&self) -> Option<Arc<Text>> {
        let master = self.master.lock();
        master.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the broadcast can be played.
    pub fn is_playable(&self) -> bool {
        self.master().is_some()
    }

    /// A rendition's playlist; `None` where there is no such rendition.
    pub async fn playlist(
        &self,
        rung: Rung,
        request: PlaylistRequest,
    ) -> Option<Result<Reloaded, ReloadError>> {
        let rendition = self.renditions.get(&rung)?;
        let reports = || self.reports_but(rung);
        Some(rendition.playlist(request, reports, &self.retired).await)
    }

    /// A part's bytes; the one that comes next is waited for.
    pub async fn part(&self, name: &PartName) -> Result<Bytes, NoPart> {
        let rendition = self.renditions.get(&name.rung);
        let rendition = rendition.filter(|_| name.broadcast == self.broadcast);
        let rendition = rendition.ok_or(NoPart::Unknown)?;
        rendition.part(name, &self.retired).await
    }

    /// Where a segment is.
    pub fn segment(&self, name: &SegmentName) -> SegmentPlace {
        match self.renditions.get(&name.rung) {
            Some(rendition) if name.broadcast == self.broadcast => rendition.segment(name),
            // Of an earlier broadcast: its playlists are in storage, and so are its segments.
            _ => SegmentPlace::Storage,
        }
    }

    /// Bytes of media held.
    pub fn bytes(&self) -> usize {
        self.renditions.values().map(Rendition::bytes).sum()
    }

    fn reports_but(&self, rung: Rung) -> Vec<Report> {
        let others = self.renditions.values().filter(|one| one.rung != rung);
        others
            .filter_map(|one| {
                let last = one.last()?;
                let rung = one.rung;
                Some(Report { rung, last })
            })
            .collect()
    }
}
