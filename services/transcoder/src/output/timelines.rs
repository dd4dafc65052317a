//! Numbers, dates and discontinuities of a broadcast, the same in all rungs, and which of them are
//! listed: a number is listed once it and all before it are stored, or known to be lost.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use marquee_hls::{
    BroadcastTag, CutPart, CutSegment, Entry, MasterPlaylist, Part, RenditionParams,
    RenditionTimeline, Rung, SegmentName, Variant,
};
use tokio::sync::watch;

use super::{BroadcastNumbers, bandwidth::Bandwidth, uploader::Outcome};
use crate::{edge::LiveStream, registry::Numbers};

/// Duration of a number whose parts were shown and that never became whole.
const SHOWN_GAP_MS: u32 = 100;

/// All renditions of one broadcast.
pub struct Timelines {
    dvr_window: Duration,
    numbers: BroadcastNumbers,
    reported: watch::Sender<Numbers>,
    /// Told of everything in the order in which it is numbered, before storage has it.
    live: Arc<LiveStream>,
    state: Mutex<State>,
    changes: BTreeMap<Rung, watch::Sender<u64>>,
}

struct State {
    next_msn: u64,
    discontinuity_seq: u64,
    /// Whether the broadcast has a segment before the next run, so that the run is discontinuous.
    begun: bool,
    last_end_ms: i64,
    run: Option<Run>,
    renditions: BTreeMap<Rung, Rendition>,
}

struct Rendition {
    timeline: RenditionTimeline,
    /// Cut but not listed, by number.
    waiting: BTreeMap<u64, Waiting>,
    bandwidth: Bandwidth,
    params: Option<RenditionParams>,
    listed_in_run: u64,
}

struct Waiting {
    entry: Entry,
    resolved: bool,
}

/// How a run begins.
pub struct RunStart {
    /// Goes into the names.
    pub epoch: u64,
    /// Unix ms at which the run's first keyframe came: its dates count from here by PTS.
    pub first_frame_ms: i64,
    /// Whether its first keyframe follows the last run's end in the source, whenever it came.
    pub continues: bool,
    /// The rung that decides the cuts.
    pub leader: Rung,
    /// What each rung announces.
    pub bandwidths: BTreeMap<Rung, Bandwidth>,
    /// Whether the run may yet be made again from its start, as long as its first segment grows: the
    /// parts of that one are not shown before it is whole.
    pub is_on_trial: bool,
}

struct Run {
    epoch: u64,
    base_msn: u64,
    discontinuous: bool,
    /// Whether its discontinuity was counted: a run that cut nothing has none.
    counted: bool,
    leader: Rung,
    /// Unix ms of the first frame, and its PTS once known.
    anchor_ms: i64,
    anchor_pts: Option<i64>,
    /// `(start_ms, duration_ms)` of each number, by the leader's clock.
    cuts: BTreeMap<u64, (i64, u32)>,
    /// Parts that are not shown yet.
    on_trial: Option<Vec<CutPart>>,
    /// The newest number of which parts were shown.
    shown: Option<u64>,
}

impl Timelines {
    /// Timelines of these renditions, highest rung first. `reported` follows the numbers taken.
    pub fn new(
        numbers: BroadcastNumbers,
        renditions: Vec<(Rung, RenditionTimeline)>,
        dvr_window: Duration,
        reported: watch::Sender<Numbers>,
        live: Arc<LiveStream>,
    ) -> Self {
        let last_end_ms = renditions
            .iter()
            .filter_map(|(_, timeline)| timeline.end_ms())
            .max();
        // A broadcast that was authorized twice before its first segment has nothing to be
        // discontinuous with.
        let begun = last_end_ms.is_some();
        let next_msn = renditions
            .iter()
            .filter_map(|(_, timeline)| timeline.last_msn())
            .map(|msn| msn + 1)
            .fold(numbers.next_msn, u64::max);
        let discontinuity_seq = renditions
            .iter()
            .filter_map(|(_, timeline)| timeline.last_discontinuity_number())
            .fold(numbers.discontinuity_seq_first, u64::max);
        reported.send_replace(Numbers {
            next_msn,
            discontinuity_seq,
        });
        Self {
            dvr_window,
            numbers,
            reported,
            live,
            changes: renditions
                .iter()
                .map(|(rung, _)| (*rung, watch::Sender::new(0)))
                .collect(),
            state: Mutex::new(State {
                next_msn,
                discontinuity_seq,
                begun,
                last_end_ms: last_end_ms.unwrap_or(i64::MIN),
                run: None,
                renditions: renditions
                    .into_iter()
                    .map(|(rung, timeline)| (rung, Rendition::new(timeline)))
                    .collect(),
            }),
        }
    }

