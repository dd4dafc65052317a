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
}

impl Served {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

impl Edge {
    /// Serves a broadcast from now on, in place of an older one of its stream. It goes on after what
    /// its renditions list.
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
        let served = Served {
            stream: stream.clone(),
            until: None,
        };
        let former = self.streams().insert(stream_id, served);
        if let Some(former) = former {
            former.stream.retire();
        }
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
        let streams = self.streams();
        let served = streams.get(&stream_id).filter(|served| !served.is_over())?;
        Some(served.stream.clone())
    }

    /// Forgets broadcasts whose time is over; what is left, and can be played.
    fn playable(&self) -> Vec<Arc<LiveStream>> {
        let mut streams = self.streams();
        streams.retain(|_, served| {
            let is_over = served.is_over();
            if is_over {
                served.stream.retire();
            }
            !is_over
        });
        let playable = streams
            .values()
            .filter(|served| served.stream.is_playable());
        playable.map(|served| served.stream.clone()).collect()
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
        if streams
            .get(&id)
            .is_some_and(|served| Arc::ptr_eq(&served.stream, stream))
        {
            streams.remove(&id);
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

    #[tokio::test(start_paused = true)]
    async fn who_is_led_nowhere_else_is_served_for_15_s() {
        let (edge, id) = (Edge::default(), StreamId::new());
        let broadcast = BroadcastTag::from(BroadcastId::new().0);
        let timeline = RenditionTimeline::new(Rung::P360, broadcast, 0);
        let format = StreamFormat {
            part_target: PartTarget::default(),
            dvr_window: Duration::from_mins(1),
        };
        let stream = edge.open(id, broadcast, &[(Rung::P360, timeline)], format);
        stream.set_master("#EXTM3U\n".to_owned());
        edge.give_way(&stream);
        tokio::time::advance(Duration::from_millis(14_900)).await;
        edge.close(&stream);
        edge.give_way(&stream);
        assert!(edge.find(id).is_some());
        assert_eq!(edge.playable().len(), 1, "its route is kept");
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(edge.find(id).is_none());
        assert!(edge.playable().is_empty());
    }
}
