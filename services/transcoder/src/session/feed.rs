//! A publisher's bytes as a session sees them: inspected, and watched for whether its picture may
//! be passed through.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::{
    ingest::Publisher,
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
    has_left: bool,
    head_began: Instant,
    /// Tracks that began after the head was long enough, and so are not in what the probe saw.
    late_audio: bool,
    late_video: bool,
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
#[derive(Clone, Copy, Debug)]
pub(super) enum FeedEnd {
    /// The publisher is gone.
    Left,
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
            has_left: false,
            head_began: Instant::now(),
            late_audio: false,
            late_video: false,
            video_stopped: false,
        }
    }

    /// What comes next. Cancel safe, and may be asked again after the publisher left.
    pub(super) async fn next(&mut self) -> Result<Fed, FeedEnd> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.observe(&event);
                return Ok(match self.rule.observe(&event) {
                    Some(restart) => Fed::CopyRefused(restart),
                    None => Fed::Event(event),
                });
            }
            if self.has_left {
                return Err(FeedEnd::Left);
            }
            let Some(bytes) = self.publisher.recv().await else {
                self.has_left = true;
                return Err(FeedEnd::Left);
            };
            let mut events = Vec::new();
            self.inspector
                .push(&bytes, &mut events)
                .map_err(FeedEnd::Unusable)?;
            self.events.extend(events);
        }
    }

    fn observe(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Keyframe(key) => {
                self.video_stopped = false;
                if key.gop.is_none() {
                    self.head_began = Instant::now();
                }
            }
            SourceEvent::NewHead(_) => {
                (self.late_audio, self.late_video, self.video_stopped) = (false, false, false);
            }
            SourceEvent::VideoStopped => self.video_stopped = true,
            SourceEvent::AudioStarted => self.late_audio = true,
            SourceEvent::VideoStarted => self.late_video = true,
            _ => {}
        }
    }

    /// Asks for a head of its own for a track that the plan stands something in for, although it
    /// came meanwhile, or for a picture that went.
    pub(super) fn catch_up_with(&mut self, plan: &EncodePlan) {
        if (self.late_audio && plan.sound == Sound::Silence)
            || (self.late_video && plan.picture == Picture::Black)
            || (self.video_stopped && plan.picture == Picture::Source)
        {
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
