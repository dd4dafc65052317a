//! The live edge: serves the newest media of the broadcasts held here from memory, as low-latency HLS
//! (DESIGN.md section 3).
//!
//! ```text
//! segmenter ─ parts, segments ─▶ timelines (numbers, names) ─▶ LiveStream ─▶ playlists, parts, segments
//!                                            uploader ─ stored ──▲            (routes/edge.rs)
//! ```
//!
//! A part and its segment are one allocation, shared by the upload and all viewers; a playlist's text
//! is written, and compressed, once a version. Memory holds a few seconds: what is older is in storage,
//! under the same name.

pub mod live_stream;
mod media;
mod rendition;
pub mod routing;
mod text;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use marquee_common::contract::StreamId;
use marquee_hls::{BroadcastTag, RenditionTimeline, Rung};
use tokio::{sync::Notify, time::Instant};

pub use live_stream::{LiveStream, StreamFormat};
pub use rendition::{NoPart, PlaylistRequest, ReloadError, Reloaded, SegmentPlace};
pub use text::Text;

/// How long an ended broadcast is served on, so that every viewer sees its end.
const LINGER: Duration = Duration::from_mins(1);
/// How long a broadcast that another process goes on with is served on, unchanged, while its viewers are
/// not led there yet: a publisher's new place needs some seconds to have something to show.
const HAND_OVER: Duration = Duration::from_secs(15);

/// All broadcasts that are served here; cheap to clone.
#[derive(Clone, Default)]
pub struct Edge {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    streams: Mutex<HashMap<StreamId, Served>>,
    changed: Arc<Notify>,
}

struct Served {
    stream: Arc<LiveStream>,
    /// Set when the broadcast ended, or goes on elsewhere.
    until: Option<Instant>,
    /// What viewers have while `stream` has nothing to show: it had given way to another process, and
    /// the publisher came back here before that one had anything either.
    predecessor: Option<Predecessor>,
}

struct Predecessor {
    stream: Arc<LiveStream>,
    until: Instant,
}

impl Served {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    /// What viewers get now. A predecessor goes when it is needed no more, or its time is over.
    fn shown(&mut self) -> Option<&Arc<LiveStream>> {
        let is_playable = !self.is_over() && self.stream.is_playable();
        let is_done = |one: &mut Predecessor| is_playable || one.until <= Instant::now();
        if let Some(done) = self.predecessor.take_if(is_done) {
            done.stream.retire();
        }
        match &self.predecessor {
            Some(predecessor) => Some(&predecessor.stream),
            None => (!self.is_over()).then_some(&self.stream),
        }
    }

    /// What its successor's viewers have until that has something to show.
    fn into_predecessor(mut self) -> Option<Predecessor> {
        self.shown();
        match self.until {
            Some(until) if self.stream.gives_way() && self.stream.is_playable() => {
                Some(Predecessor {
                    stream: self.stream,
                    until,
                })
            }
            _ => {
                self.stream.retire();
                self.predecessor
            }
        }
    }
}

impl From<Predecessor> for Served {
    fn from(predecessor: Predecessor) -> Self {
        Self {
            stream: predecessor.stream,
            until: Some(predecessor.until),
            predecessor: None,
        }
    }
}

impl Edge {
    /// Serves a broadcast from now on, in place of an older one of its stream; of one that gave way,
    /// as soon as the new one can be played. It goes on after what its renditions list.
    pub fn open(
        &self,
        stream_id: StreamId,
        broadcast: BroadcastTag,
        renditions: &[(Rung, RenditionTimeline)],
        format: StreamFormat,
    ) -> Arc<LiveStream> {
        let changed = self.shared.changed.clone();
        let stream = LiveStream::new(stream_id, broadcast, renditions, format, changed);
        let stream = Arc::new(stream);
        let mut streams = self.streams();
        let former = streams.remove(&stream_id);
        let served = Served {
            stream: stream.clone(),
            until: None,
            predecessor: former.and_then(Served::into_predecessor),
        };
        streams.insert(stream_id, served);
        stream
    }

    /// Nothing more comes here: a broadcast that ended is served a while longer, and so is one that has
    /// given way; any other is not.
    pub fn close(&self, stream: &Arc<LiveStream>) {
        if stream.is_ended() {
            self.serve_until(stream, Instant::now() + LINGER);
        } else if !stream.gives_way() {
            self.forget(stream);
        }
        self.shared.changed.notify_one();
    }

    /// Another process goes on with the broadcast. Its viewers stay here until they are led there, and
    /// see a publisher who is away, whatever is still cut.
    pub fn give_way(&self, stream: &Arc<LiveStream>) {
        stream.give_way();
        self.serve_until(stream, Instant::now() + HAND_OVER);
        self.shared.changed.notify_one();
    }

