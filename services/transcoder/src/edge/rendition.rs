//! One rendition at the edge: what is asked for now is answered, what is about to come is waited for.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use marquee_hls::{
    Entry, LiveRendition, Part, PartName, Position, Reload, Report, Rung, SegmentName,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{media::Media, text::Text};
use crate::output::uploader::Outcome;

const TARGET: Duration = Duration::from_secs(2);
/// Longest wait for what is about to come (RFC 8216bis section 6.2.5.2).
const LONGEST_WAIT: Duration = Duration::from_secs(6);

/// A request for a rendition's playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaylistRequest {
    /// Wait until the playlist has this segment, or this part of it.
    pub wait_for: Option<(u64, Option<u32>)>,
    /// Leave out what the client has.
    pub skip: bool,
}

/// A playlist, answered.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The text.
    pub text: Arc<Text>,
    /// Whether it has what was waited for, so that everybody gets the same for this URL.
    pub is_final: bool,
}

/// A playlist cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// There is none yet.
    #[error("nothing is listed yet")]
    NothingListed,
    /// What is asked for is not due for long.
    #[error("that number is too far ahead of the playlist")]
    TooFar,
}

/// A part cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPart {
    /// It is not here and will not come, or no longer here.
    #[error("there is no such part")]
    Unknown,
    /// It was announced and waited for, and did not come.
    #[error("that part did not come in time")]
    Late,
}

/// Where a segment is.
#[derive(Clone, Debug)]
pub enum SegmentPlace {
    /// Here.
    Memory(Bytes),
    /// In storage, under the same name.
    Storage,
    /// On its way to storage, which is away.
    OnDisk,
    /// Nowhere.
    Unknown,
}

pub(super) struct Rendition {
    pub rung: Rung,
    state: Mutex<State>,
    /// The newest position; sent at each change, also one that leaves it as it is.
    changes: watch::Sender<Option<Position>>,
}

struct State {
    live: LiveRendition,
    media: Media,
    full: Option<Arc<Text>>,
    delta: Option<Arc<Text>>,
    /// Whether another process goes on from what is listed here.
    gives_way: bool,
}

impl Rendition {
    pub fn new(rung: Rung, live: LiveRendition) -> Self {
        let changes = watch::Sender::new(live.last());
        Self {
            rung,
            state: Mutex::new(State {
                live,
                media: Media::default(),
                full: None,
                delta: None,
                gives_way: false,
            }),
            changes,
        }
    }

    pub fn push_part(&self, segment: &SegmentName, part: Part, bytes: Bytes) {
        self.grow(|state| {
            state.live.push_part(segment, part);
            state.media.push_part(segment.msn, segment.epoch, bytes);
        });
    }

    pub fn push_segment(&self, entry: Entry, bytes: Bytes) {
        self.grow(|state| {
            state.media.push_segment(entry.clone(), bytes);
            state.live.push_segment(entry);
            state.forget();
        });
    }

    pub fn push_gap(&self, entry: Entry) {
        self.grow(|state| {
            state.media.push_gap(entry.msn);
            state.live.push_segment(entry);
            state.forget();
        });
    }

    pub fn settle(&self, msn: u64, outcome: Outcome) {
        let mut state = self.state();
        state.media.settle(msn, outcome);
        state.forget();
    }

    pub fn pause(&self) {
        self.change(|state| state.live.pause());
    }

    pub fn give_way(&self) {
        self.change(|state| {
            state.gives_way = true;
            state.live.pause();
        });
    }

    pub fn gives_way(&self) -> bool {
        self.state().gives_way
    }

    pub fn end(&self) {
        self.change(|state| state.live.end());
    }

    pub fn last(&self) -> Option<Position> {
        *self.changes.borrow()
    }

    pub fn is_ended(&self) -> bool {
        self.state().live.is_ended()
    }

    pub fn bytes(&self) -> usize {
        self.state().media.bytes()
    }

