//! H.264 and H.265 from the form of MP4 and FLV (lengths in front, parameter sets aside; ISO/IEC
//! 14496-15) to the byte stream of MPEG-TS (start codes, parameter sets in front of keyframes).

use bytes::{BufMut, BytesMut};

use crate::flv::{MediaError, VideoCodec, VideoFrame};

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Sets of an encoder have some hundred bytes, and every keyframe gets a copy.
const LONGEST_CONFIG: usize = 8 << 10;
/// Units of one frame: slices, of which the largest pictures may have 600, and what stands beside
/// them. Each grows by a start code.
const MOST_UNITS: usize = 1024;

/// A decoder's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VideoConfig {
    pub(crate) codec: VideoCodec,
    length_bytes: usize,
    /// The parameter sets with their start codes.
    sets: Vec<u8>,
}

const BAD_CONFIG: MediaError = MediaError::Damaged("the video's sequence header is damaged");
const BAD_FRAME: MediaError = MediaError::Damaged("a video frame is damaged");

impl VideoConfig {
    /// Reads an `AVCDecoderConfigurationRecord` or an `HEVCDecoderConfigurationRecord`.
    pub(crate) fn read(codec: VideoCodec, record: &[u8]) -> Result<Self, MediaError> {
        if record.len() > LONGEST_CONFIG {
            return Err(BAD_CONFIG);
        }
        let read = match codec {
            VideoCodec::H264 => Self::read_avc(record),
            VideoCodec::Hevc => Self::read_hevc(record),
        };
        read.filter(|config| config.length_bytes != 3)
            .ok_or(BAD_CONFIG)
    }

    fn read_avc(record: &[u8]) -> Option<Self> {
        let (head, mut rest) = record.split_first_chunk::<6>()?;
        let mut sets = Vec::new();
        for _ in 0..head[5] & 0x1f {
            rest = copy_set(rest, &mut sets)?;
        }
        let (count, mut rest) = rest.split_first()?;
        for _ in 0..*count {
            rest = copy_set(rest, &mut sets)?;
        }
        Some(Self {
            codec: VideoCodec::H264,
            length_bytes: usize::from(head[4] & 3) + 1,
            sets,
        })
    }

    fn read_hevc(record: &[u8]) -> Option<Self> {
        let (head, mut rest) = record.split_first_chunk::<23>()?;
        let mut sets = Vec::new();
        for _ in 0..head[22] {
            let (array, after) = rest.split_first_chunk::<3>()?;
            rest = after;
            let is_parameter_set = (32..=34).contains(&(array[0] & 0x3f));
            let mut others = Vec::new();
            for _ in 0..u16::from_be_bytes([array[1], array[2]]) {
                let into = if is_parameter_set {
                    &mut sets
                } else {
                    &mut others
                };
                rest = copy_set(rest, into)?;
            }
        }
        Some(Self {
            codec: VideoCodec::Hevc,
            length_bytes: usize::from(head[21] & 3) + 1,
            sets,
        })
    }

    /// Writes a frame as a byte stream, with a delimiter in front, and with the parameter sets if it
    /// is a keyframe that has none of its own. Tells whether decoding can start at it. `None`, and
    /// nothing written, if there is nothing in it.
    pub(crate) fn write(
        &self,
        frame: &VideoFrame<'_>,
        out: &mut BytesMut,
    ) -> Result<Option<bool>, MediaError> {
        let (mut keyframe, mut has_sets, mut units) = (frame.keyframe, false, 0);
        for unit in self.units(frame.data) {
            let kind = self.codec.unit(unit?);
            keyframe |= kind == Unit::Key;
            has_sets |= kind == Unit::Sequence;
            units += usize::from(kind != Unit::Delimiter);
        }
        if units == 0 {
            return Ok(None);
        }
        if units > MOST_UNITS {
            return Err(BAD_FRAME);
        }
        out.reserve(frame.data.len() + self.sets.len() + 16);
        out.put_slice(&START_CODE);
        out.put_slice(self.codec.delimiter());
        if keyframe && !has_sets {
            out.put_slice(&self.sets);
        }
        for unit in self.units(frame.data) {
            let unit = unit?;
            if self.codec.unit(unit) != Unit::Delimiter {
                out.put_slice(&START_CODE);
                out.put_slice(unit);
            }
        }
        Ok(Some(keyframe))
    }

    /// The units of a frame that are not empty. Some encoders pad a frame with less than a length.
    fn units<'a>(&self, data: &'a [u8]) -> impl Iterator<Item = Result<&'a [u8], MediaError>> {
        let length_bytes = self.length_bytes;
        let mut rest = data;
        std::iter::from_fn(move || {
            while rest.len() >= length_bytes {
                let taken = rest
                    .split_at_checked(length_bytes)
                    .and_then(|(length, after)| after.split_at_checked(number(length)));
                let Some((unit, after)) = taken else {
                    rest = &[];
                    return Some(Err(BAD_FRAME));
                };
                rest = after;
                if !unit.is_empty() {
                    return Some(Ok(unit));
                }
            }
            None
        })
    }
}

/// What a unit is to us.
#[derive(PartialEq, Eq)]
enum Unit {
    Delimiter,
    /// A sequence parameter set.
    Sequence,
    /// A slice of a picture that decoding can start at.
    Key,
    Other,
}

impl VideoCodec {
    fn delimiter(self) -> &'static [u8] {
        match self {
            Self::H264 => &[0x09, 0xf0],
            Self::Hevc => &[0x46, 0x01, 0x50],
        }
    }

    fn unit(self, unit: &[u8]) -> Unit {
        match self {
            Self::H264 => match unit[0] & 0x1f {
                5 => Unit::Key,
                7 => Unit::Sequence,
                9 => Unit::Delimiter,
                _ => Unit::Other,
            },
            Self::Hevc => match unit[0] >> 1 & 0x3f {
                16..=23 => Unit::Key,
                33 => Unit::Sequence,
                35 => Unit::Delimiter,
                _ => Unit::Other,
            },
        }
    }
}

/// Copies a set with its length in front, if it is not empty; gives what follows it.
fn copy_set<'a>(bytes: &'a [u8], sets: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (set, rest) = rest.split_at_checked(number(length))?;
    if !set.is_empty() {
        sets.extend_from_slice(&START_CODE);
        sets.extend_from_slice(set);
    }
    Some(rest)
}

/// At most four bytes.
fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}