    /// Which broadcast it is.
    pub fn broadcast(&self) -> BroadcastTag {
        self.numbers.broadcast
    }

    /// The rungs, highest first.
    pub fn rungs(&self) -> Vec<Rung> {
        self.changes.keys().copied().collect()
    }

    /// Begins a run; an unfinished one is finished first.
    pub fn begin_run(&self, start: &RunStart) {
        self.end_run();
        let mut state = self.state();
        let discontinuous = state.begun;
        for (rung, rendition) in &mut state.renditions {
            rendition.listed_in_run = 0;
            if let Some(bandwidth) = start.bandwidths.get(rung) {
                rendition.bandwidth.continued_by(*bandwidth);
            }
        }
        state.run = Some(Run {
            epoch: start.epoch,
            base_msn: state.next_msn,
            discontinuous,
            counted: false,
            leader: start.leader,
            // Dates never go back, not even when the machine's clock does.
            anchor_ms: if start.continues && state.begun {
                state.last_end_ms
            } else {
                start.first_frame_ms.max(state.last_end_ms)
            },
            anchor_pts: None,
            cuts: BTreeMap::new(),
            on_trial: start.is_on_trial.then(Vec::new),
            shown: None,
        });
        self.live.begin_run(start.epoch);
    }

    /// Numbers a part and shows it at the edge, unless its run is on trial.
    pub fn part(&self, part: CutPart) {
        let mut state = self.state();
        let Some(run) = state.run.as_mut() else {
            return;
        };
        if let Some(kept) = &mut run.on_trial {
            kept.push(part);
        } else {
            self.show(run, part);
        }
    }

    fn show(&self, run: &mut Run, part: CutPart) {
        let segment = run.opening_name(self.numbers, &part);
        run.shown = run.shown.max(Some(part.index));
        self.take_number(segment.msn + 1, None);
        let listed = Part {
            duration: part.duration,
            independent: part.independent,
            gap: part.bytes.is_empty(),
        };
        self.live.push_part(&segment, listed, part.bytes);
    }

    /// Numbers below `next_msn` are used, or about to be: a successor must not use them.
    fn take_number(&self, next_msn: u64, discontinuity_seq: Option<u64>) {
        self.reported.send_if_modified(|reported| {
            let is_newer = next_msn > reported.next_msn;
            if is_newer {
                reported.next_msn = next_msn;
                reported.discontinuity_seq =
                    discontinuity_seq.unwrap_or(reported.discontinuity_seq);
            }
            is_newer
        });
    }

    /// Numbers and dates a segment; `None` when no run is under way, or its rung is not ours.
    pub fn cut(&self, cut: &CutSegment) -> Option<SegmentName> {
        let mut state = self.state();
        let state = &mut *state;
        let run = state.run.as_mut()?;
        let rendition = state.renditions.get_mut(&cut.rung)?;
        let name = run.name(
            self.numbers,
            cut.rung,
            cut.index,
            cut.start_pts,
            cut.duration,
        );
        if !run.counted {
            run.counted = true;
            state.begun = true;
            if run.discontinuous {
                state.discontinuity_seq += 1;
            }
        }
        rendition
            .bandwidth
            .segment(cut.bytes.len() as u64, name.duration_ms);
        rendition.waiting.insert(
            name.msn,
            Waiting {
                entry: Entry::stored(&name),
                resolved: false,
            },
        );
        // The number after it is under way.
        self.take_number(name.msn + 2, Some(state.discontinuity_seq));
        for part in run.on_trial.take().into_iter().flatten() {
            self.show(run, part);
        }
        self.live.push_segment(&name, cut.bytes.clone());
        self.show_master(&state.renditions);
        Some(name)
    }

