//! What has to be known of an H.264 stream to describe it in a playlist and to trust its keyframes.

mod bits;
mod sps;

pub use sps::Sps;

/// Where an access unit's head is given up on: parameter sets and messages never get this long.
const LONGEST_HEAD: usize = 16 * 1024;

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const RECOVERY_POINT: u8 = 6;

/// How far decoding can start at an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPoint {
    /// An IDR picture: nothing after it refers to anything before it.
    Idr,
    /// A picture announced as a recovery point: the GOP is open, or refreshed step by step.
    Recovery,
    /// No place to start.
    None,
}

/// What stands in front of an access unit's first slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnitHead {
    /// Whether decoding can start here.
    pub entry: EntryPoint,
    /// The sequence parameter set sent with it.
    pub sps: Option<Sps>,
}

/// The NAL units of an Annex B byte stream, without start codes. The last one runs to the end of
/// the bytes, whole or not.
pub fn nal_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(bytes);
    std::iter::from_fn(move || {
        let here = rest?;
        let end = start_code(here);
        rest = end.map(|at| &here[at + 3..]);
        Some(trim_zeros(&here[..end.unwrap_or(here.len())]))
    })
    .filter(|unit| !unit.is_empty())
}

/// Collects the head of an access unit from the packets it comes in.
#[derive(Default)]
pub struct HeadScanner {
    head: Vec<u8>,
    scanned: usize,
    active: bool,
}

impl HeadScanner {
    /// An access unit starts; what was collected of the former one is forgotten.
    pub fn start(&mut self) {
        self.head.clear();
        self.scanned = 0;
        self.active = true;
    }

    /// Takes further bytes of it; gives the head once, when its first slice begins. Nothing comes
    /// of a unit without a slice in its first 16 KiB.
    pub fn push(&mut self, bytes: &[u8]) -> Option<AccessUnitHead> {
        if !self.active {
            return None;
        }
        let room = LONGEST_HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        while let Some(at) = start_code(&self.head[self.scanned..]) {
            let unit = self.scanned + at + 3;
            let header = *self.head.get(unit)?;
            if (SLICE..=IDR).contains(&(header & 0x1f)) {
                self.active = false;
                return Some(read_head(&self.head[..=unit]));
            }
            self.scanned = unit;
        }
        self.scanned = self.scanned.max(self.head.len().saturating_sub(2));
        self.active = self.head.len() < LONGEST_HEAD;
        None
    }

    /// Whether the head is still being collected.
    pub fn is_active(&self) -> bool {
        self.active
    }
}

/// Reads the head out of an access unit's first bytes.
pub fn read_head(bytes: &[u8]) -> AccessUnitHead {
    let mut head = AccessUnitHead {
        entry: EntryPoint::None,
        sps: None,
    };
    for unit in nal_units(bytes) {
        match unit[0] & 0x1f {
            IDR => {
                head.entry = EntryPoint::Idr;
                break;
            }
            SLICE..IDR => break,
            SEI if has_recovery_point(unit) => head.entry = EntryPoint::Recovery,
            SPS => head.sps = Sps::parse(unit).or(head.sps),
            _ => {}
        }
    }
    head
}

fn has_recovery_point(sei: &[u8]) -> bool {
    let payload = bits::unescape(&sei[1..]);
    let mut rest = payload.as_slice();
    // A message needs two bytes; a last single one is the stop bit.
    while rest.len() > 2 {
        let Some((kind, after)) = sei_number(rest) else {
            return false;
        };
        if kind == usize::from(RECOVERY_POINT) {
            return true;
        }
        let Some((size, after)) = sei_number(after) else {
            return false;
        };
        rest = after.get(size..).unwrap_or_default();
    }
    false
}

fn sei_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().take_while(|&&byte| byte == 0xff).count();
    let last = *bytes.get(full)?;
    Some((full * 255 + usize::from(last), &bytes[full + 1..]))
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    start_code(bytes).map(|at| &bytes[at + 3..])
}

/// Where `00 00 01` begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

fn trim_zeros(unit: &[u8]) -> &[u8] {
    let length = unit
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    &unit[..length]
}
