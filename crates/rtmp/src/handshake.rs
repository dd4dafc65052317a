//! The handshake of version 3, plain: no digest, which encoders ask for only of Flash servers
//! (Adobe's RTMP specification 1.0, section 5.2).

use bytes::{Buf, BufMut, BytesMut};

const VERSION: u8 = 3;
const PART: usize = 1536;

/// How far a handshake is.
#[derive(Debug, Default)]
pub(crate) enum Handshake {
    /// C0 and C1 are awaited.
    #[default]
    Begun,
    /// C2 is awaited.
    Answered,
    /// It is over.
    Done,
}

/// The first byte is no RTMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection begins with {0:#04x}, not with RTMP version 3")]
pub struct NotRtmp(u8);

impl Handshake {
    /// Takes what it can of `input` and writes what is to be answered; tells whether it is over.
    pub(crate) fn step(
        &mut self,
        input: &mut BytesMut,
        random: impl FnOnce(&mut [u8]),
        out: &mut BytesMut,
    ) -> Result<bool, NotRtmp> {
        if matches!(self, Self::Begun) {
            if let Some(version) = input.first().filter(|version| **version != VERSION) {
                return Err(NotRtmp(*version));
            }
            if input.len() < 1 + PART {
                return Ok(false);
            }
            input.advance(1);
            let theirs = input.split_to(PART);
            out.put_u8(VERSION);
            // S1: time, four zeros (no digest), noise.
            let mut noise = [0; PART - 8];
            random(&mut noise);
            out.put_u64(0);
            out.put_slice(&noise);
            // S2: their C1 again.
            out.put_slice(&theirs);
            *self = Self::Answered;
        }
        if matches!(self, Self::Answered) {
            if input.len() < PART {
                return Ok(false);
            }
            // C2 repeats S1. Encoders that do it wrong are let in everywhere, and nothing hangs on it.
            input.advance(PART);
            *self = Self::Done;
        }
        Ok(true)
    }
}
