//! Writes a broadcast's playlists: one PUT in flight a key, each only while the lease allows it,
//! and the master once every rendition it leads to is there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use marquee_common::{contract::StreamId, retry::Backoff};
use marquee_hls::{BroadcastTag, MediaPlaylist, Rung, SegmentName};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    objects::{LiveObjects, StorageError, master_key, playlist_key},
    timelines::Timelines,
};
use crate::lease::{Lease, Superseded};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Writes one broadcast's playlists.
pub struct PlaylistWriter {
    shared: Arc<Shared>,
    /// Ends the tasks that keep playlists up to date; [`PlaylistWriter::end`] writes alone.
    stop_keeping: CancellationToken,
}

struct Shared {
    stream_id: StreamId,
    objects: LiveObjects,
    timelines: Arc<Timelines>,
    lease: Lease,
    /// One PUT in flight a rendition; inside, the version that is stored.
    renditions: BTreeMap<Rung, Mutex<u64>>,
    /// Renditions stored at least once, and the versions stored, for whoever waits.
    stored: watch::Sender<BTreeMap<Rung, u64>>,
    playable: watch::Sender<bool>,
}

impl PlaylistWriter {
    /// Starts one task a rendition and one for the master; they end with `stop`, or when the lease
    /// is superseded.
    pub fn start(
        stream_id: StreamId,
        objects: LiveObjects,
        timelines: Arc<Timelines>,
        lease: Lease,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            stream_id,
            objects,
            renditions: timelines
                .rungs()
                .into_iter()
                .map(|rung| (rung, Mutex::new(0)))
                .collect(),
            timelines,
            lease,
            stored: watch::Sender::default(),
            playable: watch::Sender::new(false),
        });
        let stop_keeping = stop.child_token();
        for rung in shared.renditions.keys() {
            let (shared, rung, stop) = (shared.clone(), *rung, stop_keeping.clone());
            tasks.spawn(async move {
                stop.run_until_cancelled(shared.keep_rendition(rung)).await;
            });
        }
        let (master, stop) = (shared.clone(), stop_keeping.clone());
        tasks.spawn(async move {
            stop.run_until_cancelled(master.keep_master()).await;
        });
        Self {
            shared,
            stop_keeping,
        }
    }

    /// From now on only [`PlaylistWriter::end`] writes: while the last segments of an ended
    /// broadcast wait for storage, the stream may go live anew elsewhere.
    pub fn stop_keeping(&self) {
        self.stop_keeping.cancel();
    }

    /// Turns true when the master playlist is stored.
    pub fn playable(&self) -> watch::Receiver<bool> {
        self.shared.playable.subscribe()
    }

    /// Waits until the newest version of every rendition is stored.
    pub async fn flush_until(&self, deadline: Instant) -> bool {
        let mut stored = self.shared.stored.subscribe();
        let shared = &self.shared;
        let flushed = stored.wait_for(|stored| {
            shared.renditions.keys().all(|rung| {
                let newest = shared.timelines.version(*rung);
                newest == 0 || stored.get(rung).is_some_and(|version| *version >= newest)
            })
        });
        tokio::time::timeout_at(deadline, flushed).await.is_ok()
    }

    /// Writes all renditions with `#EXT-X-ENDLIST`, reads each back, and repeats until it is what
    /// was written, at most for `limit`; tells whether all are.
    pub async fn end(&self, limit: Duration) -> Result<bool, Superseded> {
        let deadline = Instant::now() + limit;
        let renditions = self
            .shared
            .renditions
            .keys()
            .map(|rung| self.shared.end_rendition(*rung, deadline));
        let ended = futures::future::try_join_all(renditions).await?;
        Ok(ended.into_iter().all(|ended| ended))
    }
}

