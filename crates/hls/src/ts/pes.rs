//! PES headers and their 33-bit clock.

/// The clock wraps after this many ticks (26.5 hours).
const WRAP: i64 = 1 << 33;

pub(super) struct PesHeader<'a> {
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    pub payload: &'a [u8],
}

/// Reads the header at the start of a PES packet. Times that are not wholly in this transport
/// packet are taken as absent.
pub(super) fn header(bytes: &[u8]) -> Option<PesHeader<'_>> {
    let (fixed, rest) = bytes.split_first_chunk::<9>()?;
    if fixed[..3] != [0, 0, 1] || fixed[6] & 0xc0 != 0x80 {
        return None;
    }
    let payload = rest.get(usize::from(fixed[8])..).unwrap_or_default();
    let fields = &rest[..rest.len() - payload.len()];
    // Decoding times come only after presentation times.
    let times = match fixed[7] >> 6 {
        2 => 1,
        3 => 2,
        _ => 0,
    };
    let mut times = fields
        .as_chunks::<5>()
        .0
        .iter()
        .take(times)
        .copied()
        .map(timestamp);
    Some(PesHeader {
        pts: times.next(),
        dts: times.next(),
        payload,
    })
}

fn timestamp(field: [u8; 5]) -> i64 {
    let [high, upper, middle, lower, low] = field.map(i64::from);
    (high >> 1 & 7) << 30 | upper << 22 | (middle >> 1) << 15 | lower << 7 | low >> 1
}

/// The time closest to `reference` that reads as `raw` on the 33-bit clock.
pub(super) fn nearest(raw: i64, reference: i64) -> i64 {
    let ahead = raw.wrapping_sub(reference).rem_euclid(WRAP);
    let step = if ahead >= WRAP / 2 {
        ahead - WRAP
    } else {
        ahead
    };
    reference.wrapping_add(step)
}

/// Undoes the wrap, for each PID on its own so that one with mad times leaves the others alone.
#[derive(Default)]
pub(super) struct Clock {
    last: Vec<(u16, i64)>,
}

impl Clock {
    /// The first time of a PID is taken near one of another PID: streams that begin on both sides
    /// of a wrap stay together.
    pub fn unwrap(&mut self, pid: u16, raw: i64) -> i64 {
        if let Some((_, last)) = self.last.iter_mut().find(|(known, _)| *known == pid) {
            *last = nearest(raw, *last);
            return *last;
        }
        let first = self
            .last
            .first()
            .map_or(raw, |(_, other)| nearest(raw, *other));
        self.last.push((pid, first));
        first
    }

    pub fn keep(&mut self, mut is_known: impl FnMut(u16) -> bool) {
        self.last.retain(|(pid, _)| is_known(*pid));
    }
}
