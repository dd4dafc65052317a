//! The live thumbnail's pipe: JPEG after JPEG, of which the newest whole one counts.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// Read at once.
const READ_BYTES: usize = 16 * 1024;
/// A picture 640 wide has 60 KB; what gets this long is none.
const LONGEST: usize = 1 << 20;

const MARK: u8 = 0xff;
const BEGIN: [u8; 2] = [MARK, 0xd8];
const SCAN: u8 = 0xda;
const END: u8 = 0xd9;

/// Reads a pipe to its end and shows each picture that came whole.
///
/// As of a rung's pipe, nothing but the pipe is awaited: ffmpeg writes all of its pipes in turn.
pub(super) async fn follow(
    mut pipe: impl AsyncRead + Unpin,
    pictures: watch::Sender<Option<Bytes>>,
) {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        splitter.push(&buffer[..read], &mut |picture| {
            pictures.send_replace(Some(picture));
        });
    }
}

/// Finds where one picture ends and the next begins.
#[derive(Default)]
struct Splitter {
    buffer: BytesMut,
}

/// The bytes are no JPEG.
struct NotJpeg;

impl Splitter {
    fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(Bytes)) {
        self.buffer.extend_from_slice(bytes);
        loop {
            match end_of_picture(&self.buffer) {
                Ok(Some(end)) => sink(self.buffer.split_to(end).freeze()),
                Ok(None) if self.buffer.len() <= LONGEST => return,
                Ok(None) | Err(NotJpeg) => self.skip(),
            }
        }
    }

    /// Leaves out what cannot be used, up to where another picture may begin.
    fn skip(&mut self) {
        let from = 1.min(self.buffer.len());
        let next = self.buffer[from..]
            .windows(BEGIN.len())
            .position(|window| window == BEGIN)
            .map(|at| from + at);
        // The last byte may be the first of a beginning.
        let next = next.unwrap_or(self.buffer.len().saturating_sub(1).max(from));
        self.buffer.advance(next);
    }
}

/// Where the picture at the beginning of the bytes ends, if it does. By its segments' lengths: an end
/// mark may stand in a table by chance, but not in the coded picture (ITU-T T.81, B.1.1).
fn end_of_picture(bytes: &[u8]) -> Result<Option<usize>, NotJpeg> {
    let seen = bytes.len().min(BEGIN.len());
    if bytes[..seen] != BEGIN[..seen] {
        return Err(NotJpeg);
    }
    let mut at = BEGIN.len();
    loop {
        let Some(&[mark, code]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()) else {
            return Ok(None);
        };
        if mark != MARK {
            return Err(NotJpeg);
        }
        if code == END {
            return Ok(Some(at + 2));
        }
        let Some(length) = bytes.get(at + 2..).and_then(|rest| rest.first_chunk::<2>()) else {
            return Ok(None);
        };
        at += 2 + usize::from(u16::from_be_bytes(*length)).max(2);
        if code == SCAN {
            let coded = bytes.get(at..).unwrap_or_default();
            // A mark in there is followed by a zero, or is a restart mark.
            let next = coded.windows(2).position(|pair| {
                pair[0] == MARK && pair[1] != 0 && !(0xd0..=0xd7).contains(&pair[1])
            });
            let Some(next) = next else { return Ok(None) };
            at += next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A table with an end mark in it by chance, and a scan with an escaped mark and a restart.
    const PICTURE: &[u8] = &[
        0xff, 0xd8, 0xff, 0xdb, 0, 6, 0xff, 0xd9, 0xff, 0xd8, 0xff, 0xda, 0, 3, 1, 9, 9, 0xff, 0,
        8, 0xff, 0xd3, 7, 0xff, 0xd9,
    ];

    fn split(bytes: &[u8], pieces: usize) -> Vec<Bytes> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(pieces) {
            splitter.push(piece, &mut |picture| found.push(picture));
        }
        found
    }

    proptest! {
        #[test]
        fn pictures_come_out_whole_however_they_are_cut(
            before in prop::collection::vec(0..0xff_u8, 0..10), count in 0..4_usize,
            cut in 1..PICTURE.len(), pieces in 1..40_usize,
        ) {
            let mut bytes = before;
            bytes.extend(PICTURE.repeat(count));
            bytes.extend_from_slice(&PICTURE[..cut]);
            let found = split(&bytes, pieces);
            prop_assert_eq!(found.len(), count);
            prop_assert!(found.iter().all(|picture| picture == PICTURE));
        }

        #[test]
        fn nothing_is_kept_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = split(&bytes, 7);
        }
    }

    #[test]
    fn a_picture_without_end_is_given_up() {
        let mut splitter = Splitter::default();
        let mut found = 0;
        splitter.push(&PICTURE[..PICTURE.len() - 2], &mut |_| found += 1);
        splitter.push(&vec![1; LONGEST], &mut |_| found += 1);
        assert!(splitter.buffer.len() < PICTURE.len());
        splitter.push(PICTURE, &mut |_| found += 1);
        assert_eq!(found, 1);
    }
}
