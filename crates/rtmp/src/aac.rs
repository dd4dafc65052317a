//! Raw AAC to frames with ADTS headers (ISO/IEC 13818-7, 6.2), as MPEG-TS has them.

use bytes::{BufMut, BytesMut};

use crate::flv::MediaError;

const HEADER: usize = 7;
/// The length field has 13 bits.
const LONGEST: usize = (1 << 13) - 1;
/// Its sampling rates by index.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// What ADTS headers say of all frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioConfig {
    profile: u8,
    rate_index: u8,
    channels: u8,
}

impl AudioConfig {
    /// Reads an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    pub(crate) fn read(config: &[u8]) -> Result<Self, MediaError> {
        let mut bits = Bits {
            bytes: config,
            at: 0,
        };
        Self::read_bits(&mut bits).ok_or(MediaError::AacForm)
    }

    fn read_bits(bits: &mut Bits<'_>) -> Option<Self> {
        let mut object = bits.take(5)?;
        let rate_index = bits.rate_index()?;
        let channels = bits.take(4)?;
        // HE-AAC says first what it extends to, then what it extends: that is what decoders that know
        // no extension play, and the others find the rest in the frames.
        if object == 5 || object == 29 {
            bits.rate_index()?;
            object = bits.take(5)?;
        }
        let known = (1..=4).contains(&object) && (1..=7).contains(&channels);
        if !known {
            return None;
        }
        Some(Self {
            profile: u8::try_from(object - 1).ok()?,
            rate_index,
            channels: u8::try_from(channels).ok()?,
        })
    }

    /// Writes a frame behind its header.
    pub(crate) fn write(self, frame: &[u8], out: &mut BytesMut) -> Result<(), MediaError> {
        let length = Some(HEADER + frame.len())
            .filter(|length| *length <= LONGEST)
            .and_then(|length| u16::try_from(length).ok())
            .ok_or(MediaError::Damaged("an audio frame is too long"))?;
        let [high, low] = length.to_be_bytes();
        out.put_slice(&[
            0xff,
            0xf1,
            self.profile << 6 | self.rate_index << 2 | self.channels >> 2,
            (self.channels & 3) << 6 | high >> 3,
            high << 5 | low >> 3,
            low << 5 | 0x1f,
            0xfc,
        ]);
        out.put_slice(frame);
        Ok(())
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// A sampling rate, by index or in full; only those with an index can be told in ADTS.
    fn rate_index(&mut self) -> Option<u8> {
        let index = match self.take(4)? {
            15 => {
                let rate = self.take(24)?;
                RATES.iter().position(|known| *known == rate)?
            }
            index => usize::try_from(index).ok()?,
        };
        u8::try_from(index).ok().filter(|_| index < RATES.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_config_becomes_the_header_that_decoders_expect() {
        // AAC-LC, 44.1 kHz, stereo.
        let config = AudioConfig::read(&[0x12, 0x10]).unwrap();
        let mut frame = BytesMut::new();
        config.write(&[0xaa; 371], &mut frame).unwrap();
        assert_eq!(frame[..7], [0xff, 0xf1, 0x50, 0x80, 0x2f, 0x5f, 0xfc]);
        assert_eq!(frame.len(), 378);
    }

    #[test]
    fn he_aac_is_told_as_what_it_extends() {
        // SBR, 22.05 kHz extended to 44.1 kHz, stereo, LC beneath.
        let config = AudioConfig::read(&[0x2b, 0x92, 0x08, 0x00]).unwrap();
        assert_eq!(
            (config.profile, config.rate_index, config.channels),
            (1, 7, 2)
        );
    }

    #[test]
    fn forms_without_an_adts_header_are_refused() {
        // USAC; a channel layout of its own; no object type; nothing.
        for config in [&[0xf9, 0x46, 0x40][..], &[0x12, 0x00], &[0, 0x10], &[]] {
            assert_eq!(AudioConfig::read(config), Err(MediaError::AacForm));
        }
    }
}
