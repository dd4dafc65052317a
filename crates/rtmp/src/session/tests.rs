//! Conversations, as encoders and others hold them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::media::MOST_DROPPED_IN_A_ROW;
use super::*;

/// What an encoder sends.
#[derive(Default)]
struct Encoder(BytesMut);

impl Encoder {
    fn new() -> Self {
        let mut encoder = Self::default();
        encoder.0.put_u8(3);
        encoder.0.put_bytes(0, 1536 * 2);
        encoder
    }

    fn send(&mut self, kind: u8, stream: u32, payload: &[u8]) -> &mut Self {
        write_message(3, kind, stream, payload, 128, &mut self.0);
        self
    }

    fn command(&mut self, values: &[Value]) -> &mut Self {
        let mut payload = BytesMut::new();
        for value in values {
            amf0::write(value, &mut payload);
        }
        self.send(kind::COMMAND, 0, &payload)
    }

    fn connect(&mut self, app: &str) -> &mut Self {
        let args = Value::Object(vec![
            ("app".to_owned(), app.into()),
            (
                "tcUrl".to_owned(),
                format!("rtmp://host/{app}").as_str().into(),
            ),
        ]);
        self.command(&["connect".into(), Value::Number(1.0), args])
    }

    fn publish(&mut self, name: &str) -> &mut Self {
        self.command(&["createStream".into(), Value::Number(2.0), Value::Null])
            .command(&[
                "publish".into(),
                Value::Number(3.0),
                Value::Null,
                name.into(),
                "live".into(),
            ])
    }
}

/// A conversation up to where it stops or fails.
fn hold(encoder: &Encoder) -> (Session, Result<Step, SessionError>) {
    let mut session = Session::new();
    session.receive(&encoder.0);
    loop {
        match session.step() {
            Ok(Step::Publish(request)) => {
                session.admit();
                if session.input.is_empty() {
                    return (session, Ok(Step::Publish(request)));
                }
            }
            other => return (session, other),
        }
    }
}

/// What an encoder is told: the first and the fourth value of each command.
fn told(session: &mut Session) -> Vec<(String, Value)> {
    let mut out = BytesMut::from(&session.take_output()[..]);
    if out.first() == Some(&3) {
        let _ = out.split_to(1 + 2 * 1536);
    }
    let mut chunks = ChunkReader::new();
    let mut commands = Vec::new();
    while let Some(message) = chunks.next(&mut out).unwrap() {
        match message.kind {
            kind::SET_CHUNK_SIZE => chunks.set_chunk_size(be32(&message.payload)).unwrap(),
            kind::COMMAND => {
                let mut values = amf0::read_all(&message.payload).unwrap();
                let name = values[0].as_str().unwrap().to_owned();
                commands.push((name, values.pop().unwrap()));
            }
            _ => {}
        }
    }
    commands
}

fn codes(session: &mut Session) -> Vec<String> {
    told(session)
        .iter()
        .filter_map(|(_, info)| Some(info.get("code")?.as_str()?.to_owned()))
        .collect()
}

#[test]
fn an_encoder_that_connects_and_publishes_is_told_to_begin() {
    let mut encoder = Encoder::new();
    encoder.connect("live").publish("KEY?x=1");
    let (mut session, end) = hold(&encoder);
    let request = PublishRequest { key: "KEY".into() };
    assert_eq!(end, Ok(Step::Publish(request)));
    assert_eq!(
        codes(&mut session),
        ["NetConnection.Connect.Success", "NetStream.Publish.Start"]
    );
}

