//! From cut segments to objects: numbers, names, dates and discontinuities for all rungs at once,
//! uploads, and playlists that list a segment only when it is stored.
//!
//! [`Output`] lives as long as the broadcast is held here, over any number of ffmpeg runs;
//! [`RunOutput`] takes the segments of one run. Taking a segment never waits, because the tasks
//! that empty ffmpeg's pipes do it.

pub mod bandwidth;
pub mod objects;
pub mod playlists;
pub mod spill;
pub mod thumbnail;
pub mod timelines;
pub mod uploader;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::try_join_all;
use marquee_common::{contract::StreamId, retry::Backoff};
use marquee_hls::{
    BroadcastTag, MediaPlaylist, PartTarget, RenditionTimeline, Rung, SegmentEvent, SegmentName,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    bandwidth::Bandwidth,
    objects::{LiveObjects, SegmentBody, StorageError, playlist_key},
    playlists::PlaylistWriter,
    spill::Spill,
    thumbnail::ThumbnailWriter,
    timelines::{RunStart, Timelines},
    uploader::Uploader,
};
use crate::{
    edge::{Edge, LiveStream, StreamFormat},
    ladder::EncodePlan,
    lease::{Lease, Superseded},
    registry::Numbers,
};

/// What all broadcasts' outputs share.
#[derive(Clone)]
pub struct OutputContext {
    /// The live bucket.
    pub objects: LiveObjects,
    /// Where segments wait when storage is away for long.
    pub spill: Spill,
    /// Bytes a broadcast may hold in memory before it spills.
    pub memory_bytes: u64,
    /// How far playlists reach back.
    pub dvr_window: Duration,
    /// Serves what is not stored yet.
    pub edge: Edge,
}

impl OutputContext {
    /// Stores the segments that a process which died left on disk: recordings need them even when
    /// their playlists went on without. What cannot be stored stays for the next start.
    pub async fn store_leftovers(&self) {
        let leftovers = match self.spill.leftovers().await {
            Ok(leftovers) => leftovers,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the spill folder cannot be read"
                );
                return;
            }
        };
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        for (key, file) in leftovers {
            let body = SegmentBody::Disk(file.path().to_owned());
            while let Err(error) = self.objects.put_segment(&key, body.clone()).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a segment left on disk waits for storage"
                );
                if matches!(error, StorageError::Empty { .. }) {
                    break;
                }
                let Some(wait) = backoff.next() else { break };
                tokio::time::sleep(wait).await;
            }
            tracing::info!(
                segment = key,
                "a segment that was left on disk is done with"
            );
            file.remove();
        }
    }
}

/// Which broadcast an output writes, and where its numbers go on.
#[derive(Clone, Copy, Debug)]
pub struct BroadcastNumbers {
    /// The stream, which is the folder.
    pub stream_id: StreamId,
    /// The broadcast, which is in each name.
    pub broadcast: BroadcastTag,
    /// First media sequence number to use.
    pub next_msn: u64,
    /// Discontinuity number of the broadcast's very first segment.
    pub discontinuity_seq_first: u64,
    /// Whether segments of this broadcast may be stored already.
    pub resumed: bool,
}

