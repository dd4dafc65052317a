//! Segments and playlists in real storage: through outages, takeovers and ends.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use marquee_common::contract::{
    BroadcastId,
    ingest::{BroadcastLadder, FinalizeRequest},
};
use marquee_hls::{
    CutSegment, MediaPlaylist, PartTarget, RenditionParams, Rung, SegmentEvent, SegmentName,
};
use marquee_testkit::eventually;
use marquee_transcoder::{
    finalize::finalize,
    ladder::{EncodePlan, Ladder, TopRung},
    lease::{Lease, PauseWatch},
    output::{
        BroadcastNumbers, Output, RunOutput,
        objects::{master_key, playlist_key},
    },
    registry::Numbers,
    source::{Source, VideoSource},
};
use tokio::sync::watch;

use crate::storage::Storage;

const PATIENCE: Duration = Duration::from_secs(20);
const RUNGS: [Rung; 2] = [Rung::P480, Rung::P360];

/// One broadcast in one process.
struct Writer {
    output: Output,
    lease: Lease,
    numbers: watch::Receiver<Numbers>,
}

impl Writer {
    async fn start(storage: &Storage, broadcast: BroadcastId, epoch: u64, next_msn: u64) -> Self {
        let lease = Lease::granted(epoch, tokio::time::Instant::now(), PauseWatch::default());
        lease.publisher_connected(true);
        let (reported, numbers) = watch::channel(Numbers::default());
        let output = Output::start(
            &storage.context,
            BroadcastNumbers {
                stream_id: storage.stream_id,
                broadcast: broadcast.0.into(),
                next_msn,
                discontinuity_seq_first: 0,
                resumed: epoch > 1,
            },
            &RUNGS,
            PartTarget::default(),
            lease.clone(),
            reported,
        )
        .await
        .unwrap();
        Self {
            output,
            lease,
            numbers,
        }
    }

    fn begin_run(&self) -> Run {
        let source = Source {
            video: Some(VideoSource {
                codec: "h264".into(),
                width: 854,
                height: 480,
                fps: 30.0,
                pix_fmt: "yuv420p".into(),
                profile: "High".into(),
                bit_depth: 8,
                rotated: false,
            }),
            audio: None,
            audio_announced: false,
        };
        let ladder = Ladder::for_source(&source).unwrap();
        let plan = EncodePlan::new(&ladder, &source, TopRung::Copied).unwrap();
        let output = self.output.begin_run(
            self.lease.epoch(),
            1_795_000_000_000,
            false,
            Rung::P480,
            &plan,
        );
        for rung in RUNGS {
            output.measured(
                rung,
                RenditionParams {
                    codecs: "avc1.64001f".into(),
                    resolution: Some((640, 360)),
                    frame_rate: Some(30.0),
                    has_audio: false,
                },
            );
        }
        Run { output, next: 0 }
    }
}

struct Run {
    output: RunOutput,
    next: u64,
}

impl Run {
    /// Cuts the next 2 s in both rungs.
    fn cut(&mut self) {
        for rung in RUNGS {
            self.output.take(SegmentEvent::Segment(CutSegment {
                rung,
                index: self.next,
                start_pts: i64::try_from(self.next).unwrap() * 180_000,
                duration: 180_000,
                bytes: Bytes::from(vec![0x47; 188 * 20]),
                frames: 60,
            }));
        }
        self.next += 1;
    }
}

async fn published(storage: &Storage, rung: Rung) -> Option<MediaPlaylist> {
    let key = playlist_key(storage.stream_id, rung);
    let text = storage.context.objects.get_playlist(&key).await.ok()??;
    Some(MediaPlaylist::parse(&text).unwrap())
}

/// The playlist, once it lists `count` entries.
async fn listing(storage: &Storage, rung: Rung, count: usize) -> MediaPlaylist {
    eventually("the playlist lists what was cut", PATIENCE, || async {
        published(storage, rung)
            .await
            .filter(|playlist| playlist.entries.len() >= count)
    })
    .await
}

async fn assert_all_listed_are_stored(storage: &Storage, broadcast: BroadcastId) {
    for rung in RUNGS {
        let Some(playlist) = published(storage, rung).await else {
            continue;
        };
        let stored: BTreeSet<String> = storage
            .context
            .objects
            .list_names(storage.stream_id, rung, broadcast.0.into(), None)
            .await
            .unwrap()
            .iter()
            .map(SegmentName::uri)
            .collect();
        for entry in playlist.entries.iter().filter(|entry| !entry.gap) {
            assert!(
                stored.contains(&entry.uri),
                "{} is listed and not stored",
                entry.uri
            );
        }
    }
}