#[test]
fn what_is_refused_is_told_why() {
    let mut elsewhere = Encoder::new();
    elsewhere.connect("vod");
    let mut impossible = Encoder::new();
    impossible.connect("live").publish("a b");
    let mut viewer = Encoder::new();
    let play = ["play".into(), Value::Number(4.0), Value::Null, "x".into()];
    viewer.connect("live").command(&play);
    let mut av1 = Encoder::new();
    let sequence = [0x90, b'a', b'v', b'0', b'1', 0];
    av1.connect("live")
        .publish("KEY")
        .send(kind::VIDEO, 1, &sequence);
    for (encoder, code) in [
        (elsewhere, "NetConnection.Connect.InvalidApp"),
        (impossible, "NetStream.Publish.BadName"),
        (viewer, "NetStream.Play.Failed"),
        (av1, "NetStream.Publish.Rejected"),
    ] {
        let (mut session, end) = hold(&encoder);
        session.fail(&end.unwrap_err());
        assert_eq!(codes(&mut session).last().unwrap(), code);
    }
}

#[test]
fn a_refusal_has_words_for_a_person() {
    let mut encoder = Encoder::new();
    encoder.connect("live").publish("KEY");
    let mut session = Session::new();
    session.receive(&encoder.0);
    assert!(matches!(session.step(), Ok(Step::Publish(_))));
    session.refuse(Refusal::ExpiredKey);
    let (name, info) = told(&mut session).pop().unwrap();
    assert_eq!(name, "onStatus");
    let text = |field| info.get(field).unwrap().as_str().unwrap().to_owned();
    assert_eq!(text("code"), "NetStream.Publish.BadName");
    assert!(text("description").contains("expired"));
}

#[test]
fn pings_are_answered_and_bytes_acknowledged() {
    let mut encoder = Encoder::new();
    encoder
        .connect("live")
        .send(kind::WINDOW_SIZE, 0, &1000_u32.to_be_bytes())
        .send(kind::USER_CONTROL, 0, &[0, 6, 0, 0, 0, 42]);
    let (mut session, end) = hold(&encoder);
    assert_eq!(end, Ok(Step::More));
    session.take_output();
    session.receive(&[2; 1]);
    let out = session.take_output();
    assert_eq!(out[7], kind::ACKNOWLEDGEMENT);

    let (mut session, _) = hold(&encoder);
    let out = session.take_output();
    assert_eq!(out[out.len() - 6..], [0, 7, 0, 0, 0, 42]);
}

#[test]
fn an_encoder_that_stops_ends_its_publication_but_not_before_it_began() {
    let delete = ["deleteStream".into(), Value::Number(5.0), Value::Null];
    let mut encoder = Encoder::new();
    encoder.connect("live").command(&delete);
    assert_eq!(hold(&encoder).1, Ok(Step::More));
    encoder.publish("KEY").command(&delete);
    assert_eq!(hold(&encoder).1, Ok(Step::Ended));
}

#[test]
fn an_order_that_makes_no_sense_is_an_error() {
    let mut media = Encoder::new();
    media.connect("live").send(kind::AUDIO, 1, &[0xaf, 1, 0]);
    let mut early = Encoder::new();
    early.publish("KEY");
    let mut twice = Encoder::new();
    twice.connect("live").publish("KEY").publish("OTHER");
    for encoder in [media, early, twice] {
        assert!(matches!(hold(&encoder).1, Err(SessionError::Order(_))));
    }
    let mut http = Encoder::default();
    http.0.put_slice(b"GET / HTTP/1.1\r\n");
    assert!(matches!(hold(&http).1, Err(SessionError::NotRtmp(_))));
}

#[test]
fn no_error_repeats_the_key() {
    let mut encoder = Encoder::new();
    encoder.connect("live/SECRET/extra").publish("SECRET");
    let error = hold(&encoder).1.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("SECRET"));
}

/// The transport stream of a whole conversation that comes in pieces of so many bytes.
fn media_of(conversation: &[u8], piece: usize) -> BytesMut {
    let mut session = Session::new();
    let mut media = BytesMut::new();
    for bytes in conversation.chunks(piece) {
        session.receive(bytes);
        loop {
            let step = session.step().unwrap();
            media.extend_from_slice(&session.take_media());
            match step {
                Step::More => break,
                Step::Media | Step::Ended => {}
                Step::Publish(_) => session.admit(),
            }
        }
    }
    media
}

