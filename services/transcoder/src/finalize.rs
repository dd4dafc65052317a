//! Ends a broadcast whose transcoder died: rebuilds its playlists from what is stored and writes
//! them with `#EXT-X-ENDLIST`.

use std::time::Duration;

use marquee_common::{
    contract::{StreamId, ingest::FinalizeRequest},
    retry::Backoff,
};
use marquee_hls::{BroadcastTag, MediaPlaylist, Rung, SegmentName, UnknownRung};
use tokio::time::Instant;

use crate::output::{
    BroadcastNumbers, OutputContext,
    objects::{StorageError, playlist_key},
    stored_timeline,
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
    let deadline = Instant::now() + DEADLINE;
    for name in &request.ladder.rungs {
        end_rendition(context, numbers, name.parse()?, deadline).await?;
    }
    tracing::info!(%stream_id, broadcast_id = %request.broadcast_id, "ended a dead colleague's broadcast");
    Ok(())
}

async fn end_rendition(
    context: &OutputContext,
    numbers: BroadcastNumbers,
    rung: Rung,
    deadline: Instant,
) -> Result<(), FinalizeError> {
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    loop {
        let error = match try_end(context, numbers, rung).await {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= deadline {
            return Err(FinalizeError::Storage(error));
        }
        tokio::time::sleep(backoff.next().unwrap_or(LAST_RETRY)).await;
    }
}

/// Tells whether the ended playlist is what storage holds.
async fn try_end(
    context: &OutputContext,
    numbers: BroadcastNumbers,
    rung: Rung,
) -> Result<bool, StorageError> {
    let key = playlist_key(numbers.stream_id, rung);
    let published = context.objects.get_playlist(&key).await?;
    if published.is_some_and(|text| lists_a_later_broadcast(&text, rung, numbers.broadcast)) {
        return Ok(true);
    }
    let mut timeline = stored_timeline(context, numbers, rung).await?;
    timeline.end();
    let playlist = timeline.window(context.dvr_window);
    if playlist.entries.is_empty() {
        return Ok(true);
    }
    let text = playlist.write();
    context.objects.put_playlist(&key, text.clone()).await?;
    Ok(context.objects.get_playlist(&key).await? == Some(text))
}

/// The stream went live again meanwhile: its playlist is no longer this broadcast's to end.
fn lists_a_later_broadcast(text: &str, rung: Rung, broadcast: BroadcastTag) -> bool {
    MediaPlaylist::parse(text).is_ok_and(|playlist| {
        playlist.entries.first().is_some_and(|entry| {
            SegmentName::from_uri(rung, &entry.uri).is_ok_and(|name| name.broadcast > broadcast)
        })
    })
}