/// One broadcast's output.
pub struct Output {
    edge: Edge,
    live: Arc<LiveStream>,
    timelines: Arc<Timelines>,
    uploader: Uploader,
    playlists: PlaylistWriter,
    thumbnail: ThumbnailWriter,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Output {
    /// Starts the output of a broadcast with these rungs. When it was begun elsewhere, its
    /// timelines are rebuilt from the names in storage first.
    pub async fn start(
        context: &OutputContext,
        numbers: BroadcastNumbers,
        rungs: &[Rung],
        part_target: PartTarget,
        lease: Lease,
        reported: watch::Sender<Numbers>,
    ) -> Result<Self, StorageError> {
        let renditions = if numbers.resumed {
            stored_timelines(context, numbers, rungs).await?
        } else {
            new_timelines(numbers, rungs)
        };
        let format = StreamFormat {
            part_target,
            dvr_window: context.dvr_window,
        };
        let edge = context.edge.clone();
        let live = edge.open(numbers.stream_id, numbers.broadcast, &renditions, format);
        let timelines = Arc::new(Timelines::new(
            numbers,
            renditions,
            context.dvr_window,
            reported,
            live.clone(),
        ));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let on_outcome = {
            let timelines = timelines.clone();
            Box::new(move |name: &_, outcome| timelines.resolve(name, outcome))
        };
        let uploader = Uploader::start(
            numbers.stream_id,
            context.objects.clone(),
            context.spill.clone(),
            context.memory_bytes,
            &tasks,
            stop.clone(),
            on_outcome,
        );
        let thumbnail = ThumbnailWriter::start(
            numbers.stream_id,
            context.objects.clone(),
            lease.clone(),
            &tasks,
            &stop,
        );
        let playlists = PlaylistWriter::start(
            numbers.stream_id,
            context.objects.clone(),
            timelines.clone(),
            lease,
            &tasks,
            &stop,
        );
        Ok(Self {
            edge,
            live,
            timelines,
            uploader,
            playlists,
            thumbnail,
            tasks,
            stop,
        })
    }

    /// Begins a run of ffmpeg under `epoch`, whose first keyframe came at `first_frame_ms` (Unix).
    /// Every run but a broadcast's first begins with a discontinuity. With `continues` its dates go
    /// on where the last run's ended, whenever that keyframe came.
    pub fn begin_run(
        &self,
        epoch: u64,
        first_frame_ms: i64,
        continues: bool,
        leader: Rung,
        plan: &EncodePlan,
    ) -> RunOutput {
        self.timelines.begin_run(&RunStart {
            epoch,
            first_frame_ms,
            continues,
            leader,
            is_on_trial: plan.is_passed_through(),
            bandwidths: plan
                .rungs()
                .into_iter()
                .map(|rung| {
                    let nominal = plan.nominal_bandwidth_bps(rung);
                    let bandwidth =
                        nominal.map_or_else(Bandwidth::passed_through, Bandwidth::encoded);
                    (rung, bandwidth)
                })
                .collect(),
        });
        RunOutput {
            timelines: self.timelines.clone(),
            uploader: self.uploader.clone(),
        }
    }

    /// Shows the newest picture of the broadcast, a whole JPEG. Never waits.
    pub fn show(&self, jpeg: Bytes) {
        self.thumbnail.show(jpeg);
    }

    /// Turns true when the master playlist, and all it leads to, is stored.
    pub fn playable(&self) -> watch::Receiver<bool> {
        self.playlists.playable()
    }

    /// Number of segments of the present run that are listed in the leader's playlist.
    pub fn listed_in_run(&self) -> u64 {
        self.timelines.listed_in_run()
    }

    /// Age of the oldest segment that is not stored.
    pub fn behind(&self) -> Duration {
        self.uploader.behind()
    }

    /// Waits until all segments and the playlists that list them are stored, at most `limit`.
    pub async fn flush(&self, limit: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        self.uploader.flush(limit).await && self.playlists.flush_until(deadline).await
    }

    /// Waits until all segments are stored, at most `limit`.
    pub async fn flush_segments(&self, limit: Duration) -> bool {
        self.uploader.flush(limit).await
    }

    /// Writes `#EXT-X-ENDLIST` to all renditions, reads it back, and repeats until it is what was
    /// written, at most for `limit`.
    pub async fn end(&self, limit: Duration) -> Result<bool, Superseded> {
        self.playlists.stop_keeping();
        self.thumbnail.stop();
        self.live.end();
        self.uploader.flush(limit).await;
        self.timelines.end();
        self.playlists.end(limit).await
    }

    /// Another process goes on with the broadcast: what is cut from now on is stored, and not shown.
    /// Viewers stay here until they are led there.
    pub fn give_way(&self) {
        self.edge.give_way(&self.live);
    }

    /// Stops all tasks; what is not stored by now is not stored.
    pub async fn stop(self) {
        self.edge.close(&self.live);
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Takes the segments of one run.
#[derive(Clone)]
pub struct RunOutput {
    timelines: Arc<Timelines>,
    uploader: Uploader,
}

impl RunOutput {
    /// Takes what the segmenter cut, in its order. Never waits.
    pub fn take(&self, event: SegmentEvent) {
        match event {
            SegmentEvent::Part(part) => self.timelines.part(part),
            SegmentEvent::Segment(cut) => {
                if let Some(name) = self.timelines.cut(&cut) {
                    self.uploader.push(name, cut.bytes);
                }
            }
            SegmentEvent::Missing {
                rung,
                index,
                start_pts,
                duration,
            } => self.timelines.missing(rung, index, start_pts, duration),
            SegmentEvent::LostAlignment { .. } | SegmentEvent::TooFarAhead { .. } => {}
        }
    }

    /// What the renditions turned out to be.
    pub fn measured(&self, rung: Rung, params: marquee_hls::RenditionParams) {
        self.timelines.measured(rung, params);
    }

    /// No more segments come; rungs that lack the last numbers get gaps.
    pub fn finish(&self) {
        self.timelines.end_run();
    }
}

/// What storage and the last published playlists say of a broadcast's renditions. What a playlist
/// lists is taken from there, so that only the names after it are asked for: a broadcast of days is
/// taken over as fast as one of minutes.
pub async fn stored_timelines(
    context: &OutputContext,
    numbers: BroadcastNumbers,
    rungs: &[Rung],
) -> Result<Vec<(Rung, RenditionTimeline)>, StorageError> {
    let BroadcastNumbers {
        stream_id,
        broadcast,
        ..
    } = numbers;
    let objects = &context.objects;
    let published = try_join_all(rungs.iter().map(|rung| async {
        let text = objects
            .get_playlist(&playlist_key(stream_id, *rung))
            .await?;
        Ok(text.and_then(|text| MediaPlaylist::parse(&text).ok()))
    }))
    .await?;
    let after = published_in_all(&published, rungs, broadcast);
    let names = try_join_all(
        rungs
            .iter()
            .map(|rung| objects.list_names(stream_id, *rung, broadcast, after.as_ref())),
    )
    .await?
    .concat();
    let timelines = rungs.iter().zip(&published).map(|(rung, published)| {
        let timeline = RenditionTimeline::rebuild(
            *rung,
            broadcast,
            numbers.discontinuity_seq_first,
            names.iter().copied(),
            published.as_ref(),
        );
        (*rung, timeline)
    });
    Ok(timelines.collect())
}

/// A name, not necessarily of a segment, up to which every rendition's playlist lists the broadcast;
/// `None` when one lists nothing of it.
fn published_in_all(
    published: &[Option<MediaPlaylist>],
    rungs: &[Rung],
    broadcast: BroadcastTag,
) -> Option<SegmentName> {
    let newest = |(playlist, rung): (&Option<MediaPlaylist>, &Rung)| {
        let entry = playlist.as_ref()?.entries.last()?;
        let name = SegmentName::from_uri(*rung, &entry.uri).ok()?;
        (name.broadcast == broadcast).then_some(name)
    };
    let newest: Option<Vec<_>> = published.iter().zip(rungs).map(newest).collect();
    // By each field apart: two writers at once may have left one rendition with the newer epoch and
    // another with the higher number.
    newest?.into_iter().reduce(|one, other| SegmentName {
        epoch: one.epoch.min(other.epoch),
        msn: one.msn.min(other.msn),
        start_ms: one.start_ms.min(other.start_ms),
        ..one
    })
}

fn new_timelines(numbers: BroadcastNumbers, rungs: &[Rung]) -> Vec<(Rung, RenditionTimeline)> {
    let first = numbers.discontinuity_seq_first;
    rungs
        .iter()
        .map(|rung| {
            (
                *rung,
                RenditionTimeline::new(*rung, numbers.broadcast, first),
            )
        })
        .collect()
}