/// On the air, with both tracks.
fn on_air() -> Session {
    let mut encoder = Encoder::new();
    encoder
        .connect("live")
        .publish("KEY")
        .send(kind::AUDIO, 1, &[0xaf, 0, 0x12, 0x10])
        .send(kind::VIDEO, 1, &sequence_header(20));
    let (mut session, end) = hold(&encoder);
    assert_eq!(end, Ok(Step::More));
    session.take_output();
    session
}

fn send(session: &mut Session, kind: u8, payload: &[u8]) -> Result<Step, SessionError> {
    let mut encoder = Encoder::default();
    encoder.send(kind, 1, payload);
    session.receive(&encoder.0);
    session.step()
}

const PICTURE: [u8; 10] = [0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];

#[test]
fn a_live_goes_on_without_what_it_cannot_use() {
    let long_sound = [&[0xaf, 1][..], &[7; 9000]].concat();
    for (what, kind, payload) in [
        (
            "a further track",
            kind::AUDIO,
            &[0x95, 0, b'm', b'p', b'4', b'a'][..],
        ),
        (
            "a further picture",
            kind::VIDEO,
            &[0x96, 0, b'a', b'v', b'c', b'1'],
        ),
        (
            "another codec",
            kind::VIDEO,
            &[0x90, b'a', b'v', b'0', b'1', 0],
        ),
        ("another codec", kind::AUDIO, &[0x2f, 0]),
        (
            "a frame cut off",
            kind::VIDEO,
            &[0x27, 1, 0, 0, 0, 0, 0, 1, 0, 0x41],
        ),
        ("a header cut off", kind::VIDEO, &[0x17, 0, 0, 0, 0, 1]),
        ("sound too long", kind::AUDIO, &long_sound),
        ("an unknown value", kind::COMMAND, &[2, 0, 1, b'x', 0x33]),
    ] {
        let mut session = on_air();
        assert_eq!(send(&mut session, kind, payload), Ok(Step::More), "{what}");
        assert_eq!(session.dropped().count, 1, "{what}");
        assert!(session.take_media().is_empty(), "{what}");
        let before = session.headway();
        assert_eq!(send(&mut session, kind::VIDEO, &PICTURE), Ok(Step::More));
        assert!(!session.take_media().is_empty(), "{what}");
        assert!(session.headway() > before, "{what}");
    }
}

#[test]
fn a_hundred_useless_messages_of_a_kind_in_a_row_end_it() {
    let damaged = [0x27, 1, 0, 0, 0, 0, 0, 1, 0, 0x41];
    let mut session = on_air();
    for _ in 0..MOST_DROPPED_IN_A_ROW - 1 {
        send(&mut session, kind::VIDEO, &damaged).unwrap();
    }
    // A good one begins the count anew; one of sound does not.
    send(&mut session, kind::VIDEO, &PICTURE).unwrap();
    for _ in 0..MOST_DROPPED_IN_A_ROW {
        send(&mut session, kind::VIDEO, &damaged).unwrap();
        send(&mut session, kind::AUDIO, &[0xaf, 1, 7]).unwrap();
    }
    let end = send(&mut session, kind::VIDEO, &damaged);
    assert!(matches!(end, Err(SessionError::Media(_))), "{end:?}");
}

#[test]
fn what_is_useless_or_no_media_is_no_headway() {
    let mut session = on_air();
    let before = session.headway();
    send(&mut session, kind::USER_CONTROL, &[0, 6, 0, 0, 0, 42]).unwrap();
    send(&mut session, kind::AUDIO, &[0x2f, 0]).unwrap();
    assert!(session.headway() <= before);
    // A part of a picture is some.
    let mut encoder = Encoder::default();
    encoder.send(kind::VIDEO, 1, &[0x27; 5000]);
    session.receive(&encoder.0[..3000]);
    session.step().unwrap();
    assert!(session.headway() > before);
}

