//! The process itself: its end in every way it can come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use marquee_hls::Rung;
use marquee_testkit::eventually;
use marquee_transcoder::encode::{EncodeError, Encoder, EncoderLimits};
use marquee_transcoder::ladder::{EncodePlan, Ladder, TopRung};
use marquee_transcoder::source::{Source, probe};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clips::Camera;

const QUICK: EncoderLimits = EncoderLimits {
    write: Duration::from_millis(700),
    flush: Duration::from_millis(300),
    kill: Duration::from_millis(300),
};

fn film() -> Vec<u8> {
    Camera {
        size: "640x480",
        fps: 15,
        gop: 30,
        ..Camera::default()
    }
    .film()
}

async fn plan(film: &[u8]) -> EncodePlan {
    let head = Bytes::copy_from_slice(&film[..film.len() / 2]);
    let source: Source = probe(head, Duration::from_secs(10)).await.unwrap();
    EncodePlan::new(
        &Ladder::for_source(&source).unwrap(),
        &source,
        TopRung::Copied,
    )
    .unwrap()
}

fn signal(encoder: &Encoder, signal: Signal) {
    let id = i32::try_from(encoder.process_id().unwrap()).unwrap();
    kill(Pid::from_raw(id), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_is_killed_is_noticed_and_the_sink_is_told_of_each_end() {
    let film = film();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let ends = Arc::clone(&ends);
        move |rung: Rung, bytes: Option<&[u8]>| {
            if bytes.is_none() {
                ends.lock().unwrap().push(rung);
            }
        }
    };
    let mut encoder = Encoder::start(&plan(&film).await, sink).unwrap();
    encoder
        .write(Bytes::copy_from_slice(&film[..film.len() / 2]))
        .await
        .unwrap();
    signal(&encoder, Signal::SIGKILL);
    let exit = tokio::time::timeout(Duration::from_secs(5), encoder.exited())
        .await
        .unwrap();
    assert!(!exit.success);
    assert_eq!((exit.signal, exit.code), (Some(9), None));
    let mut ends = ends.lock().unwrap().clone();
    ends.sort_unstable();
    assert_eq!(ends, [Rung::P480, Rung::P360]);
    // A pipe may take a little more before it is known to be closed.
    let mut refused = None;
    for _ in 0..100 {
        refused = encoder.write(Bytes::from(vec![0; 100_000])).await.err();
        if refused.is_some() {
            break;
        }
    }
    assert!(
        matches!(refused, Some(EncodeError::Closed(_))),
        "{refused:?}"
    );
    assert_eq!(encoder.finish().await, exit);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_cannot_work_says_why() {
    let mut encoder = Encoder::start(&plan(&film()).await, |_, _| {}).unwrap();
    let garbage: Vec<u8> = (0..200_000_u64).map(|at| (at * at % 253) as u8).collect();
    // It may be gone before it has read everything.
    let _ = encoder.write(garbage.into()).await;
    let exit = encoder.finish().await;
    assert!(!exit.success);
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    assert!((1..=20).contains(&exit.log.len()), "{exit:?}");
    assert!(
        exit.log.iter().any(|line| line.contains("[fatal]")),
        "{exit:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_stands_still_stalls_the_writer_for_a_bounded_time_and_is_killed() {
    let film = film();
    let mut encoder = Encoder::start_with(&plan(&film).await, QUICK, |_, _| {}).unwrap();
    encoder
        .write(Bytes::copy_from_slice(&film[..1316]))
        .await
        .unwrap();
    signal(&encoder, Signal::SIGSTOP);
    let began = Instant::now();
    let stalled = encoder.write(Bytes::from(vec![0; 4 << 20])).await;
    assert!(matches!(stalled, Err(EncodeError::Stalled)), "{stalled:?}");
    let exit = encoder.finish().await;
    assert_eq!(exit.signal, Some(9));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_an_encoder_kills_it() {
    let film = film();
    let mut encoder = Encoder::start(&plan(&film).await, |_, _| {}).unwrap();
    encoder
        .write(Bytes::copy_from_slice(&film[..film.len() / 2]))
        .await
        .unwrap();
    let process = format!("/proc/{}", encoder.process_id().unwrap());
    let exited = encoder.exited();
    drop(encoder);
    assert_eq!(exited.await.signal, Some(9));
    eventually("the process is gone", Duration::from_secs(5), || async {
        (!std::path::Path::new(&process).exists()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_gives_up_waiting_loses_nothing() {
    let film = film();
    let collect = |interrupted: bool| {
        let film = film.clone();
        async move {
            let frames = Arc::new(AtomicUsize::new(0));
            let sink = {
                let frames = Arc::clone(&frames);
                move |rung: Rung, bytes: Option<&[u8]>| {
                    if rung == Rung::P480 {
                        frames.fetch_add(bytes.map_or(0, <[u8]>::len), Ordering::Relaxed);
                    }
                }
            };
            let mut encoder = Encoder::start(&plan(&film).await, sink).unwrap();
            for chunk in film.chunks(20_000) {
                let write = encoder.write(Bytes::copy_from_slice(chunk));
                if interrupted {
                    let _ = tokio::time::timeout(Duration::from_millis(1), write).await;
                } else {
                    write.await.unwrap();
                }
            }
            let progress = encoder.progress();
            let exit = encoder.finish().await;
            assert!(exit.success, "{exit:?}");
            (frames.load(Ordering::Relaxed), progress)
        }
    };
    let (patient, _) = collect(false).await;
    let (impatient, _) = collect(true).await;
    assert_eq!(
        impatient, patient,
        "the copied rung is the same to the byte"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_while_it_works() {
    let film = film();
    let mut encoder = Encoder::start(&plan(&film).await, |_, _| {}).unwrap();
    let writing = async {
        for second in film.chunks(film.len() / 6 + 1) {
            encoder.write(Bytes::copy_from_slice(second)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let working = eventually("progress", Duration::from_secs(5), || {
            let progress = encoder.progress();
            async move { (progress.fps > 0.0 && progress.out_time_ms > 0).then_some(progress) }
        });
        working.await
    };
    let progress = writing.await;
    assert!(
        progress.speed > 0.0 && progress.out_time_ms < 20_000,
        "{progress:?}"
    );
    assert!(encoder.finish().await.success);
}
