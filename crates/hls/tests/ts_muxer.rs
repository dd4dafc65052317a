//! What the muxer writes, our own reader reads back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use marquee_hls::ts::{
    AUDIO_PID, AccessUnit, Muxer, PACKET, PacketKind, Program, Reader, StreamType, VIDEO_PID,
};
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
struct Unit {
    video: bool,
    pts: i64,
    dts: i64,
    random_access: bool,
    data: Vec<u8>,
}

fn unit() -> impl Strategy<Value = Unit> {
    // Above and below a whole number of packets, and pictures of many.
    let data = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..400),
        1 => prop::collection::vec(any::<u8>(), 1..20_000),
    ];
    (any::<bool>(), 0..9_000_i64, any::<bool>(), data).prop_map(
        |(video, delay, random_access, data)| Unit {
            video,
            pts: if video { delay } else { 0 },
            dts: 0,
            random_access,
            data,
        },
    )
}

/// Units in a row, beginning at any time of the 33-bit clock.
fn units() -> impl Strategy<Value = Vec<Unit>> {
    (0..1_i64 << 33, prop::collection::vec(unit(), 1..20)).prop_map(|(begin, mut units)| {
        let mut time = begin;
        for unit in &mut units {
            unit.dts = time;
            unit.pts += time;
            time += 1_800;
        }
        units
    })
}

fn write(muxer: &mut Muxer, units: &[Unit]) -> BytesMut {
    let mut out = BytesMut::new();
    muxer.tables(&mut out);
    for unit in units {
        let access = AccessUnit {
            pts: unit.pts,
            dts: unit.dts,
            random_access: unit.random_access,
            data: &unit.data,
        };
        if unit.video {
            muxer.video(&access, &mut out);
        } else {
            muxer.audio(&access, &mut out);
        }
    }
    out
}

fn read(bytes: &[u8]) -> Vec<Unit> {
    let mut units: BTreeMap<u16, Vec<Unit>> = BTreeMap::new();
    let mut order = Vec::new();
    let mut counters = BTreeMap::new();
    let mut reader = Reader::new();
    reader.push(bytes, &mut |packet| {
        let counter = packet.bytes[3] & 0x0f;
        let last = counters.insert(packet.pid, counter);
        assert!(last.is_none_or(|last: u8| (last + 1) & 0x0f == counter));
        let video = packet.kind == PacketKind::Video;
        if packet.kind == PacketKind::Psi {
            return;
        }
        let of_pid = units.entry(packet.pid).or_default();
        if let Some(start) = packet.start {
            order.push(packet.pid);
            of_pid.push(Unit {
                video,
                pts: start.pts.unwrap(),
                dts: start.dts.unwrap(),
                random_access: start.random_access,
                data: start.payload.to_vec(),
            });
        } else {
            let unit = of_pid.last_mut().unwrap();
            unit.data.extend_from_slice(packet.payload());
        }
    });
    assert_eq!(reader.resyncs(), 0);
    let mut streams: BTreeMap<u16, _> = units
        .into_iter()
        .map(|(pid, units)| (pid, units.into_iter()))
        .collect();
    order
        .into_iter()
        .map(|pid| streams.get_mut(&pid).unwrap().next().unwrap())
        .collect()
}

const AV: Program = Program {
    video: Some(StreamType::H264),
    audio: Some(StreamType::AAC),
};

proptest! {
    #[test]
    fn our_reader_gives_back_every_unit_with_its_times(units in units()) {
        let bytes = write(&mut Muxer::new(AV), &units);
        prop_assert_eq!(bytes.len() % PACKET, 0);
        let mut found = read(&bytes);
        // The reader's clock begins within the 33 bits and goes on from there.
        let shift = units[0].dts - found[0].dts;
        prop_assert_eq!(shift % (1 << 33), 0);
        for unit in &mut found {
            unit.pts += shift;
            unit.dts += shift;
        }
        prop_assert_eq!(found, units);
    }
}

#[test]
fn the_tables_list_what_the_program_has_and_a_track_may_come_later() {
    let mut muxer = Muxer::new(Program { video: None, ..AV });
    let mut reader = Reader::new();
    let mut pids = |muxer: &mut Muxer| {
        let mut out = BytesMut::new();
        muxer.tables(&mut out);
        reader.push(&out, &mut |_| {});
        let streams = reader.tables().streams();
        streams.iter().map(|stream| stream.pid).collect::<Vec<_>>()
    };
    assert_eq!(pids(&mut muxer), [AUDIO_PID]);
    muxer.set_program(AV);
    assert_eq!(pids(&mut muxer), [VIDEO_PID, AUDIO_PID]);
}
