//! Puts messages together from chunks. Memory grows only with what has really come, and is bounded
//! for the connection as a whole.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

use super::{ChunkError, FIRST_CHUNK_SIZE, Message, kind};

/// The longest message: a keyframe of 60 Mbit/s has half of it.
const LONGEST_MEDIA: u32 = 8 << 20;
/// The longest of the others.
const LONGEST_OTHER: u32 = 64 << 10;
/// All unfinished messages together, of a stranger and of a publisher that was let in.
const MOST_UNFINISHED_AT_FIRST: usize = 128 << 10;
const MOST_UNFINISHED: usize = 10 << 20;
/// Chunk streams a connection may use; encoders use up to six.
const MOST_STREAMS: usize = 64;
/// A timestamp field that says that the timestamp follows the header.
const EXTENDED: u32 = 0x00ff_ffff;

/// Reads chunks out of a connection's bytes.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    chunk_size: usize,
    streams: HashMap<u32, ChunkStream>,
    unfinished: usize,
    most_unfinished: usize,
    /// The chunk whose payload is coming in: its stream, and what is missing.
    open: Option<(u32, usize)>,
}

/// What a chunk stream remembers from one header to the next.
#[derive(Debug, Default)]
struct ChunkStream {
    timestamp: u32,
    /// The timestamp field as it was sent, extended or not.
    field: u32,
    extended: bool,
    length: u32,
    kind: u8,
    message_stream: u32,
    payload: BytesMut,
    begun: bool,
}

/// A chunk's header.
struct Header {
    stream: u32,
    format: u8,
    /// Of the basic header, and of all.
    basic_bytes: usize,
    bytes: usize,
}

impl ChunkReader {
    pub(crate) fn new() -> Self {
        Self {
            chunk_size: FIRST_CHUNK_SIZE,
            streams: HashMap::new(),
            unfinished: 0,
            most_unfinished: MOST_UNFINISHED_AT_FIRST,
            open: None,
        }
    }

