//! Keeps a stream's live thumbnail up to date: the newest picture, one PUT at a time, only while the
//! lease allows it. A PUT that fails is not tried again; the next picture is newer.

use std::time::Duration;

use bytes::Bytes;
use marquee_common::contract::StreamId;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::objects::{LiveObjects, thumbnail_key};
use crate::lease::Lease;

/// Between two PUTs: a little less than between two pictures, so that none waits for the next.
const REST: Duration = Duration::from_secs(8);

/// Writes one stream's thumbnail.
pub struct ThumbnailWriter {
    newest: watch::Sender<Option<Bytes>>,
    stop: CancellationToken,
}

impl ThumbnailWriter {
    /// Starts the task that writes; it ends with `stop`, or when the lease is superseded.
    pub fn start(
        stream_id: StreamId,
        objects: LiveObjects,
        lease: Lease,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (newest, pictures) = watch::channel(None);
        let stop = stop.child_token();
        let cancelled = stop.clone();
        tasks.spawn(async move {
            let keep = keep(thumbnail_key(stream_id), objects, lease, pictures);
            cancelled.run_until_cancelled(keep).await;
        });
        Self { newest, stop }
    }

    /// The newest picture, a whole JPEG. Never waits.
    pub fn show(&self, jpeg: Bytes) {
        self.newest.send_replace(Some(jpeg));
    }

    /// Nothing more is written: the stream may go live anew elsewhere. The last picture stays.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

async fn keep(
    key: String,
    objects: LiveObjects,
    lease: Lease,
    mut pictures: watch::Receiver<Option<Bytes>>,
) {
    let mut failing = false;
    while pictures.changed().await.is_ok() && lease.permit().await.is_ok() {
        let Some(jpeg) = pictures.borrow_and_update().clone() else {
            continue;
        };
        let put = lease.guard(objects.put_thumbnail(&key, jpeg)).await;
        if let Some(Err(error)) = &put {
            metrics::counter!("transcoder_thumbnail_put_failures_total").increment(1);
            if !failing {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "the live thumbnail is not stored; the next one is tried"
                );
            }
        }
        failing = !matches!(put, Some(Ok(())));
        tokio::time::sleep(REST).await;
    }
}
