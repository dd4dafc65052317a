//! What a publisher sends: found, measured and described before and while it is encoded.
//!
//! Three parts, used together by the session:
//!
//! - [`SourceInspector`] (pure) reads the raw transport stream, drops what cannot be used and tells
//!   what it sees as [`SourceEvent`]s.
//! - [`CopyRule`] (pure) keeps the bytes since the last cut and decides whether the source's own
//!   rung may be passed through.
//! - [`probe`] asks ffprobe what the head is.
//!
//! # How a session uses them
//!
//! ```text
//! let mut inspector = SourceInspector::new();
//! let mut rule = CopyRule::new(max_passthrough_kbps);
//! // for each chunk of the publisher:
//! inspector.push(&chunk, &mut events)?;          // Err: not a stream we can use, send it away
//! for event in events.drain(..) {
//!     if let Some(restart) = rule.observe(&event) { …; continue }    // (4)
//!     match event {
//!         HeadReady   => start probe(rule.kept_bytes())          // (1) in a task, go on reading
//!         Media(b)    => if running: encoder.write(b).await      // (3)
//!         NewHead(_)  => encoder.finish(), publish all, then as at the start, DISCONTINUITY // (5)
//!         …
//!     }
//! }
//! // (2) when the probe has answered:
//! let ladder = Ladder::for_source(&source)?;     // or the one the broadcast began with
//! let plan = EncodePlan::new(&ladder, &source, rule.top_rung())?;
//! let mut encoder = Encoder::start(&plan, sink)?;
//! for bytes in rule.started(&plan) { encoder.write(bytes).await? }  // the head; then (3)
//! ```
//!
//! (4) `observe` answers `Some(restart)` when a copied rung turns out not to be copyable: no second
//! keyframe by 2.4 s, an open GOP, a rate above the limit. The event is then dealt with (its media
//! is in `restart.head`). `finish` the encoder, publish only the
//! run's segments with an index below `restart.keep_segments`, drop the rest of the run (nothing
//! else can have been cut yet: the rule counts cuts as the segmenter makes them, ahead of it), and
//! start an encoder with [`TopRung::Encoded`](crate::ladder::TopRung) and `restart.head`. With
//! `keep_segments` 0 nothing of this run has been published, so it is no DISCONTINUITY (and
//! `abort` does); otherwise it is one. After that the rule stays silent until the next head.
//!
//! (5) After [`SourceEvent::NewHead`] the inspector has begun anew at a keyframe (by itself where the
//! picture changed, media is missing, or sound was away for a minute): another
//! [`SourceEvent::HeadReady`] follows. The rule has begun anew too. The session asks for a new
//! head itself, with [`SourceInspector::begin_new_head`], when its encoder fell, when
//! [`SourceEvent::AudioStarted`] comes while the plan has `Sound::Silence` (also while the probe
//! runs), [`SourceEvent::VideoStarted`] while it has `Picture::Black`, or
//! [`SourceEvent::VideoStopped`] while it has `Picture::Source`: without frames no rung can be cut.
//! A returning publisher gets a new inspector and a new rule.

mod copy_rule;
mod event;
mod frame;
mod inspector;
mod probe;
#[cfg(test)]
pub(crate) mod sample;
mod timeline;

pub use copy_rule::{CopyRefusal, CopyRestart, CopyRule};
pub use event::{Keyframe, NewHeadReason, SourceError, SourceEvent, SourceStats};
pub use inspector::SourceInspector;
pub use probe::{AudioSource, ProbeError, Source, VideoSource, probe};
pub(crate) use timeline::LARGEST_STEP_SECONDS;