    /// The publisher says how long its chunks are from now on.
    pub(crate) fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        match usize::try_from(size) {
            // The highest bit is to be zero.
            Ok(bytes) if bytes >= FIRST_CHUNK_SIZE && size <= i32::MAX.cast_unsigned() => {
                self.chunk_size = bytes;
                Ok(())
            }
            _ => Err(ChunkError::ChunkSize(size)),
        }
    }

    /// The publisher was let in: its messages may be as long as media is.
    pub(crate) fn trust(&mut self) {
        self.most_unfinished = MOST_UNFINISHED;
    }

    /// Bytes of messages that are not whole yet.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// The publisher gives up a message that it has begun.
    pub(crate) fn abort(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            self.unfinished -= stream.payload.len();
            stream.payload = BytesMut::new();
            stream.begun = false;
        }
    }

    /// The next whole message, as far as `input` goes. Takes all but the beginning of a header.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        loop {
            if self.open.is_none() && !self.begin_chunk(input)? {
                return Ok(None);
            }
            if let Some(message) = self.read_payload(input)? {
                return Ok(Some(message));
            }
            if self.open.is_some() {
                return Ok(None);
            }
        }
    }

    /// Reads a header; false when it is not there yet.
    fn begin_chunk(&mut self, input: &mut BytesMut) -> Result<bool, ChunkError> {
        let Some(header) = Header::measure(input) else {
            return Ok(false);
        };
        let known = self.streams.get(&header.stream);
        if header.format != 0 && known.is_none() {
            return Err(ChunkError::NothingToContinue);
        }
        if known.is_none() && self.streams.len() >= MOST_STREAMS {
            return Err(ChunkError::TooManyStreams(MOST_STREAMS));
        }
        if input.len() < header.bytes {
            return Ok(false);
        }
        let fields = &input[header.basic_bytes..header.bytes];
        let short = |at: usize| {
            fields
                .get(at..at + 3)
                .map_or(0, |mut bytes| be24(&mut bytes))
        };
        let field = match header.format {
            3 => known.map_or(0, |stream| if stream.extended { EXTENDED } else { 0 }),
            _ => short(0),
        };
        let mut bytes = header.bytes;
        let extended = if field == EXTENDED {
            let Some(mut four) = input.get(bytes..bytes + 4) else {
                return Ok(false);
            };
            let value = four.get_u32();
            // Old encoders leave it out where a message goes on: then these are its bytes.
            let left_out = header.format == 3
                && known.is_some_and(|stream| stream.begun && stream.field != value);
            if !left_out {
                bytes += 4;
            }
            Some(value).filter(|_| !left_out)
        } else {
            None
        };

        let stream = self.streams.entry(header.stream).or_default();
        if header.format < 3 {
            stream.extended = field == EXTENDED;
            stream.field = extended.unwrap_or(field);
            if stream.begun {
                // A new message where one was going on: that one is given up.
                self.unfinished -= stream.payload.len();
                stream.payload = BytesMut::new();
                stream.begun = false;
            }
        }
        if header.format < 2 {
            stream.length = short(3);
            stream.kind = fields[6];
        }
        if header.format == 0 {
            let id = [fields[7], fields[8], fields[9], fields[10]];
            stream.message_stream = u32::from_le_bytes(id);
        }
        if !stream.begun {
            stream.begun = true;
            stream.field = extended.unwrap_or(stream.field);
            stream.timestamp = if header.format == 0 {
                stream.field
            } else {
                stream.timestamp.wrapping_add(stream.field)
            };
        }
        let longest = match stream.kind {
            kind::AUDIO | kind::VIDEO => LONGEST_MEDIA,
            _ => LONGEST_OTHER,
        };
        if stream.length > longest {
            return Err(ChunkError::TooLong {
                kind: stream.kind,
                length: stream.length,
            });
        }
        let missing = stream.missing().min(self.chunk_size);
        self.open = Some((header.stream, missing));
        input.advance(bytes);
        Ok(true)
    }

    /// Takes what is there of the open chunk; gives the message that it ends.
    fn read_payload(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        let Some((id, missing)) = self.open else {
            return Ok(None);
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(None);
        };
        let taken = missing.min(input.len());
        self.unfinished += taken;
        if self.unfinished > self.most_unfinished {
            return Err(ChunkError::TooMuchUnfinished(self.most_unfinished));
        }
        stream.payload.extend_from_slice(&input[..taken]);
        input.advance(taken);
        if taken < missing {
            self.open = Some((id, missing - taken));
            return Ok(None);
        }
        self.open = None;
        if stream.missing() > 0 {
            return Ok(None);
        }
        stream.begun = false;
        let payload: Bytes = std::mem::take(&mut stream.payload).freeze();
        self.unfinished -= payload.len();
        Ok(Some(Message {
            kind: stream.kind,
            timestamp: stream.timestamp,
            stream: stream.message_stream,
            payload,
        }))
    }
}

impl ChunkStream {
    fn missing(&self) -> usize {
        usize::try_from(self.length)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.payload.len())
    }
}

impl Header {
    /// How long the header at the beginning of `input` is, without an extended timestamp; `None`
    /// when not even that can be told yet.
    fn measure(input: &[u8]) -> Option<Self> {
        let first = *input.first()?;
        let (stream, basic_bytes) = match first & 0x3f {
            0 => (64 + u32::from(*input.get(1)?), 2),
            1 => {
                let id = u32::from(*input.get(1)?) + 256 * u32::from(*input.get(2)?);
                (64 + id, 3)
            }
            id => (u32::from(id), 1),
        };
        let format = first >> 6;
        let fields = [11, 7, 3, 0][usize::from(format)];
        Some(Self {
            stream,
            format,
            basic_bytes,
            bytes: basic_bytes + fields,
        })
    }
}

fn be24(bytes: &mut &[u8]) -> u32 {
    u32::try_from(bytes.get_uint(3)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