    /// A rung has no keyframe where the leader cut: its number is a gap.
    pub fn missing(&self, rung: Rung, index: u64, start_pts: i64, duration: i64) {
        let mut state = self.state();
        let state = &mut *state;
        let (Some(run), Some(rendition)) = (state.run.as_mut(), state.renditions.get_mut(&rung))
        else {
            return;
        };
        let name = run.name(self.numbers, rung, index, start_pts, duration);
        let gap = rendition.add_gap(&name);
        self.live.push_gap(rung, gap);
        self.list_resolved(rung, rendition);
    }

    /// Ends the run: rungs that lack its last numbers get gaps, so that the next run begins at one
    /// number in all of them.
    pub fn end_run(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(mut run) = state.run.take() else {
            return;
        };
        self.live.pause();
        run.close_shown();
        let Some((last, (start_ms, duration_ms))) = run.cuts.last_key_value() else {
            return;
        };
        state.next_msn = run.base_msn + last + 1;
        state.last_end_ms = start_ms + i64::from(*duration_ms);
        for (rung, rendition) in &mut state.renditions {
            for index in run.cuts.keys() {
                let msn = run.base_msn + index;
                if rendition.has(msn) {
                    continue;
                }
                if let Some(name) = run.known_name(self.numbers, *rung, *index) {
                    let gap = rendition.add_gap(&name);
                    self.live.push_gap(*rung, gap);
                }
            }
            self.list_resolved(*rung, rendition);
        }
    }

    /// A segment was stored, or lost for good.
    pub fn resolve(&self, name: &SegmentName, outcome: Outcome) {
        self.live.settle(name, outcome);
        if outcome == Outcome::OnDisk {
            return;
        }
        let mut state = self.state();
        let Some(rendition) = state.renditions.get_mut(&name.rung) else {
            return;
        };
        if let Some(waiting) = rendition.waiting.get_mut(&name.msn) {
            waiting.resolved = true;
            waiting.entry.gap = outcome == Outcome::Lost;
        }
        self.list_resolved(name.rung, rendition);
    }

    /// What a rendition turned out to be.
    pub fn measured(&self, rung: Rung, params: RenditionParams) {
        if let Some(rendition) = self.state().renditions.get_mut(&rung) {
            rendition.params = Some(params);
        }
    }

    /// The broadcast is over.
    pub fn end(&self) {
        self.end_run();
        let mut state = self.state();
        for (rung, rendition) in &mut state.renditions {
            rendition.timeline.end();
            self.changed(*rung);
        }
    }

    /// Changes of a rendition's playlist, as rising versions.
    pub fn changes(&self, rung: Rung) -> watch::Receiver<u64> {
        self.changes[&rung].subscribe()
    }

    /// The newest version of a rendition's playlist; 0 before anything is listed.
    pub fn version(&self, rung: Rung) -> u64 {
        *self.changes[&rung].borrow()
    }

    /// A rendition's playlist and its version; `None` before anything is listed.
    pub fn playlist(&self, rung: Rung) -> Option<(u64, String)> {
        let state = self.state();
        let playlist = state
            .renditions
            .get(&rung)?
            .timeline
            .window(self.dvr_window);
        (!playlist.entries.is_empty()).then(|| (self.version(rung), playlist.write()))
    }

    /// The master playlist, of the renditions that were measured.
    pub fn master(&self) -> String {
        let state = self.state();
        let variants = variants(&state.renditions).collect();
        MasterPlaylist { variants }.write()
    }

    /// The edge's master playlist is the same; its first comes when all renditions are known.
    fn show_master(&self, renditions: &BTreeMap<Rung, Rendition>) {
        let variants: Vec<_> = variants(renditions).collect();
        if variants.len() == renditions.len() {
            self.live.set_master(MasterPlaylist { variants }.write());
        }
    }