#[tokio::test]
async fn the_master_comes_after_the_first_segment_of_every_rendition() {
    let storage = Storage::new().await;
    let broadcast = BroadcastId::new();
    let writer = Writer::start(&storage, broadcast, 1, 1).await;
    let mut run = writer.begin_run();
    assert!(!*writer.output.playable().borrow());
    run.cut();
    writer
        .output
        .playable()
        .wait_for(|playable| *playable)
        .await
        .unwrap();
    assert_all_listed_are_stored(&storage, broadcast).await;
    let master = storage
        .context
        .objects
        .get_playlist(&master_key(storage.stream_id))
        .await;
    let master = master.unwrap().unwrap();
    let renditions: Vec<_> = master
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(renditions, ["480p/playlist.m3u8", "360p/playlist.m3u8"]);
}

#[tokio::test]
async fn what_is_cut_while_storage_is_away_is_listed_afterwards_with_nothing_missing() {
    let storage = Storage::new().await;
    let broadcast = BroadcastId::new();
    let writer = Writer::start(&storage, broadcast, 1, 1).await;
    let mut run = writer.begin_run();
    run.cut();
    listing(&storage, Rung::P360, 1).await;
    storage.door.shut();
    for _ in 0..5 {
        run.cut();
    }
    eventually("the queue notices", PATIENCE, || async {
        (writer.output.behind() > Duration::from_millis(300)).then_some(())
    })
    .await;
    storage.door.open();
    for rung in RUNGS {
        let playlist = listing(&storage, rung, 6).await;
        let numbers: Vec<_> = playlist.entries.iter().map(|entry| entry.msn).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert!(
            playlist
                .entries
                .iter()
                .all(|entry| !entry.gap && !entry.discontinuity)
        );
    }
    assert_all_listed_are_stored(&storage, broadcast).await;
}

#[tokio::test]
async fn a_successor_continues_the_playlist_with_gaps_and_one_discontinuity() {
    let storage = Storage::new().await;
    let broadcast = BroadcastId::new();
    let predecessor = Writer::start(&storage, broadcast, 1, 1).await;
    let mut run = predecessor.begin_run();
    for _ in 0..3 {
        run.cut();
    }
    listing(&storage, Rung::P360, 3).await;
    let reported = predecessor.numbers.borrow().next_msn;
    assert_eq!(reported, 5, "the segment under way is taken, too");
    predecessor.lease.supersede();

    let successor = Writer::start(&storage, broadcast, 2, reported + 8).await;
    successor.begin_run().cut();
    for rung in RUNGS {
        let playlist = listing(&storage, rung, 13).await;
        let numbers: Vec<_> = playlist.entries.iter().map(|entry| entry.msn).collect();
        assert_eq!(numbers, (1..=13).collect::<Vec<_>>());
        let gaps = playlist.entries.iter().filter(|entry| entry.gap).count();
        assert_eq!(gaps, 9);
        let marks: Vec<_> = playlist
            .entries
            .iter()
            .filter(|entry| entry.discontinuity)
            .collect();
        assert_eq!(marks.len(), 1);
        assert_eq!(marks[0].msn, 13);
    }
    // The old one is slow to notice: it goes on cutting, and nothing of it is published.
    run.cut();
    predecessor.output.flush_segments(PATIENCE).await;
    let playlist = published(&storage, Rung::P360).await.unwrap();
    assert_eq!(playlist.entries.len(), 13);
}

#[tokio::test]
async fn only_names_after_what_every_playlist_lists_are_asked_for() {
    let storage = Storage::new().await;
    let broadcast = BroadcastId::new();
    let writer = Writer::start(&storage, broadcast, 1, 1).await;
    let mut run = writer.begin_run();
    for _ in 0..12 {
        run.cut();
    }
    let playlist = listing(&storage, Rung::P480, 12).await;
    let after = |number: usize| SegmentName::from_uri(Rung::P480, &playlist.entries[number].uri);
    let listed = |after| {
        let tag = broadcast.0.into();
        let objects = &storage.context.objects;
        async move {
            let names = objects.list_names(storage.stream_id, Rung::P360, tag, Some(&after));
            let numbers = names.await.unwrap().into_iter().map(|name| name.msn);
            numbers.collect::<Vec<_>>()
        }
    };
    assert_eq!(listed(after(7).unwrap()).await, [9, 10, 11, 12]);
    assert!(listed(after(11).unwrap()).await.is_empty());
}

#[tokio::test]
async fn the_end_is_written_through_an_outage_and_read_back() {
    let storage = Storage::new().await;
    let writer = Writer::start(&storage, BroadcastId::new(), 1, 1).await;
    let mut run = writer.begin_run();
    run.cut();
    listing(&storage, Rung::P360, 1).await;
    storage.door.shut();
    let end = writer.output.end(PATIENCE);
    let reopen = async {
        storage.door.somebody_turned_away().await;
        storage.door.open();
    };
    let (ended, ()) = tokio::join!(end, reopen);
    assert_eq!(ended, Ok(true));
    for rung in RUNGS {
        assert!(published(&storage, rung).await.unwrap().ended);
    }
}

