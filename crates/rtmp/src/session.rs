//! One publisher's conversation, without its socket: bytes in; answers, requests and MPEG-TS out.
//!
//! ```text
//! handshake ─ connect "live" ─ createStream ─ publish KEY ─▶ asked ─ admit ─▶ media … ─ deleteStream
//!                                                               └── refuse
//! ```
//!
//! Between `asked` and the verdict nothing is looked at. What one call makes of the media is bounded
//! by [`ENOUGH_MEDIA`] and what the longest message becomes, however cheap it was to send.

use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng;

mod media;

pub(crate) use media::{Dropped, Headway};

use crate::amf0::{self, Amf0Error, Value};
use crate::chunk::{ChunkError, ChunkReader, FIRST_CHUNK_SIZE, Message, kind, write_message};
use crate::flv::MediaError;
use crate::handshake::{Handshake, NotRtmp};
use crate::publish::{PathError, PublishRequest, Refusal, publish_path};
use crate::remux::Remuxer;

/// What we tell publishers to use, and use ourselves.
const CHUNK_SIZE: usize = 4096;
/// Bytes after which each side wants to hear that they came.
const WINDOW: u32 = 2_500_000;
/// The one message stream of a connection.
const STREAM: u32 = 1;
const CONTROL_CHUNKS: u8 = 2;
const COMMAND_CHUNKS: u8 = 3;
const STATUS_CHUNKS: u8 = 5;
/// What is handed over before more is looked at.
const ENOUGH_MEDIA: usize = 256 << 10;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// Why a conversation ended. Repeats nothing a publisher sent that may be its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Something else than RTMP.
    #[error(transparent)]
    NotRtmp(#[from] NotRtmp),
    /// The chunk stream is broken, or too large.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command cannot be read.
    #[error("a command cannot be read: {0}")]
    Command(#[from] Amf0Error),
    /// The codec is not taken, or the encoder is broken.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// Another application than `live`, no key, or an impossible one.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It wants to watch.
    #[error("it asks to play; this server only takes publishers")]
    Play,
    /// Commands in an order that makes no sense.
    #[error("{0}")]
    Order(&'static str),
    /// A form of sending media that no encoder of today uses.
    #[error("aggregate messages are not supported")]
    Aggregate,
}

/// What a conversation has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More bytes are needed, or the verdict.
    More,
    /// There is media to be taken; then it goes on without more bytes.
    Media,
    /// It wants to publish: [`Session::admit`] or [`Session::refuse`].
    Publish(PublishRequest),
    /// It has stopped publishing.
    Ended,
}

#[derive(Debug)]
enum State {
    New,
    Connected {
        app: String,
    },
    /// It wants to publish, and has not been told whether it may.
    Asked,
    Publishing,
    Ended,
}

/// A conversation.
pub(crate) struct Session {
    handshake: Handshake,
    chunks: ChunkReader,
    remuxer: Remuxer,
    state: State,
    input: BytesMut,
    out: BytesMut,
    out_chunk_size: usize,
    media: BytesMut,
    used: u64,
    dropped: Dropped,
    received: u64,
    acknowledged: u64,
    window: u32,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            handshake: Handshake::default(),
            chunks: ChunkReader::new(),
            remuxer: Remuxer::default(),
            state: State::New,
            input: BytesMut::new(),
            out: BytesMut::new(),
            out_chunk_size: FIRST_CHUNK_SIZE,
            media: BytesMut::new(),
            used: 0,
            dropped: Dropped::default(),
            received: 0,
            acknowledged: 0,
            window: WINDOW,
        }
    }

    /// Takes bytes that came; [`Session::step`] looks at them.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.received += bytes.len() as u64;
        if self.received - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = self.received;
            // The count wraps, as the specification's does.
            let count = (self.received & u64::from(u32::MAX)).to_be_bytes();
            self.control(kind::ACKNOWLEDGEMENT, &count[4..]);
        }
    }

    /// Goes on until something has to be done, or more is needed.
    pub(crate) fn step(&mut self) -> Result<Step, SessionError> {
        let noise = |bytes: &mut [u8]| rand::rng().fill(bytes);
        if !self.handshake.step(&mut self.input, noise, &mut self.out)? {
            return Ok(Step::More);
        }
        // A stranger's media is not worth any work.
        while !matches!(self.state, State::Asked) {
            if self.media.len() >= ENOUGH_MEDIA {
                return Ok(Step::Media);
            }
            let Some(message) = self.chunks.next(&mut self.input)? else {
                break;
            };
            if let Some(step) = self.message(&message)? {
                return Ok(step);
            }
        }
        Ok(Step::More)
    }

    /// Bytes that came and were not looked at.
    pub(crate) fn unread(&self) -> usize {
        self.input.len()
    }

    /// Whether hands were shaken.
    pub(crate) fn is_greeted(&self) -> bool {
        matches!(self.handshake, Handshake::Done)
    }

    /// What is to be sent.
    pub(crate) fn take_output(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Whole packets of the publication's transport stream.
    pub(crate) fn take_media(&mut self) -> Bytes {
        self.media.split().freeze()
    }

    /// The publisher may begin.
    pub(crate) fn admit(&mut self) {
        self.state = State::Publishing;
        self.chunks.trust();
        let begin = [&[0, 0][..], &STREAM.to_be_bytes()].concat();
        self.control(kind::USER_CONTROL, &begin);
        self.status("status", "NetStream.Publish.Start", "publishing");
    }

    /// The publisher may not.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.status("error", refusal.code(), refusal.description());
    }

    /// Tells the publisher why its connection is closed, where it could understand it.
    pub(crate) fn fail(&mut self, error: &SessionError) {
        let text = error.to_string();
        match (&self.state, error) {
            (_, SessionError::Play) => self.status("error", "NetStream.Play.Failed", &text),
            (_, SessionError::Path(PathError::UnknownApp)) => {
                let info = info("error", "NetConnection.Connect.InvalidApp", &text);
                self.answer("_error", 1.0, &[Value::Null, info]);
            }
            (_, SessionError::Path(_)) => self.status("error", "NetStream.Publish.BadName", &text),
            (_, SessionError::NotRtmp(_)) | (State::New | State::Ended, _) => {}
            _ => self.status("error", "NetStream.Publish.Rejected", &text),
        }
    }

    fn message(&mut self, message: &Message) -> Result<Option<Step>, SessionError> {
        let payload = &message.payload[..];
        match message.kind {
            kind::SET_CHUNK_SIZE => {
                // An empty one means 0, which is refused.
                self.chunks.set_chunk_size(be32(payload))?;
            }
            kind::ABORT => self.chunks.abort(be32(payload)),
            kind::WINDOW_SIZE => self.window = be32(payload).max(1),
            kind::USER_CONTROL => self.user_control(payload),
            kind::COMMAND => return self.command(payload),
            kind::COMMAND_AMF3 => return self.command(payload.get(1..).unwrap_or_default()),
            kind::DATA => self.data(payload),
            kind::AUDIO | kind::VIDEO => self.media(message)?,
            kind::AGGREGATE => return Err(SessionError::Aggregate),
            // Acknowledgements of what little we send, metadata in AMF3, and what has no meaning here.
            _ => {}
        }
        Ok(None)
    }

    fn user_control(&mut self, payload: &[u8]) {
        if let Some((event, rest)) = payload.split_first_chunk::<2>()
            && u16::from_be_bytes(*event) == PING_REQUEST
        {
            let time = be32(rest).to_be_bytes();
            let pong = [&PING_RESPONSE.to_be_bytes()[..], &time].concat();
            self.control(kind::USER_CONTROL, &pong);
        }
    }

    fn command(&mut self, payload: &[u8]) -> Result<Option<Step>, SessionError> {
        let values = match amf0::read_all(payload) {
            Ok(values) => values,
            // Those that matter while it publishes are plain.
            Err(error) if matches!(self.state, State::Publishing) => {
                self.dropped.add(error);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let name = values.first().and_then(Value::as_str).unwrap_or_default();
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or(0.0);
        match name {
            "connect" => self.connect(transaction, values.get(2))?,
            "createStream" => {
                let stream = Value::Number(f64::from(STREAM));
                self.answer("_result", transaction, &[Value::Null, stream]);
            }
            "releaseStream" | "FCPublish" | "_checkbw" => {
                self.answer("_result", transaction, &[Value::Null, Value::Null]);
            }
            "publish" => {
                let name = values.get(3).and_then(Value::as_str).unwrap_or_default();
                return self.publish(name).map(Some);
            }
            "FCUnpublish" | "deleteStream" | "closeStream"
                if matches!(self.state, State::Publishing) =>
            {
                self.state = State::Ended;
                self.remuxer.finish(&mut self.media);
                return Ok(Some(Step::Ended));
            }
            "play" | "play2" => return Err(SessionError::Play),
            // Answers to what we asked nobody, and what encoders tell that we need not know.
            _ => {}
        }
        Ok(None)
    }

    fn connect(&mut self, transaction: f64, args: Option<&Value>) -> Result<(), SessionError> {
        if !matches!(self.state, State::New) {
            return Err(SessionError::Order("connect came twice"));
        }
        let app = args
            .and_then(|args| args.get("app"))
            .and_then(Value::as_str);
        let app = app.unwrap_or_default().to_owned();
        if !crate::publish::is_live(&app) {
            return Err(PathError::UnknownApp.into());
        }
        self.state = State::Connected { app };
        self.control(kind::WINDOW_SIZE, &WINDOW.to_be_bytes());
        let mut bandwidth = BytesMut::new();
        bandwidth.put_u32(WINDOW);
        // Dynamic.
        bandwidth.put_u8(2);
        self.control(kind::PEER_BANDWIDTH, &bandwidth);
        let size = u32::try_from(CHUNK_SIZE).unwrap_or_default();
        self.control(kind::SET_CHUNK_SIZE, &size.to_be_bytes());
        self.out_chunk_size = CHUNK_SIZE;
        let server = Value::Object(vec![
            ("fmsVer".to_owned(), "FMS/3,0,1,123".into()),
            ("capabilities".to_owned(), Value::Number(31.0)),
        ]);
        let Value::Object(mut status) =
            info("status", "NetConnection.Connect.Success", "connected")
        else {
            return Ok(());
        };
        status.push(("objectEncoding".to_owned(), Value::Number(0.0)));
        self.answer("_result", transaction, &[server, Value::Object(status)]);
        Ok(())
    }

    fn publish(&mut self, name: &str) -> Result<Step, SessionError> {
        let State::Connected { app } = &self.state else {
            return Err(SessionError::Order(
                "publish came before connect, or twice on one connection",
            ));
        };
        let request = publish_path(app, name)?;
        self.state = State::Asked;
        Ok(Step::Publish(request))
    }

    fn status(&mut self, level: &str, code: &str, description: &str) {
        let mut payload = BytesMut::new();
        for value in [
            "onStatus".into(),
            Value::Number(0.0),
            Value::Null,
            info(level, code, description),
        ] {
            amf0::write(&value, &mut payload);
        }
        self.send(STATUS_CHUNKS, kind::COMMAND, STREAM, &payload);
    }

    fn answer(&mut self, name: &str, transaction: f64, values: &[Value]) {
        let mut payload = BytesMut::new();
        amf0::write(&name.into(), &mut payload);
        amf0::write(&Value::Number(transaction), &mut payload);
        for value in values {
            amf0::write(value, &mut payload);
        }
        self.send(COMMAND_CHUNKS, kind::COMMAND, 0, &payload);
    }

    fn control(&mut self, kind: u8, payload: &[u8]) {
        self.send(CONTROL_CHUNKS, kind, 0, payload);
    }

    fn send(&mut self, chunk_stream: u8, kind: u8, stream: u32, payload: &[u8]) {
        let size = self.out_chunk_size;
        write_message(chunk_stream, kind, stream, payload, size, &mut self.out);
    }
}

fn info(level: &str, code: &str, description: &str) -> Value {
    Value::Object(vec![
        ("level".to_owned(), level.into()),
        ("code".to_owned(), code.into()),
        ("description".to_owned(), description.into()),
    ])
}

/// The first four bytes; 0 where there are fewer.
fn be32(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk::<4>()
        .map_or(0, |four| u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests;
