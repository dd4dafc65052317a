//! Ends a broadcast whose transcoder died: rebuilds its playlists from what is stored and writes
//! them with `#EXT-X-ENDLIST`.

use std::time::Duration;

use marquee_common::{
    contract::{StreamId, ingest::FinalizeRequest},
    retry::Backoff,
};
use marquee_hls::{MediaPlaylist, Rung, UnknownRung};
use tokio::time::{Instant, timeout_at};

use crate::output::{
    BroadcastNumbers, OutputContext,
    objects::{StorageError, playlist_key},
    playlists::lists_a_later,
    stored_timelines,
};

/// All of it, all renditions together.
const DEADLINE: Duration = Duration::from_secs(20);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// A broadcast could not be ended here.
#[derive(Debug, thiserror::Error)]
pub enum FinalizeError {
    /// The ladder names a rung that does not exist.
    #[error("the ladder names no rung of ours")]
    Ladder(#[from] UnknownRung),
    /// Storage is away, or holds something else than was written.
    #[error("storage did not keep the ended playlist")]
    Storage(#[source] Option<StorageError>),
}

/// Writes the ended playlists of a broadcast that nobody holds.
pub async fn finalize(
    context: &OutputContext,
    stream_id: StreamId,
    request: &FinalizeRequest,
) -> Result<(), FinalizeError> {
    let numbers = BroadcastNumbers {
        stream_id,
        broadcast: request.broadcast_id.0.into(),
        next_msn: 0,
        discontinuity_seq_first: request.discontinuity_seq_first,
        resumed: true,
    };
    let rungs = match &request.ladder {
        Some(ladder) => Some(
            ladder
                .rungs
                .iter()
                .map(|name| name.parse())
                .collect::<Result<Vec<Rung>, _>>()?,
        ),
        None => None,
    };
    let deadline = Instant::now() + DEADLINE;
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    loop {
        let attempt = async {
            match &rungs {
                Some(rungs) => try_end(context, numbers, rungs).await,
                None => try_end_published(context, numbers).await,
            }
        };
        let error = match timeout_at(deadline, attempt).await {
            Ok(Ok(true)) => break,
            Ok(Ok(false)) | Err(_) => None,
            Ok(Err(error)) => Some(error),
        };
        if Instant::now() >= deadline {
            return Err(FinalizeError::Storage(error));
        }
        tokio::time::sleep(backoff.next().unwrap_or(LAST_RETRY)).await;
    }
    tracing::info!(%stream_id, broadcast_id = %request.broadcast_id, "ended a dead colleague's broadcast");
    Ok(())
}

/// Tells whether the ended playlists are what storage holds.
async fn try_end(
    context: &OutputContext,
    numbers: BroadcastNumbers,
    rungs: &[Rung],
) -> Result<bool, StorageError> {
    let objects = &context.objects;
    for (rung, mut timeline) in stored_timelines(context, numbers, rungs).await? {
        let key = playlist_key(numbers.stream_id, rung);
        let published = objects.get_playlist(&key).await?;
        if published.is_some_and(|text| lists_a_later(&text, rung, numbers.broadcast)) {
            continue;
        }
        timeline.end();
        let playlist = timeline.window(context.dvr_window);
        if playlist.entries.iter().all(|entry| entry.gap) {
            continue;
        }
        let text = playlist.write();
        objects.put_playlist(&key, text.clone()).await?;
        if objects.get_playlist(&key).await? != Some(text) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The same for a broadcast that was never reported live, so that nobody knows its renditions:
/// what is published is ended as it stands.
async fn try_end_published(
    context: &OutputContext,
    numbers: BroadcastNumbers,
) -> Result<bool, StorageError> {
    let objects = &context.objects;
    for rung in Rung::ALL {
        let key = playlist_key(numbers.stream_id, rung);
        let Some(text) = objects.get_playlist(&key).await? else {
            continue;
        };
        if lists_a_later(&text, rung, numbers.broadcast) {
            continue;
        }
        let Ok(mut playlist) = MediaPlaylist::parse(&text) else {
            continue;
        };
        if playlist.ended {
            continue;
        }
        playlist.ended = true;
        let text = playlist.write();
        objects.put_playlist(&key, text.clone()).await?;
        if objects.get_playlist(&key).await? != Some(text) {
            return Ok(false);
        }
    }
    Ok(true)
}