impl Shared {
    async fn keep_rendition(&self, rung: Rung) {
        let mut changes = self.timelines.changes(rung);
        // A version from before this task began counts, too.
        changes.mark_changed();
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        while changes.changed().await.is_ok() {
            while let Err(error) = self.write_rendition(rung).await {
                match error {
                    WriteError::Superseded(_) => return,
                    WriteError::LeasePaused => {}
                    WriteError::Storage(error) => {
                        metrics::counter!("transcoder_playlist_put_failures_total").increment(1);
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "a playlist waits for storage"
                        );
                        tokio::time::sleep(backoff.next().unwrap_or(LAST_RETRY)).await;
                    }
                }
            }
            backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        }
    }

    /// Writes the newest version of a rendition's playlist, unless it is stored already. Returns
    /// the text that is stored now.
    async fn write_rendition(&self, rung: Rung) -> Result<Option<String>, WriteError> {
        let mut stored_version = self.renditions[&rung].lock().await;
        self.lease.permit().await.map_err(WriteError::Superseded)?;
        let Some((version, text)) = self.timelines.playlist(rung) else {
            return Ok(None);
        };
        if version > *stored_version {
            let key = playlist_key(self.stream_id, rung);
            self.lease
                .guard(self.objects.put_playlist(&key, text.clone()))
                .await
                .ok_or(WriteError::LeasePaused)?
                .map_err(WriteError::Storage)?;
            *stored_version = version;
            self.stored.send_modify(|stored| {
                stored.insert(rung, version);
            });
        }
        Ok(Some(text))
    }

    /// Tells whether the ended playlist is what storage holds.
    async fn end_rendition(&self, rung: Rung, deadline: Instant) -> Result<bool, Superseded> {
        let key = playlist_key(self.stream_id, rung);
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        while Instant::now() < deadline {
            let attempt = async {
                let present = self.objects.get_playlist(&key).await;
                let present = present.map_err(WriteError::Storage)?;
                if present
                    .is_some_and(|text| lists_a_later(&text, rung, self.timelines.broadcast()))
                {
                    self.lease.supersede();
                    return Err(WriteError::Superseded(Superseded));
                }
                let Some(written) = self.write_rendition(rung).await? else {
                    return Ok(true);
                };
                let read = self.objects.get_playlist(&key).await;
                Ok(read.map_err(WriteError::Storage)?.as_ref() == Some(&written))
            };
            match tokio::time::timeout_at(deadline, attempt).await {
                Ok(Ok(true)) => return Ok(true),
                Ok(Err(WriteError::Superseded(superseded))) => return Err(superseded),
                Ok(Err(WriteError::Storage(error))) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the end of a playlist waits for storage"
                ),
                Ok(Err(WriteError::LeasePaused)) => {}
                // Something else was read: an older PUT of ours came through late. Write again.
                Ok(Ok(false)) => *self.renditions[&rung].lock().await = 0,
                Err(_) => break,
            }
            tokio::time::sleep(backoff.next().unwrap_or(LAST_RETRY)).await;
        }
        Ok(false)
    }

    async fn keep_master(&self) {
        let mut stored = self.stored.subscribe();
        let all = self.renditions.len();
        // The sender lives in `self`.
        let _ = stored.wait_for(|stored| stored.len() == all).await;
        let mut written = String::new();
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        loop {
            let text = self.timelines.master();
            if text != written {
                if self.lease.permit().await.is_err() {
                    return;
                }
                let key = master_key(self.stream_id);
                let put = self.objects.put_playlist(&key, text.clone());
                match self.lease.guard(put).await {
                    None => continue,
                    Some(Ok(())) => {
                        written = text;
                        self.playable.send_replace(true);
                        backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
                    }
                    Some(Err(error)) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the master playlist waits for storage"
                        );
                        tokio::time::sleep(backoff.next().unwrap_or(LAST_RETRY)).await;
                        continue;
                    }
                }
            }
            if stored.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Whether the stream went live again after `broadcast`: its playlist is no longer that one's to
/// write.
pub fn lists_a_later(text: &str, rung: Rung, broadcast: BroadcastTag) -> bool {
    MediaPlaylist::parse(text).is_ok_and(|playlist| {
        playlist.entries.first().is_some_and(|entry| {
            SegmentName::from_uri(rung, &entry.uri).is_ok_and(|name| name.broadcast > broadcast)
        })
    })
}

#[derive(Debug)]
enum WriteError {
    /// For good.
    Superseded(Superseded),
    /// Until the next renewal.
    LeasePaused,
    Storage(StorageError),
}
