//! The chunk stream: messages cut into interleaved chunks (RTMP 1.0, section 5.3).

mod reader;
mod writer;

pub(crate) use reader::ChunkReader;
pub(crate) use writer::write_message;

use bytes::Bytes;

/// The size chunks have until a side says otherwise.
pub(crate) const FIRST_CHUNK_SIZE: usize = 128;

/// A message put together again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    /// Milliseconds, wrapping after 49 days.
    pub(crate) timestamp: u32,
    /// The message stream: 0 for the connection, else what `createStream` answered.
    pub(crate) stream: u32,
    pub(crate) payload: Bytes,
}

/// The numbers of message types.
pub(crate) mod kind {
    pub(crate) const SET_CHUNK_SIZE: u8 = 1;
    pub(crate) const ABORT: u8 = 2;
    pub(crate) const ACKNOWLEDGEMENT: u8 = 3;
    pub(crate) const USER_CONTROL: u8 = 4;
    pub(crate) const WINDOW_SIZE: u8 = 5;
    pub(crate) const PEER_BANDWIDTH: u8 = 6;
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const VIDEO: u8 = 9;
    /// AMF0 behind a zero byte, as encoders send it.
    pub(crate) const COMMAND_AMF3: u8 = 17;
    pub(crate) const DATA: u8 = 18;
    pub(crate) const COMMAND: u8 = 20;
    pub(crate) const AGGREGATE: u8 = 22;
}

/// Why a chunk stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A chunk refers to one before it that never came.
    #[error("a chunk stream begins with a header that continues another")]
    NothingToContinue,
    /// A message is longer than its type may be.
    #[error("a message of type {kind} announces {length} bytes")]
    TooLong {
        /// Its type.
        kind: u8,
        /// What was announced.
        length: u32,
    },
    /// Messages are begun and not ended.
    #[error("more than {0} bytes of unfinished messages")]
    TooMuchUnfinished(usize),
    /// Every encoder uses a handful.
    #[error("more than {0} chunk streams")]
    TooManyStreams(usize),
    /// The specification's smallest is 1; below its recommended 128 a byte costs more than a message.
    #[error("a chunk size of {0}; it is 128 at least")]
    ChunkSize(u32),
}
