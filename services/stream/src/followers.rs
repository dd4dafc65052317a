//! Who follows a stream's events, and the newest they are told.
//!
//! Every instance reads the streams that are followed at it once a second, all in one query
//! however many follow, and each follower holds the newest reading only: one that lags skips what
//! lies between, and nothing piles up. Why not by messages between instances: ADR 13.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use marquee_common::{
    contract::{StreamId, UserId},
    error_chain,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    lifecycle::StreamStatus,
    metadata::Visibility,
    store::{FollowedRow, HealthSample, Store},
    viewers::Viewers,
};

/// Time between two readings.
const INTERVAL: Duration = Duration::from_secs(1);
/// Streams newly followed are read at once, those of so long together.
const GATHER: Duration = Duration::from_millis(20);
/// Longest reading. Behind it waits the next one.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for a first reading.
const FIRST_DEADLINE: Duration = Duration::from_secs(3);
/// Streams read by one query.
const BATCH: usize = 500;

/// What a follower is told, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Whose stream it is: the owner is told of its health.
    pub owner: UserId,
    /// Who finds it.
    pub visibility: Visibility,
    /// Its title.
    pub title: String,
    /// Where it stands.
    pub status: StreamStatus,
    /// When the running broadcast went live.
    pub started_at: Option<time::OffsetDateTime>,
    /// The running broadcast's rungs.
    pub available_qualities: Vec<String>,
    /// How many watch; `None` while that cannot be counted.
    pub viewer_count: Option<u64>,
    /// The running broadcast's newest sample.
    pub health: Option<HealthSample>,
}

/// What is known of a followed stream.
#[derive(Clone, Debug, Default)]
enum Reading {
    /// Nothing yet.
    #[default]
    Unread,
    /// There is no such stream, or no more.
    Gone,
    /// The newest.
    Now(Arc<Update>),
}

/// The followers at this instance; a cheap clone.
#[derive(Clone)]
pub struct Followers(Arc<Inner>);

struct Inner {
    followed: Mutex<HashMap<StreamId, watch::Sender<Reading>>>,
    newly_followed: Notify,
    places: Arc<Semaphore>,
}

/// Follows one stream.
pub struct Follower {
    readings: watch::Receiver<Reading>,
    _place: OwnedSemaphorePermit,
}

impl Followers {
    /// At most `most` at a time.
    pub fn new(most: u32) -> Self {
        Self(Arc::new(Inner {
            followed: Mutex::default(),
            newly_followed: Notify::new(),
            places: Arc::new(Semaphore::new(most as usize)),
        }))
    }

    /// Follows a stream: its newest update, and the follower that gets the later ones.
    pub async fn follow(&self, stream: StreamId) -> Result<(Arc<Update>, Follower), Error> {
        let place = Arc::clone(&self.0.places)
            .try_acquire_owned()
            .map_err(|_| Error::TooManyFollowers)?;
        let mut follower = Follower {
            readings: self.readings_of(stream),
            _place: place,
        };
        let read = follower
            .readings
            .wait_for(|reading| !matches!(reading, Reading::Unread));
        let first = match timeout(FIRST_DEADLINE, read).await {
            // A sender lives as long as it has receivers.
            Ok(reading) => reading.map_or(Reading::Unread, |reading| reading.clone()),
            Err(_) => Reading::Unread,
        };
        match first {
            Reading::Now(update) => Ok((update, follower)),
            Reading::Gone => Err(Error::NotFound),
            Reading::Unread => Err(Error::UpdatesAway),
        }
    }