    /// Proxies lead the stream's viewers to another process: nobody needs it here who could not go there.
    fn viewers_are_led_elsewhere(&self, stream: &Arc<LiveStream>) {
        if stream.gives_way() {
            self.forget(stream);
        }
    }

    /// The broadcast of a stream, if it is held here.
    pub fn find(&self, stream_id: StreamId) -> Option<Arc<LiveStream>> {
        self.streams().get_mut(&stream_id)?.shown().cloned()
    }

    /// Forgets broadcasts whose time is over; what is left, and can be played.
    fn playable(&self) -> Vec<Arc<LiveStream>> {
        let mut streams = self.streams();
        streams.retain(|_, served| {
            let is_over = served.shown().is_none();
            if is_over {
                served.stream.retire();
            }
            !is_over
        });
        let shown = streams.values_mut().filter_map(|served| served.shown());
        shown.filter(|one| one.is_playable()).cloned().collect()
    }

    /// Resolves when a broadcast may have become playable, or was closed.
    async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// The first word counts.
    fn serve_until(&self, stream: &Arc<LiveStream>, until: Instant) {
        let mut streams = self.streams();
        if let Some(served) = streams.get_mut(&stream.stream_id())
            && Arc::ptr_eq(&served.stream, stream)
        {
            served.until.get_or_insert(until);
        }
    }

    fn forget(&self, stream: &Arc<LiveStream>) {
        stream.retire();
        let mut streams = self.streams();
        let id = stream.stream_id();
        let Some(served) = streams.get_mut(&id) else {
            return;
        };
        if Arc::ptr_eq(&served.stream, stream) {
            match served.predecessor.take() {
                Some(predecessor) => *served = predecessor.into(),
                None => drop(streams.remove(&id)),
            }
        } else if (served.predecessor.as_ref()).is_some_and(|one| Arc::ptr_eq(&one.stream, stream))
        {
            served.predecessor = None;
        }
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<StreamId, Served>> {
        let streams = self.shared.streams.lock();
        streams.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use marquee_common::contract::BroadcastId;
    use marquee_hls::PartTarget;

    use super::*;

    fn open(edge: &Edge, id: StreamId) -> Arc<LiveStream> {
        let broadcast = BroadcastTag::from(BroadcastId::new().0);
        let timeline = RenditionTimeline::new(Rung::P360, broadcast, 0);
        let format = StreamFormat {
            part_target: PartTarget::default(),
            dvr_window: Duration::from_mins(1),
        };
        edge.open(id, broadcast, &[(Rung::P360, timeline)], format)
    }

    fn shows(stream: &LiveStream) {
        stream.set_master("#EXTM3U\n".to_owned());
    }

    /// What viewers find, and whether its route is kept, are one.
    fn is_found(edge: &Edge, stream: &Arc<LiveStream>) -> bool {
        let found = edge.find(stream.stream_id());
        let is_found = found.is_some_and(|found| Arc::ptr_eq(&found, stream));
        let playable = edge.playable();
        let is_routed = playable.iter().any(|one| Arc::ptr_eq(one, stream));
        assert_eq!(is_routed, is_found && stream.is_playable());
        is_found
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_led_nowhere_else_is_served_for_15_s() {
        let (edge, id) = (Edge::default(), StreamId::new());
        let stream = open(&edge, id);
        shows(&stream);
        edge.give_way(&stream);
        tokio::time::advance(Duration::from_millis(14_900)).await;
        edge.close(&stream);
        edge.give_way(&stream);
        assert!(is_found(&edge, &stream), "its route is kept");
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(edge.find(id).is_none());
        assert!(edge.playable().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_publisher_who_comes_straight_back_takes_nothing_from_the_viewers() {
        let (edge, id) = (Edge::default(), StreamId::new());
        let first = open(&edge, id);
        shows(&first);
        edge.give_way(&first);
        // Back, away, and back again, without anything to show.
        let second = open(&edge, id);
        edge.give_way(&second);
        edge.close(&second);
        let third = open(&edge, id);
        edge.close(&first);
        assert!(is_found(&edge, &first));
        assert!(second.is_retired() && !first.is_retired());
        shows(&third);
        assert!(is_found(&edge, &third));
        assert!(first.is_retired(), "who waits there is told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_predecessor_is_shown_until_its_time_is_over_or_viewers_are_led_elsewhere() {
        let (edge, id) = (Edge::default(), StreamId::new());
        let first = open(&edge, id);
        shows(&first);
        edge.give_way(&first);
        let second = open(&edge, id);
        // That came to nothing; the other process may go on all the same.
        edge.close(&second);
        assert!(is_found(&edge, &first));
        let third = open(&edge, id);
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(is_found(&edge, &third) && first.is_retired());

        shows(&third);
        edge.give_way(&third);
        let fourth = open(&edge, id);
        assert!(is_found(&edge, &third));
        edge.viewers_are_led_elsewhere(&third);
        assert!(is_found(&edge, &fourth) && third.is_retired());
    }
}
