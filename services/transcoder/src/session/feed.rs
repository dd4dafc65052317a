//! A publisher's bytes as a session sees them: inspected, and watched for whether its picture may
//! be passed through.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::{
    ingest::Publisher,
    source::{CopyRestart, CopyRule, SourceError, SourceEvent, SourceInspector},
};

/// One publisher being served.
pub(super) struct Feed {
    publisher: Publisher,
    inspector: SourceInspector,
    rule: CopyRule,
    events: VecDeque<SourceEvent>,
    head_began: Instant,
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
            head_began: Instant::now(),
        }
    }

    /// What comes next. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Fed, FeedEnd> {
        loop {
            if let Some(event) = self.events.pop_front() {
                if matches!(&event, SourceEvent::Keyframe(key) if key.gop.is_none()) {
                    self.head_began = Instant::now();
                }
                return Ok(match self.rule.observe(&event) {
                    Some(restart) => Fed::CopyRefused(restart),
                    None => Fed::Event(event),
                });
            }
            let Some(bytes) = self.publisher.recv().await else {
                return Err(FeedEnd::Left);
            };
            let mut events = Vec::new();
            self.inspector
                .push(&bytes, &mut events)
                .map_err(FeedEnd::Unusable)?;
            self.events.extend(events);
        }
    }

    /// The next run is to begin at a keyframe of its own.
    pub(super) fn begin_new_head(&mut self) {
        self.inspector.begin_new_head();
    }

    pub(super) fn rule(&mut self) -> &mut CopyRule {
        &mut self.rule
    }

    /// When the head's first keyframe came.
    pub(super) fn head_began(&self) -> Instant {
        self.head_began
    }

    pub(super) fn inspector(&self) -> &SourceInspector {
        &self.inspector
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}
