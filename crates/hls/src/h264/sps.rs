//! The sequence parameter set.

use super::bits::{Bits, unescape};

/// Profiles whose parameter sets say how colour is sampled and how coefficients are scaled.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// The part of a sequence parameter set that describes the pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`
    pub profile: u8,
    /// The constraint flags as they are written.
    pub constraints: u8,
    /// `level_idc`
    pub level: u8,
    /// `chroma_format_idc`: 1 is 4:2:0.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub bit_depth: u8,
    /// Width to show, cropped.
    pub width: u32,
    /// Height to show, cropped.
    pub height: u32,
}

impl Sps {
    /// Reads a NAL unit of type 7, its header byte included. `None` if it is none, or makes no sense.
    pub fn parse(unit: &[u8]) -> Option<Self> {
        let (&header, payload) = unit.split_first()?;
        if header & 0x1f != super::SPS {
            return None;
        }
        let plain = unescape(payload);
        let (&[profile, constraints, level], fields) = plain.split_first_chunk::<3>()?;
        let mut bits = Bits::new(fields);
        bits.unsigned()?;
        let sampling = Sampling::read(&mut bits, profile)?;
        bits.unsigned()?;
        skip_picture_order(&mut bits)?;
        bits.unsigned()?;
        bits.bit()?;
        let (width, height) = read_size(&mut bits, sampling.chroma_array_type())?;
        Some(Self {
            profile,
            constraints,
            level,
            chroma_format: sampling.chroma_format,
            bit_depth: sampling.bit_depth,
            width,
            height,
        })
    }

    /// The name of the coding in a playlist, for example `avc1.64001f`.
    pub fn codec(&self) -> String {
        format!(
            "avc1.{:02x}{:02x}{:02x}",
            self.profile, self.constraints, self.level
        )
    }
}

struct Sampling {
    chroma_format: u8,
    separate_planes: bool,
    bit_depth: u8,
}

impl Sampling {
    fn read(bits: &mut Bits<'_>, profile: u8) -> Option<Self> {
        if !HIGH_PROFILES.contains(&profile) {
            return Some(Self {
                chroma_format: 1,
                separate_planes: false,
                bit_depth: 8,
            });
        }
        let chroma_format = u8::try_from(bits.unsigned()?)
            .ok()
            .filter(|&format| format <= 3)?;
        let separate_planes = chroma_format == 3 && bits.bit()?;
        let bit_depth = u8::try_from(bits.unsigned()?)
            .ok()
            .filter(|&extra| extra <= 6)?
            + 8;
        bits.unsigned()?;
        bits.bit()?;
        if bits.bit()? {
            skip_scaling_lists(bits, if chroma_format == 3 { 12 } else { 8 })?;
        }
        Some(Self {
            chroma_format,
            separate_planes,
            bit_depth,
        })
    }

    fn chroma_array_type(&self) -> u8 {
        if self.separate_planes {
            0
        } else {
            self.chroma_format
        }
    }
}

fn skip_scaling_lists(bits: &mut Bits<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed()?).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.bit()?;
            bits.signed()?;
            bits.signed()?;
            let offsets = bits.unsigned()?;
            if offsets > 255 {
                return None;
            }
            for _ in 0..offsets {
                bits.signed()?;
            }
        }
        2 => {}
        _ => return None,
    }
    Some(())
}

fn read_size(bits: &mut Bits<'_>, chroma_array_type: u8) -> Option<(u32, u32)> {
    let columns = bits.unsigned()?.checked_add(1)?;
    let rows = bits.unsigned()?.checked_add(1)?;
    let frames_only = bits.bit()?;
    if !frames_only {
        bits.bit()?;
    }
    bits.bit()?;
    let fields = if frames_only { 1 } else { 2 };
    let mut width = columns.checked_mul(16)?;
    let mut height = rows.checked_mul(16)?.checked_mul(fields)?;
    if bits.bit()? {
        let (unit_x, unit_y) = match chroma_array_type {
            1 => (2, 2 * fields),
            2 => (2, fields),
            _ => (1, fields),
        };
        let (left, right) = (bits.unsigned()?, bits.unsigned()?);
        let (top, bottom) = (bits.unsigned()?, bits.unsigned()?);
        width = width.checked_sub(left.checked_add(right)?.checked_mul(unit_x)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(unit_y)?)?;
    }
    (width > 0 && height > 0).then_some((width, height))
}
