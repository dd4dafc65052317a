//! A publisher's bytes as a session sees them: inspected, and watched for whether its picture may
//! be passed through.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::{
    ingest::{LostPublisher, Publisher},
    ladder::{EncodePlan, Picture, Sound},
    source::{CopyRestart, CopyRule, SourceError, SourceEvent, SourceInspector},
};

/// One publisher being served.
pub(super) struct Feed {
    publisher: Publisher,
    inspector: SourceInspector,
    rule: CopyRule,
    events: VecDeque<SourceEvent>,
    /// Nothing more comes.
    end: Option<FeedEnd>,
    head_began: Instant,
    tracks: TracksSinceHead,
}

/// What became of the tracks after the head that the probe saw.
#[derive(Default)]
struct TracksSinceHead {
    audio_began: bool,
    video_began: bool,
    /// The picture stopped, and no run has been told.
    video_stopped: bool,
}

/// What a feed gives next.
pub(super) enum Fed {
    /// Something of the source.
    Event(SourceEvent),
    /// The passed-through rung must be encoded from here on.
    CopyRefused(CopyRestart),
}

/// Why a feed gives nothing more.
#[derive(Clone, Debug)]
pub(super) enum FeedEnd {
    /// The publisher has left.
    Left,
    /// The publisher was lost, or sends what its protocol cannot take.
    Lost(LostPublisher),
    /// What it sends is of no use.
    Unusable(SourceError),
}

impl Feed {
    pub(super) fn new(publisher: Publisher, max_passthrough_kbps: u32) -> Self {
        Self {
            publisher,
            inspector: SourceInspector::new(),
            rule: CopyRule::new(max_passthrough_kbps),
            events: VecDeque::new(),
            end: None,
            head_began: Instant::now(),
            tracks: TracksSinceHead::default(),
        }
    }

    /// What comes next. Cancel safe, and may be asked again after the publisher is gone.
    pub(super) async fn next(&mut self) -> Result<Fed, FeedEnd> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.note_head(&event);
                self.tracks.observe(&event);
                return Ok(match self.rule.observe(&event) {
                    Some(restart) => Fed::CopyRefused(restart),
                    None => Fed::Event(event),
                });
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            let bytes = match self.publisher.recv().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Err(self.end.insert(FeedEnd::Left).clone()),
                Err(lost) => return Err(self.end.insert(FeedEnd::Lost(lost)).clone()),
            };
            let mut events = Vec::new();
            self.inspector
                .push(&bytes, &mut events)
                .map_err(FeedEnd::Unusable)?;
            self.events.extend(events);
        }
    }

    fn note_head(&mut self, event: &SourceEvent) {
        if matches!(event, SourceEvent::Keyframe(key) if key.gop.is_none()) {
            self.head_began = Instant::now();
        }
    }

    /// Asks for a head of its own for a track that the plan stands something in for, although it
    /// came meanwhile, or for a picture that went.
    pub(super) fn catch_up_with(&mut self, plan: &EncodePlan) {
        if self.tracks.contradict(plan) {
            self.begin_new_head();
        }
    }

    /// The next run is to begin at a keyframe of its own.
    pub(super) fn begin_new_head(&mut self) {
        self.inspector.begin_new_head();
    }

    pub(super) fn rule(&mut self) -> &mut CopyRule {
        &mut self.rule
    }

    /// When the first keyframe that is kept came.
    pub(super) fn head_began(&self) -> Instant {
        self.head_began + self.rule.dropped()
    }

    pub(super) fn inspector(&self) -> &SourceInspector {
        &self.inspector
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}

impl TracksSinceHead {
    fn observe(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::NewHead(_) => *self = Self::default(),
            SourceEvent::Keyframe(_) => self.video_stopped = false,
            SourceEvent::VideoStopped => self.video_stopped = true,
            SourceEvent::AudioStarted => self.audio_began = true,
            SourceEvent::VideoStarted => self.video_began = true,
            _ => {}
        }
    }

    /// Whether what the plan says of a track is no longer so.
    fn contradict(&self, plan: &EncodePlan) -> bool {
        (self.audio_began && plan.sound == Sound::Silence)
            || (self.video_began && plan.picture == Picture::Black)
            || (self.video_stopped && plan.picture == Picture::Source)
    }
}
