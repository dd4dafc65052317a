//! Parts of a real ladder, the passed-through rung and what ffmpeg makes of it.

use marquee_hls::{
    CutPart, PartTarget, Rung, SegmentEvent,
    ts::{PacketKind, Reader},
};

use super::{
    clips::Camera,
    rig::{Run, broadcast},
};

fn parts(run: &Run, rung: Rung) -> Vec<&CutPart> {
    run.events
        .iter()
        .filter_map(|event| match event {
            SegmentEvent::Part(part) if part.rung == rung => Some(part),
            _ => None,
        })
        .collect()
}

/// Pictures that begin in a part, which stands alone.
fn pictures(part: &CutPart) -> usize {
    let mut count = 0;
    Reader::new().push(&part.bytes, &mut |packet| {
        count += usize::from(packet.kind == PacketKind::Video && packet.start.is_some());
    });
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_have_the_same_frames_on_all_rungs() {
    for (fps, gop, b_frames) in [(30, 60, 0), (30, 15, 2), (60, 120, 2), (25, 50, 0)] {
        let camera = Camera {
            fps,
            gop,
            b_frames,
            ms: 6000,
            ..Camera::default()
        };
        let outcome = broadcast(&camera.film()).await;
        let run = outcome.only_run();
        assert!(run.plan.is_copied(Rung::P480));
        let shape = |rung| -> Vec<_> {
            let parts = parts(run, rung).into_iter();
            parts
                .map(|part| (part.index, part.part, part.duration, pictures(part)))
                .collect()
        };
        let leader = shape(Rung::P480);
        assert_eq!(leader, shape(Rung::P360), "{fps} fps, {b_frames} B-frames");
        assert_eq!(leader.len(), 30);
        let usual = (18_000, fps as usize / 5);
        let last = leader.len() - 1;
        assert!(leader[..last].iter().all(|part| (part.2, part.3) == usual));
        assert!(leader[last].2 <= PartTarget::default().ticks());
    }
}
