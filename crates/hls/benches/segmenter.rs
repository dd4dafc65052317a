//! How many bytes a second go through the segmenter on one core.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench stops at what it does not expect"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marquee_hls::{LadderSegmenter, PartTarget, Rung, SegmentEvent, SegmenterConfig};

#[path = "../tests/segmenter/synthetic.rs"]
mod synthetic;

const FRAME: i64 = 3000;

/// Seconds of 30 pictures and 47 frames of sound, as an encoder's pipe brings them.
fn pipe(seconds: i64, picture: usize) -> Vec<u8> {
    let mut muxer = synthetic::Muxer::default();
    for frame in 0..seconds * 30 {
        let pts = 900_000 + frame * FRAME;
        muxer.picture(pts, frame % 60 == 0, picture, true);
        muxer.sound(pts);
        if frame % 2 == 0 {
            muxer.sound(pts + 1920);
        }
    }
    muxer.bytes
}

fn segments(events: &mut Vec<SegmentEvent>) -> usize {
    let is_segment = |event: &SegmentEvent| matches!(event, SegmentEvent::Segment(_));
    events.drain(..).filter(is_segment).count()
}

/// Cuts the pipe in all rungs, ten segments each.
fn run(rungs: &[Rung], pipe: &[u8]) {
    let mut segmenter = LadderSegmenter::new(SegmenterConfig::new(
        rungs.to_vec(),
        rungs[0],
        PartTarget::default(),
    ));
    let mut events = Vec::new();
    let mut seen = 0;
    for chunk in pipe.chunks(64 * 1024) {
        for &rung in rungs {
            segmenter.push(rung, black_box(chunk), &mut events);
        }
        seen += segments(&mut events);
    }
    segmenter.finish(&mut events);
    assert_eq!(seen + segments(&mut events), 10 * rungs.len());
}

fn segmenter(criterion: &mut Criterion) {
    // 5 Mbit/s, and 800 kbit/s where frames are small and packets weigh more.
    for (name, picture) in [("1080p", 20_800), ("360p", 3_300)] {
        let pipe = pipe(20, picture);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(pipe.len() as u64));
        group.bench_function("leader", |bencher| {
            bencher.iter(|| run(&[Rung::P1080], &pipe));
        });
        group.throughput(Throughput::Bytes(pipe.len() as u64 * 4));
        group.bench_function("ladder of four", |bencher| {
            bencher.iter(|| run(&[Rung::P1080, Rung::P720, Rung::P480, Rung::P360], &pipe));
        });
        group.finish();
    }
}

criterion_group!(benches, segmenter);
criterion_main!(benches);
