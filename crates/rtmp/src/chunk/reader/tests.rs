//! The reader against a sender that interleaves, extends and shortens as the specification allows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BufMut;
use proptest::prelude::*;

use super::*;

/// Writes messages as encoders do: with the shortest header that says all, in turns.
#[derive(Default)]
struct Sender {
    last: HashMap<u32, Message>,
    deltas: HashMap<u32, u32>,
    out: BytesMut,
}

impl Sender {
    /// Begins a message: writes its header, and answers what follows each of its chunks' headers.
    fn begin(&mut self, chunk_stream: u32, message: &Message) -> Option<u32> {
        let last = self.last.insert(chunk_stream, message.clone());
        let same_stream = last
            .filter(|last| last.stream == message.stream && last.timestamp <= message.timestamp);
        let Some(last) = same_stream else {
            self.deltas.insert(chunk_stream, message.timestamp);
            return self.header(chunk_stream, 0, message, message.timestamp);
        };
        let delta = message.timestamp - last.timestamp;
        let same_shape = last.kind == message.kind && last.payload.len() == message.payload.len();
        let same_delta = self.deltas.insert(chunk_stream, delta) == Some(delta);
        let format = match (same_shape, same_delta) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 3,
        };
        self.header(chunk_stream, format, message, delta)
    }

    fn header(&mut self, id: u32, format: u8, message: &Message, time: u32) -> Option<u32> {
        self.basic(id, format);
        let extended = (time >= EXTENDED).then_some(time);
        if format < 3 {
            self.out.put_uint(time.min(EXTENDED).into(), 3);
        }
        if format < 2 {
            self.out.put_uint(message.payload.len() as u64, 3);
            self.out.put_u8(message.kind);
        }
        if format == 0 {
            self.out.put_u32_le(message.stream);
        }
        self.out
            .extend(extended.iter().flat_map(|it| it.to_be_bytes()));
        extended
    }

    fn basic(&mut self, id: u32, format: u8) {
        let format = format << 6;
        match id {
            2..64 => self.out.put_u8(format | u8::try_from(id).unwrap()),
            64..320 => self
                .out
                .put_slice(&[format, u8::try_from(id - 64).unwrap()]),
            _ => {
                self.out.put_u8(format | 1);
                self.out.put_u16_le(u16::try_from(id - 64).unwrap());
            }
        }
    }

    /// Sends messages, one of each chunk stream at a time, chunk by chunk in turn.
    fn send(&mut self, messages: &[(u32, Message)], chunk_size: usize) {
        let mut under_way: Vec<_> = messages
            .iter()
            .map(|(id, message)| (*id, message.payload.chunks(chunk_size), None, true))
            .zip(messages)
            .collect();
        while !under_way.is_empty() {
            under_way.retain_mut(|((id, chunks, extended, first), (_, message))| {
                if std::mem::take(first) {
                    *extended = self.begin(*id, message);
                } else if chunks.len() > 0 {
                    self.basic(*id, 3);
                    self.out
                        .extend(extended.iter().flat_map(|it: &u32| it.to_be_bytes()));
                }
                self.out.put_slice(chunks.next().unwrap_or_default());
                chunks.len() > 0
            });
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let payload = prop_oneof![
        Just(vec![7; 300]),
        prop::collection::vec(any::<u8>(), 0..1000)
    ];
    let kinds = prop_oneof![Just(kind::AUDIO), Just(kind::VIDEO), Just(kind::COMMAND)];
    (kinds, payload).prop_map(|(kind, payload)| Message {
        kind,
        timestamp: 0,
        stream: 1,
        payload: payload.into(),
    })
}

/// Rounds of messages that go out interleaved; the clock begins anywhere, also past 24 bits.
fn rounds() -> impl Strategy<Value = Vec<Vec<(u32, Message)>>> {
    let ids = prop::sample::subsequence(vec![2, 3, 4, 63, 64, 319, 320, 65_599], 1..5);
    let round = ids.prop_flat_map(|ids| {
        let count = ids.len();
        (Just(ids), prop::collection::vec(message(), count))
    });
    let step = prop_oneof![Just(23_u32), 0..100_u32, Just(EXTENDED + 5)];
    let start = prop_oneof![Just(0_u32), 0..EXTENDED + 1000];
    (start, prop::collection::vec((step, round), 1..6)).prop_map(|(mut now, rounds)| {
        rounds
            .into_iter()
            .map(|(step, (ids, messages))| {
                now += step;
                let dated = messages.into_iter().map(|message| Message {
                    timestamp: now,
                    ..message
                });
                ids.into_iter().zip(dated).collect()
            })
            .collect()
    })
}

fn read(bytes: &[u8], pieces: usize, chunk_size: usize) -> Result<Vec<Message>, ChunkError> {
    let mut reader = ChunkReader::new();
    reader.trust();
    reader
        .set_chunk_size(u32::try_from(chunk_size).unwrap())
        .unwrap();
    let mut input = BytesMut::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(pieces) {
        input.extend_from_slice(piece);
        while let Some(message) = reader.next(&mut input)? {
            found.push(message);
        }
    }
    Ok(found)
}

proptest! {
    #[test]
    fn every_message_comes_out_whole_however_it_was_cut(
        rounds in rounds(), chunk_size in 128..600_usize, pieces in 1..300_usize,
    ) {
        let mut sender = Sender::default();
        for round in &rounds {
            sender.send(round, chunk_size);
        }
        let mut sent: Vec<_> = rounds.into_iter().flatten().map(|(_, message)| message).collect();
        let mut found = read(&sender.out, pieces, chunk_size).unwrap();
        // In the order of their ends.
        let order = |message: &Message| (message.timestamp, message.kind, message.payload.clone());
        sent.sort_by_key(order);
        found.sort_by_key(order);
        prop_assert_eq!(found, sent);
    }

    #[test]
    fn no_bytes_whatever_make_it_panic_or_keep_more_than_came(
        bytes in prop::collection::vec(any::<u8>(), 0..2000), pieces in 1..100_usize,
    ) {
        let _ = read(&bytes, pieces, 128);
    }
}

fn first_error(bytes: &[u8]) -> Option<ChunkError> {
    let mut reader = ChunkReader::new();
    let mut input = BytesMut::from(bytes);
    loop {
        match reader.next(&mut input) {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

#[test]
fn a_length_beyond_any_media_is_refused_before_a_byte_of_it_comes() {
    let header = [3, 0, 0, 0, 0xff, 0xff, 0xff, kind::VIDEO, 0, 0, 0, 0];
    let too_long = ChunkError::TooLong {
        kind: kind::VIDEO,
        length: 0xff_ffff,
    };
    assert_eq!(first_error(&header), Some(too_long));
    let command = [3, 0, 0, 0, 2, 0, 0, kind::COMMAND, 0, 0, 0, 0];
    assert!(matches!(
        first_error(&command),
        Some(ChunkError::TooLong { .. })
    ));
}

#[test]
fn thousands_of_chunk_streams_and_of_unfinished_messages_are_refused() {
    let begun = |id: u8| {
        let mut bytes = vec![0, id, 0, 0, 0, 0, 0xff, 0xff, kind::COMMAND, 0, 0, 0, 0];
        bytes.extend([0; 128]);
        bytes
    };
    let many: Vec<u8> = (0..200).flat_map(begun).collect();
    assert_eq!(
        first_error(&many),
        Some(ChunkError::TooManyStreams(MOST_STREAMS))
    );
    // One long message after another that is given up; then some that are not.
    let mut long = vec![3, 0, 0, 0, 0x10, 0, 0, kind::VIDEO, 0, 0, 0, 0];
    long.extend([0; 128]);
    for _ in 0..2000 {
        long.push(0xc3);
        long.extend([0; 128]);
    }
    assert!(matches!(
        first_error(&long),
        Some(ChunkError::TooMuchUnfinished(_))
    ));
}

#[test]
fn a_chunk_size_of_nothing_or_next_to_nothing_is_refused() {
    let mut reader = ChunkReader::new();
    for size in [0, 1, 127, 1 << 31, u32::MAX] {
        assert_eq!(
            reader.set_chunk_size(size),
            Err(ChunkError::ChunkSize(size))
        );
    }
    for size in [128, 4096, 0x7fff_ffff] {
        assert_eq!(reader.set_chunk_size(size), Ok(()));
    }
}

#[test]
fn a_message_that_is_given_up_leaves_nothing_behind() {
    let mut reader = ChunkReader::new();
    let mut input = BytesMut::new();
    input.put_slice(&[3, 0, 0, 0, 0, 1, 0, kind::AUDIO, 1, 0, 0, 0]);
    input.put_bytes(1, 128);
    assert_eq!(reader.next(&mut input), Ok(None));
    reader.abort(3);
    reader.abort(99);
    assert_eq!(reader.unfinished, 0);
    input.put_slice(&[0x43, 0, 0, 5, 0, 0, 1, kind::AUDIO, 9]);
    let message = reader.next(&mut input).unwrap().unwrap();
    assert_eq!(&message.payload[..], [9]);
}

#[test]
fn an_extended_timestamp_that_is_left_out_where_a_message_goes_on_is_not_missed() {
    let mut bytes = vec![
        4,
        0xff,
        0xff,
        0xff,
        0,
        0,
        200,
        kind::VIDEO,
        1,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
    ];
    bytes.extend([5; 128]);
    bytes.push(0xc4);
    bytes.extend([6; 72]);
    let found = read(&bytes, 7, 128).unwrap();
    assert_eq!(found[0].timestamp, 1 << 24);
    assert_eq!(found[0].payload[128..], [6; 72]);
}