#[tokio::test]
async fn a_dead_transcoders_broadcast_is_ended_from_what_it_stored() {
    let storage = Storage::new().await;
    let broadcast = BroadcastId::new();
    let writer = Writer::start(&storage, broadcast, 1, 1).await;
    let mut run = writer.begin_run();
    run.cut();
    run.cut();
    listing(&storage, Rung::P480, 2).await;
    listing(&storage, Rung::P360, 2).await;
    writer.output.stop().await;

    let request = FinalizeRequest {
        broadcast_id: broadcast,
        discontinuity_seq_first: 0,
        ladder: Some(BroadcastLadder {
            rungs: RUNGS.iter().map(ToString::to_string).collect(),
            audio: false,
        }),
    };
    finalize(&storage.context, storage.stream_id, &request)
        .await
        .unwrap();
    for rung in RUNGS {
        let playlist = published(&storage, rung).await.unwrap();
        assert!(playlist.ended);
        assert_eq!(playlist.entries.len(), 2);
    }

    // Asked again after the stream went live anew, it leaves the newer broadcast alone.
    eventually(
        "the clock moves on, so that the tags differ",
        PATIENCE,
        || async {
            (BroadcastId::new().0.get_timestamp() != broadcast.0.get_timestamp()).then_some(())
        },
    )
    .await;
    let newer = Writer::start(&storage, BroadcastId::new(), 1, 11).await;
    newer.begin_run().cut();
    eventually("the newer broadcast is listed", PATIENCE, || async {
        published(&storage, Rung::P360)
            .await
            .filter(|playlist| playlist.media_sequence == 11)
    })
    .await;
    finalize(&storage.context, storage.stream_id, &request)
        .await
        .unwrap();
    let playlist = published(&storage, Rung::P360).await.unwrap();
    assert!(!playlist.ended);
    assert_eq!(playlist.media_sequence, 11);
}

#[tokio::test]
async fn what_was_published_before_a_broadcast_was_reported_live_is_ended_as_it_stands() {
    let storage = Storage::new().await;
    let request = FinalizeRequest {
        broadcast_id: BroadcastId::new(),
        discontinuity_seq_first: 0,
        ladder: None,
    };
    finalize(&storage.context, storage.stream_id, &request)
        .await
        .unwrap();
    for rung in RUNGS {
        assert!(published(&storage, rung).await.is_none(), "nothing was");
    }

    let writer = Writer::start(&storage, request.broadcast_id, 1, 1).await;
    let mut run = writer.begin_run();
    run.cut();
    run.cut();
    listing(&storage, Rung::P480, 2).await;
    listing(&storage, Rung::P360, 2).await;
    writer.output.stop().await;
    finalize(&storage.context, storage.stream_id, &request)
        .await
        .unwrap();
    for rung in RUNGS {
        let playlist = published(&storage, rung).await.unwrap();
        assert!(playlist.ended);
        assert_eq!(playlist.entries.len(), 2);
    }
}

#[tokio::test]
async fn a_run_that_ends_uneven_leaves_gaps_so_that_all_renditions_go_on_at_one_number() {
    let storage = Storage::new().await;
    let writer = Writer::start(&storage, BroadcastId::new(), 1, 1).await;
    let mut run = writer.begin_run();
    run.cut();
    // The encoder falls after the leader's second segment.
    run.output.take(SegmentEvent::Segment(CutSegment {
        rung: Rung::P480,
        index: 1,
        start_pts: 180_000,
        duration: 90_000,
        bytes: Bytes::from(vec![0x47; 188 * 20]),
        frames: 30,
    }));
    run.output.finish();
    writer.begin_run().cut();
    let low = listing(&storage, Rung::P360, 3).await;
    let high = listing(&storage, Rung::P480, 3).await;
    let shape = |playlist: &MediaPlaylist| -> Vec<_> {
        playlist
            .entries
            .iter()
            .map(|entry| {
                (
                    entry.msn,
                    entry.duration_ms,
                    entry.discontinuity,
                    entry.start_ms,
                )
            })
            .collect()
    };
    assert_eq!(shape(&low), shape(&high));
    let gaps = |playlist: &MediaPlaylist| -> Vec<u64> {
        playlist
            .entries
            .iter()
            .filter(|entry| entry.gap)
            .map(|entry| entry.msn)
            .collect()
    };
    assert_eq!((gaps(&high), gaps(&low)), (vec![], vec![2]));
}