    /// Segments of the present run that every rendition lists.
    pub fn listed_in_run(&self) -> u64 {
        self.state()
            .renditions
            .values()
            .map(|rendition| rendition.listed_in_run)
            .min()
            .unwrap_or(0)
    }

    fn list_resolved(&self, rung: Rung, rendition: &mut Rendition) {
        if rendition.list_resolved(self.dvr_window) {
            self.changed(rung);
        }
    }

    fn changed(&self, rung: Rung) {
        self.changes[&rung].send_modify(|version| *version += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rendition {
    fn new(timeline: RenditionTimeline) -> Self {
        Self {
            timeline,
            waiting: BTreeMap::new(),
            bandwidth: Bandwidth::passed_through(),
            params: None,
            listed_in_run: 0,
        }
    }

    fn has(&self, msn: u64) -> bool {
        self.waiting.contains_key(&msn) || self.timeline.last_msn().is_some_and(|last| last >= msn)
    }

    fn add_gap(&mut self, name: &SegmentName) -> Entry {
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
    fn list_resolved(&mut self, dvr_window: Duration) -> bool {
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

fn variants(renditions: &BTreeMap<Rung, Rendition>) -> impl Iterator<Item = Variant> {
    let variant = |(rung, rendition): (&Rung, &Rendition)| rendition.variant(*rung);
    renditions.iter().filter_map(variant)
}

impl Run {
    /// Unix ms of a presentation time; the first one asked for is the run's first frame's.
    fn ms_of(&mut self, pts: i64) -> i64 {
        let anchor_pts = *self.anchor_pts.get_or_insert(pts);
        self.anchor_ms + (pts - anchor_pts).div_euclid(90)
    }

    /// What is known of the name of a segment that is not whole: all but its duration.
    fn opening_name(&mut self, numbers: BroadcastNumbers, part: &CutPart) -> SegmentName {
        let start_ms = self.ms_of(part.segment_start_pts);
        self.assemble(numbers, part.rung, part.index, start_ms, 0)
    }

    /// A number whose parts were shown, and that the next run makes again, is not used twice: it
    /// becomes a gap, as short as can be, because its time is that of the next one.
    fn close_shown(&mut self) {
        let Some(shown) = self.shown else { return };
        let last = self
            .cuts
            .last_key_value()
            .map(|(index, cut)| (*index, *cut));
        let end_ms = match last {
            Some((index, _)) if index >= shown => return,
            Some((_, (start_ms, duration_ms))) => start_ms + i64::from(duration_ms),
            None => self.anchor_ms,
        };
        self.cuts.insert(shown, (end_ms, SHOWN_GAP_MS));
    }

    /// The name of the segment `index`. The leader's cut dates it for all rungs.
    fn name(
        &mut self,
        numbers: BroadcastNumbers,
        rung: Rung,
        index: u64,
        start_pts: i64,
        duration: i64,
    ) -> SegmentName {
        let start_ms = self.ms_of(start_pts);
        let end_ms = self.ms_of(start_pts + duration);
        let by_own_clock = (start_ms, u32::try_from(end_ms - start_ms).unwrap_or(0));
        let (start_ms, duration_ms) = if rung == self.leader {
            self.cuts.insert(index, by_own_clock);
            by_own_clock
        } else {
            *self.cuts.entry(index).or_insert(by_own_clock)
        };
        self.assemble(numbers, rung, index, start_ms, duration_ms)
    }

    fn known_name(&self, numbers: BroadcastNumbers, rung: Rung, index: u64) -> Option<SegmentName> {
        let (start_ms, duration_ms) = *self.cuts.get(&index)?;
        Some(self.assemble(numbers, rung, index, start_ms, duration_ms))
    }

    fn assemble(
        &self,
        numbers: BroadcastNumbers,
        rung: Rung,
        index: u64,
        start_ms: i64,
        duration_ms: u32,
    ) -> SegmentName {
        SegmentName {
            rung,
            broadcast: numbers.broadcast,
            epoch: self.epoch,
            msn: self.base_msn + index,
            start_ms,
            duration_ms,
            discontinuity: self.discontinuous && index == 0,
        }
    }
}