    fn readings_of(&self, stream: StreamId) -> watch::Receiver<Reading> {
        let mut followed = self.followed();
        let readings = followed.entry(stream).or_insert_with(|| {
            self.0.newly_followed.notify_one();
            watch::Sender::default()
        });
        readings.subscribe()
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<StreamId, watch::Sender<Reading>>> {
        self.0
            .followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is followed until `stop`.
    pub async fn read(self, store: Store, viewers: Viewers, stop: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let all = tokio::select! {
                _ = ticks.tick() => true,
                () = self.0.newly_followed.notified() => {
                    sleep(GATHER).await;
                    false
                }
                () = stop.cancelled() => return,
            };
            let wanted = self.wanted(all);
            for batch in wanted.chunks(BATCH) {
                let read = timeout(READ_DEADLINE, read(&store, &viewers, batch)).await;
                let error = match read {
                    Ok(Ok(updates)) => {
                        self.tell(batch, updates);
                        failing = false;
                        continue;
                    }
                    Ok(Err(error)) => error_chain(&error),
                    Err(_) => "no answer in time".to_owned(),
                };
                if !failing {
                    tracing::warn!(error, "followers are told nothing new");
                }
                failing = true;
                break;
            }
        }
    }

    /// The streams to read: all that are followed, or those that were not read yet. Who follows
    /// none any more is forgotten.
    fn wanted(&self, all: bool) -> Vec<StreamId> {
        let mut followed = self.followed();
        followed.retain(|_, readings| readings.receiver_count() > 0);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge of some thousands at most"
        )]
        metrics::gauge!("stream_followed_streams").set(followed.len() as f64);
        let unread =
            |readings: &watch::Sender<Reading>| matches!(*readings.borrow(), Reading::Unread);
        followed
            .iter()
            .filter(|(_, readings)| all || unread(readings))
            .map(|(stream, _)| *stream)
            .collect()
    }

    fn tell(&self, asked: &[StreamId], mut updates: HashMap<StreamId, Update>) {
        let followed = self.followed();
        for stream in asked {
            let Some(readings) = followed.get(stream) else {
                continue;
            };
            let update = updates.remove(stream);
            readings.send_if_modified(|newest| match (update, &*newest) {
                (Some(update), Reading::Now(last)) if **last == update => false,
                (Some(update), _) => {
                    *newest = Reading::Now(Arc::new(update));
                    true
                }
                (None, Reading::Gone) => false,
                (None, _) => {
                    *newest = Reading::Gone;
                    true
                }
            });
        }
    }
}

async fn read(
    store: &Store,
    viewers: &Viewers,
    streams: &[StreamId],
) -> Result<HashMap<StreamId, Update>, Error> {
    let rows = store.list_followed(streams).await?;
    let ids: Vec<StreamId> = rows.iter().map(|row| row.id).collect();
    let counts = viewers.counts(&ids).await;
    Ok(rows
        .into_iter()
        .zip(counts)
        .map(|(row, viewer_count)| (row.id, Update::of(row, viewer_count)))
        .collect())
}

impl Update {
    fn of(row: FollowedRow, viewer_count: Option<u64>) -> Self {
        Self {
            health: row.health(),
            owner: row.user_id,
            visibility: row.visibility,
            title: row.title,
            status: row.status,
            started_at: row.started_at,
            available_qualities: row.available_qualities,
            viewer_count,
        }
    }
}

impl Follower {
    /// The next update that differs from the last one; `None` once the stream is gone.
    pub async fn next(&mut self) -> Option<Arc<Update>> {
        self.readings.changed().await.ok()?;
        match &*self.readings.borrow_and_update() {
            Reading::Now(update) => Some(Arc::clone(update)),
            Reading::Gone | Reading::Unread => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(viewer_count: u64) -> Update {
        Update {
            owner: UserId::new(),
            visibility: Visibility::Public,
            title: String::new(),
            status: StreamStatus::Live,
            started_at: None,
            available_qualities: Vec::new(),
            viewer_count: Some(viewer_count),
            health: None,
        }
    }

    async fn following(followers: &Followers, stream: StreamId) -> (Arc<Update>, Follower) {
        let first = followers.follow(stream);
        let told = async {
            followers.0.newly_followed.notified().await;
            followers.tell(&[stream], HashMap::from([(stream, update(0))]));
        };
        let (first, ()) = tokio::join!(first, told);
        first.unwrap()
    }

    #[tokio::test]
    async fn a_follower_that_lags_gets_the_newest_and_nothing_between() {
        let followers = Followers::new(10);
        let stream = StreamId::new();
        let (first, mut follower) = following(&followers, stream).await;
        assert_eq!(first.viewer_count, Some(0));
        let mut newest = update(0);
        for viewers in 1..1_000 {
            newest = update(viewers);
            followers.tell(&[stream], HashMap::from([(stream, newest.clone())]));
        }
        assert_eq!(follower.next().await.as_deref(), Some(&newest));
        // The same again is no news; that it is gone is.
        followers.tell(&[stream], HashMap::from([(stream, newest)]));
        followers.tell(&[stream], HashMap::new());
        assert_eq!(follower.next().await, None);
    }

    #[tokio::test]
    async fn there_are_so_many_places_and_who_leaves_gives_one_back() {
        let followers = Followers::new(1);
        let stream = StreamId::new();
        let (_, follower) = following(&followers, stream).await;
        assert!(matches!(
            followers.follow(stream).await,
            Err(Error::TooManyFollowers)
        ));
        drop(follower);
        assert!(followers.wanted(true).is_empty(), "nobody follows it");
        following(&followers, stream).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_cannot_be_read_is_waited_for_but_not_for_ever() {
        let followers = Followers::new(1);
        assert!(matches!(
            followers.follow(StreamId::new()).await,
            Err(Error::UpdatesAway)
        ));
    }
}