    /// Waits for what the request names, and answers with the newest playlist: for a while the same
    /// as before where nothing comes, at once when `retired`.
    pub async fn playlist(
        &self,
        request: PlaylistRequest,
        reports: impl Fn() -> Vec<Report>,
        retired: &CancellationToken,
    ) -> Result<Reloaded, ReloadError> {
        let began = Instant::now();
        let mut changes = self.changes.subscribe();
        loop {
            let deadline = {
                let mut state = self.state();
                match state.find(request.wait_for)? {
                    Reload::TooFar => return Err(ReloadError::TooFar),
                    Reload::Now => {
                        let text = state.text(request.skip, &reports);
                        let is_final = request.wait_for.is_some() && !state.live.is_ended();
                        return Ok(Reloaded { text, is_final });
                    }
                    Reload::Later if state.live.is_flowing() => began + LONGEST_WAIT,
                    Reload::Later => began + TARGET,
                }
            };
            let something_new = async {
                tokio::select! {
                    woken = changes.changed() => woken.is_ok(),
                    () = retired.cancelled() => false,
                }
            };
            if !matches!(timeout_at(deadline, something_new).await, Ok(true)) {
                let text = self.state().text(request.skip, &reports);
                return Ok(Reloaded {
                    text,
                    is_final: false,
                });
            }
        }
    }

    /// A part's bytes; the next part is waited for while it is announced.
    pub async fn part(
        &self,
        name: &PartName,
        retired: &CancellationToken,
    ) -> Result<Bytes, NoPart> {
        let deadline = Instant::now() + LONGEST_WAIT;
        let mut changes = self.changes.subscribe();
        loop {
            {
                let state = self.state();
                if let Some(bytes) = state.media.part(name) {
                    return Ok(bytes);
                }
                if state.live.hint() != Some(*name) {
                    return Err(NoPart::Unknown);
                }
            }
            tokio::select! {
                woken = timeout_at(deadline, changes.changed()) => {
                    woken.map_err(|_| NoPart::Late)?.map_err(|_| NoPart::Unknown)?;
                }
                () = retired.cancelled() => return Err(NoPart::Unknown),
            }
        }
    }

    pub fn segment(&self, name: &SegmentName) -> SegmentPlace {
        let state = self.state();
        if let Some(bytes) = state.media.segment(name.msn, &name.uri()) {
            return SegmentPlace::Memory(bytes);
        }
        if state.media.waits_on_disk(name.msn) {
            return SegmentPlace::OnDisk;
        }
        let whole = state.live.last_whole().unwrap_or(0);
        if name.msn <= whole {
            SegmentPlace::Storage
        } else {
            SegmentPlace::Unknown
        }
    }

    /// Takes what was cut, unless it is another process's to show.
    fn grow(&self, grow: impl FnOnce(&mut State)) {
        self.change(|state| {
            if !state.gives_way {
                grow(state);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let last = {
            let mut state = self.state();
            change(&mut state);
            state.full = None;
            state.delta = None;
            state.live.last()
        };
        self.changes.send_replace(last);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, wait_for: Option<(u64, Option<u32>)>) -> Result<Reload, ReloadError> {
        if self.live.last().is_none() {
            return Err(ReloadError::NothingListed);
        }
        Ok(match wait_for {
            // Section 6.2.5.2: to a playlist that ended, directives mean nothing.
            Some((msn, part)) if !self.live.is_ended() => self.live.reload(msn, part),
            _ => Reload::Now,
        })
    }

    /// Written by whoever asks first after a change.
    fn text(&mut self, skip: bool, reports: impl Fn() -> Vec<Report>) -> Arc<Text> {
        let cached = if skip {
            &mut self.delta
        } else {
            &mut self.full
        };
        cached
            .get_or_insert_with(|| Arc::new(Text::new(self.live.write(&reports(), skip))))
            .clone()
    }

    fn forget(&mut self) {
        for msn in self.media.forget() {
            self.live.mark_gap(msn);
            self.full = None;
            self.delta = None;
        }
    }
}
