//! Cuts our own messages into chunks: few and short ones, always with a full header.

use bytes::{BufMut, BytesMut};

/// Writes a message in chunks of `chunk_size` on a chunk stream from 2 to 63, at time 0.
pub(crate) fn write_message(
    chunk_stream: u8,
    kind: u8,
    message_stream: u32,
    payload: &[u8],
    chunk_size: usize,
    out: &mut BytesMut,
) {
    out.put_u8(chunk_stream);
    out.put_uint(0, 3);
    // Ours have some hundred bytes.
    out.put_uint(payload.len() as u64, 3);
    out.put_u8(kind);
    out.put_u32_le(message_stream);
    for (index, chunk) in payload.chunks(chunk_size).enumerate() {
        if index > 0 {
            out.put_u8(0xc0 | chunk_stream);
        }
        out.put_slice(chunk);
    }
}
