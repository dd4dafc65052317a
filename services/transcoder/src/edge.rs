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
pub use rendition::{PlaylistRequest, ReloadError, Reloaded, SegmentPlace};
pub use text::Text;

/// How long an ended broadcast is served on, so that every viewer sees its end.
const LINGER: Duration = Duration::from_mins(1);

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
    /// Set when the broadcast ended.
    until: Option<Instant>,
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

    /// A broadcast ended, or is another process's from now on: an ended one is served a while longer.
    pub fn close(&self, stream: &Arc<LiveStream>) {
        if stream.is_ended() {
            let mut streams = self.streams();
            if let Some(served) = streams.get_mut(&stream.stream_id())
                && Arc::ptr_eq(&served.stream, stream)
            {
                served.until = Some(Instant::now() + LINGER);
            }
        } else {
            stream.retire();
            self.forget(stream);
        }
        self.shared.changed.notify_one();
    }

    /// The broadcast of a stream, if it is held here.
    pub fn find(&self, stream_id: StreamId) -> Option<Arc<LiveStream>> {
        let streams = self.streams();
        streams.get(&stream_id).map(|served| served.stream.clone())
    }

    /// Forgets ended broadcasts whose time is over; what is left, and can be played.
    fn playable(&self) -> Vec<Arc<LiveStream>> {
        let mut streams = self.streams();
        let now = Instant::now();
        streams.retain(|_, served| served.until.is_none_or(|until| until > now));
        let playable = streams
            .values()
            .filter(|served| served.stream.is_playable());
        playable.map(|served| served.stream.clone()).collect()
    }

    /// Resolves when a broadcast may have become playable, or was closed.
    async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    fn forget(&self, stream: &Arc<LiveStream>) {
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
