//! The live thumbnail: made by a real ffmpeg, stored in real S3.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use marquee_common::contract::BroadcastId;
use marquee_hls::{
    PartTarget, Rung,
    ts::{PacketKind, Reader},
};
use marquee_testkit::eventually;
use marquee_transcoder::{
    encode::{Encoder, THUMBNAIL_SECONDS},
    ladder::{EncodePlan, Ladder, TopRung},
    lease::{Lease, PauseWatch},
    output::{BroadcastNumbers, Output, objects::thumbnail_key},
    registry::Numbers,
    source::probe,
};
use tokio::{io::AsyncWriteExt, process::Command, sync::watch, time::Instant};

use crate::{encode::clips::Camera, storage::Storage};

const PATIENCE: Duration = Duration::from_secs(30);
/// A film is fed in so many parts.
const PARTS: usize = 6;
/// A whole picture, as far as anybody looks here.
const JPEG: &[u8] = &[0xff, 0xd8, 1, 2, 3, 0xff, 0xd9];

/// Counts the pictures of a transport stream.
#[derive(Default)]
struct Frames {
    reader: Reader,
    count: usize,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        let Self { reader, count } = self;
        reader.push(bytes, &mut |packet| {
            *count += usize::from(packet.kind == PacketKind::Video && packet.start.is_some());
        });
    }
}

/// All thumbnails of a film, and the encoder's end. The film is fed in parts, each when what came out
/// is close behind: pictures ten seconds apart are then seen one by one.
async fn thumbnails(film: Vec<u8>) -> Vec<Bytes> {
    let head = Bytes::copy_from_slice(&film[..film.len() / 2]);
    let source = probe(head, PATIENCE).await.unwrap();
    let ladder = Ladder::for_source(&source).unwrap();
    let plan = EncodePlan::new(&ladder, &source, TopRung::Copied).unwrap();
    let frames = Arc::new(Mutex::new(Frames::default()));
    let smallest = plan.rungs().pop();
    let sink = {
        let frames = Arc::clone(&frames);
        move |rung: Rung, bytes: Option<&[u8]>| {
            if let Some(bytes) = bytes.filter(|_| Some(rung) == smallest) {
                frames.lock().unwrap().push(bytes);
            }
        }
    };
    let mut encoder = Encoder::start(&plan, sink).unwrap();
    let mut newest = encoder.thumbnails();
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        while newest.changed().await.is_ok() {
            seen.extend(newest.borrow_and_update().clone());
        }
        seen
    });
    let mut written = Frames::default();
    for part in film.chunks(film.len() / PARTS + 1) {
        encoder.write(Bytes::copy_from_slice(part)).await.unwrap();
        let before = written.count;
        written.push(part);
        // ffmpeg holds some back, but not all of a part.
        eventually("the encoder follows", PATIENCE, async || {
            (frames.lock().unwrap().count >= before).then_some(())
        })
        .await;
    }
    let exit = encoder.finish().await;
    assert!(exit.success, "{exit:?}");
    assert!(
        exit.log.is_empty(),
        "nothing to complain of: {:?}",
        exit.log
    );
    seen.await.unwrap()
}

/// Codec, width and height, as ffprobe reads them; fails if it complains of anything.
async fn described(jpeg: &[u8]) -> String {
    let wanted =
        "-v error -f mjpeg -show_entries stream=codec_name,width,height -of csv=p=0 pipe:0";
    let mut probe = Command::new("ffprobe")
        .args(wanted.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    probe.stdin.take().unwrap().write_all(jpeg).await.unwrap();
    let output = probe.wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ten_seconds_a_whole_jpeg_comes_out_beside_the_rungs() {
    let film = Camera {
        fps: 10,
        gop: 20,
        ms: 2500 * THUMBNAIL_SECONDS,
        ..Camera::default()
    };
    let pictures = thumbnails(film.film()).await;
    assert_eq!(pictures.len(), 3, "at 0, 10 and 20 s");
    for picture in &pictures {
        assert_eq!(described(picture).await, "mjpeg,640,360");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_passed_through_alone_has_one_too() {
    let film = Camera {
        size: "320x240",
        fps: 10,
        gop: 20,
        ms: 4000,
        ..Camera::default()
    };
    let pictures = thumbnails(film.film()).await;
    assert_eq!(pictures.len(), 1);
    assert_eq!(described(&pictures[0]).await, "mjpeg,320,240");
}

async fn output(storage: &Storage) -> (Output, Lease) {
    let pause = PauseWatch::default();
    tokio::spawn(pause.clone().run(|| {}));
    let lease = Lease::granted(1, Instant::now(), pause);
    lease.publisher_connected(true);
    let numbers = BroadcastNumbers {
        stream_id: storage.stream_id,
        broadcast: BroadcastId::new().0.into(),
        next_msn: 1,
        discontinuity_seq_first: 0,
        resumed: false,
    };
    let (reported, _) = watch::channel(Numbers::default());
    let output = Output::start(
        &storage.context,
        numbers,
        &[Rung::P360],
        PartTarget::default(),
        lease.clone(),
        reported,
    );
    (output.await.unwrap(), lease)
}

async fn stored(storage: &Storage) -> Option<Bytes> {
    let object = storage
        .client
        .get_object()
        .bucket("live-segments")
        .key(thumbnail_key(storage.stream_id))
        .send()
        .await
        .ok()?;
    assert_eq!(object.content_type(), Some("image/jpeg"));
    let age = object.cache_control().unwrap().rsplit('=').next().unwrap();
    assert!(age.parse::<u32>().unwrap() <= 10);
    Some(object.body.collect().await.unwrap().into_bytes())
}

#[tokio::test]
async fn the_newest_thumbnail_is_stored_through_an_outage_and_stays_after_the_end() {
    let storage = Storage::new().await;
    let (output, _lease) = output(&storage).await;
    storage.door.shut();
    let turned_away = storage.door.somebody_turned_away();
    output.show(Bytes::from_static(b"of no more interest"));
    turned_away.await;
    storage.door.open();
    output.show(Bytes::from_static(JPEG));
    let found = eventually("the newest is stored", PATIENCE, || stored(&storage)).await;
    assert_eq!(found, JPEG);
    assert_eq!(output.end(PATIENCE).await, Ok(true));
    output.show(Bytes::from_static(b"too late"));
    output.stop().await;
    assert_eq!(stored(&storage).await.unwrap(), JPEG);
}

#[tokio::test]
async fn who_no_longer_holds_the_broadcast_writes_no_thumbnail() {
    let storage = Storage::new().await;
    let (output, lease) = output(&storage).await;
    lease.supersede();
    output.show(Bytes::from_static(JPEG));
    output.stop().await;
    assert_eq!(stored(&storage).await, None);
}