proptest! {
    #[test]
    fn the_same_transport_stream_comes_out_however_the_bytes_are_cut(
        frames in prop::collection::vec((0..100_u16, 1..3000_usize), 1..8), piece in 1..6000_usize,
    ) {
        let mut encoder = Encoder::new();
        encoder
            .connect("live")
            .publish("KEY")
            .send(kind::AUDIO, 1, &[0xaf, 0, 0x12, 0x10])
            .send(kind::VIDEO, 1, &[0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe0, 0]);
        for (fill, size) in frames {
            let mut tag = vec![0x17, 1, 0, 0, 0];
            tag.extend(u32::try_from(size).unwrap().to_be_bytes());
            tag.resize(tag.len() + size, u8::try_from(fill).unwrap());
            encoder.send(kind::VIDEO, 1, &tag).send(kind::AUDIO, 1, &[0xaf, 1, 7, 7]);
        }
        let whole = media_of(&encoder.0, usize::MAX);
        prop_assert!(!whole.is_empty());
        prop_assert_eq!(media_of(&encoder.0, piece), whole);
    }

    #[test]
    fn strangers_after_the_handshake_make_nothing_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let mut encoder = Encoder::new();
        encoder.connect("live").publish("KEY");
        encoder.0.extend_from_slice(&bytes);
        let _ = hold(&encoder);
    }
}

/// An H.264 sequence header with one set of so many bytes.
fn sequence_header(set: u16) -> Vec<u8> {
    let mut tag = vec![0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1];
    tag.extend_from_slice(&set.to_be_bytes());
    tag.push(0x67);
    tag.resize(tag.len() + usize::from(set) - 1, 7);
    tag.push(0);
    tag
}

/// What is cheapest to send and dearest to remux, after a publish that is not decided.
fn costly() -> Vec<(&'static str, Encoder)> {
    let attack = |config: &[u8], kind, tag: &[u8]| {
        let mut encoder = Encoder::new();
        encoder
            .connect("live")
            .publish("KEY")
            .send(kind::AUDIO, 1, &[0xaf, 0, 0x12, 0x10])
            .send(kind::VIDEO, 1, config)
            .send(kind, 1, tag);
        // The same again and again, with the shortest header.
        let costs = encoder.0.len();
        while encoder.0.len() < costs + (64 << 10) {
            encoder.0.put_u8(0xc3);
            encoder.0.put_slice(tag);
        }
        encoder
    };
    let (short, long) = (sequence_header(20), sequence_header(65_000));
    let keyframe = [0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
    vec![
        (
            "empty keyframes",
            attack(&short, kind::VIDEO, &keyframe[..5]),
        ),
        (
            "empty keyframes, long set",
            attack(&long, kind::VIDEO, &keyframe[..5]),
        ),
        (
            "keyframes",
            attack(&sequence_header(8_000), kind::VIDEO, &keyframe),
        ),
        ("sound", attack(&short, kind::AUDIO, &[0xaf, 1, 0])),
    ]
}

#[test]
fn nothing_is_made_of_what_a_stranger_sends_before_the_verdict() {
    for (what, encoder) in costly() {
        let mut session = Session::new();
        session.receive(&encoder.0);
        assert!(matches!(session.step(), Ok(Step::Publish(_))), "{what}");
        assert_eq!(session.step(), Ok(Step::More), "{what}");
        assert!(session.take_media().is_empty(), "{what}");
    }
}

#[test]
fn one_step_makes_little_of_what_is_cheap_to_send() {
    for (what, encoder) in costly() {
        let mut session = Session::new();
        session.receive(&encoder.0);
        assert!(matches!(session.step(), Ok(Step::Publish(_))), "{what}");
        session.admit();
        let mut most = 0;
        // A long sequence header is refused.
        while let Ok(step) = session.step() {
            most = most.max(session.take_media().len());
            if step == Step::More {
                break;
            }
        }
        assert!(most <= 300 << 10, "{what}: {most} bytes at once");
    }
}
