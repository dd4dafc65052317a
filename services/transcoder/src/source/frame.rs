//! What kind of frame a video access unit is, from its first bytes.

use marquee_hls::h264::{AccessUnitHead, EntryPoint, HeadScanner, Sps, nal_units};
use marquee_hls::ts::StreamType;

/// A unit that shows no slice within so many bytes is not understood.
const LONGEST_HEAD: usize = 64 * 1024;

/// What an access unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// Nothing after it refers to anything before it.
    ClosedKey,
    /// Decoding can begin here, but what is around it may refer to what was before.
    OpenKey,
    /// Decoding cannot begin here.
    Ordinary,
}

/// The parameters of a coded picture: while they are the same, one decoder goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parameters {
    H264(Sps),
    /// The sequence parameter set as it came.
    Hevc(Vec<u8>),
}

/// An access unit, as far as its head tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: FrameKind,
    /// Those that came with it.
    pub(super) parameters: Option<Parameters>,
    /// Whether a decoder that begins here has all it needs.
    pub(super) can_begin: bool,
}

/// Looks at one access unit as it comes.
pub(super) struct FrameScan {
    random_access: bool,
    codec: Codec,
}

enum Codec {
    H264(HeadScanner),
    /// The unit's bytes so far.
    Hevc(Vec<u8>),
    /// Known by the transport's flag alone.
    Other,
}

impl FrameScan {
    pub(super) fn new(stream_type: StreamType, random_access: bool) -> Self {
        let codec = match stream_type {
            StreamType::H264 => {
                let mut scanner = HeadScanner::default();
                scanner.start();
                Codec::H264(scanner)
            }
            StreamType::HEVC => Codec::Hevc(Vec::new()),
            _ => Codec::Other,
        };
        Self {
            random_access,
            codec,
        }
    }

    /// More of the unit's bytes; answers once its kind is known.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<FrameHead> {
        match &mut self.codec {
            Codec::H264(scanner) => match scanner.push(bytes) {
                Some(head) => Some(h264_head(head, self.random_access)),
                None => (!scanner.is_active()).then(not_understood),
            },
            Codec::Hevc(unit) => {
                unit.extend_from_slice(bytes);
                hevc_head(unit, self.random_access)
                    .or_else(|| (unit.len() > LONGEST_HEAD).then(not_understood))
            }
            Codec::Other => Some(FrameHead {
                kind: if self.random_access {
                    FrameKind::ClosedKey
                } else {
                    FrameKind::Ordinary
                },
                parameters: None,
                can_begin: self.random_access,
            }),
        }
    }
}

/// A unit whose head never ended is taken for an ordinary one.
pub(super) fn not_understood() -> FrameHead {
    FrameHead {
        kind: FrameKind::Ordinary,
        parameters: None,
        can_begin: false,
    }
}

fn h264_head(head: AccessUnitHead, random_access: bool) -> FrameHead {
    let kind = match head.entry {
        EntryPoint::Idr => FrameKind::ClosedKey,
        EntryPoint::Recovery => FrameKind::OpenKey,
        EntryPoint::None => enterable(random_access),
    };
    FrameHead {
        kind,
        can_begin: kind != FrameKind::Ordinary && head.sps.is_some(),
        parameters: head.sps.map(Parameters::H264),
    }
}

/// Once the first slice's header is there (Rec. ITU-T H.265, 7.4.2.2).
fn hevc_head(unit: &[u8], random_access: bool) -> Option<FrameHead> {
    let mut parameters = None;
    for nal in nal_units(unit) {
        let kind = match nal[0] >> 1 & 0x3f {
            33 => {
                parameters = Some(Parameters::Hevc(nal.to_vec()));
                continue;
            }
            19 | 20 => FrameKind::ClosedKey,
            16..=23 => FrameKind::OpenKey,
            0..=31 => enterable(random_access),
            _ => continue,
        };
        return Some(FrameHead {
            kind,
            can_begin: kind != FrameKind::Ordinary && parameters.is_some(),
            parameters,
        });
    }
    None
}

fn enterable(random_access: bool) -> FrameKind {
    if random_access {
        FrameKind::OpenKey
    } else {
        FrameKind::Ordinary
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const AUD: &[u8] = &[0, 0, 0, 1, 9, 0xf0];
    const IDR: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84];
    const SLICE: &[u8] = &[0, 0, 1, 0x41, 0x9a, 0x24];
    /// User data of 3 bytes, then a recovery point.
    const RECOVERY: &[u8] = &[0, 0, 1, 6, 5, 3, b'a', b'b', b'c', 6, 1, 0x84, 0x80];

    fn scan(stream_type: StreamType, random_access: bool, parts: &[&[u8]]) -> FrameHead {
        let unit = parts.concat();
        let heads: Vec<_> = [1, 2, 3, 5, unit.len()]
            .into_iter()
            .map(|size| {
                let mut scan = FrameScan::new(stream_type, random_access);
                unit.chunks(size).find_map(|chunk| scan.push(chunk))
            })
            .collect();
        assert!(heads.windows(2).all(|pair| pair[0] == pair[1]), "{heads:?}");
        heads[0].clone().unwrap()
    }

    #[test]
    fn an_h264_idr_is_a_closed_keyframe_but_a_decoder_needs_its_parameters() {
        let head = scan(StreamType::H264, true, &[AUD, IDR]);
        assert_eq!(head.kind, FrameKind::ClosedKey);
        assert!(!head.can_begin);
    }

    #[test]
    fn a_recovery_point_or_the_transports_flag_makes_a_slice_an_open_keyframe() {
        let point = scan(StreamType::H264, false, &[AUD, RECOVERY, SLICE]);
        assert_eq!(point.kind, FrameKind::OpenKey);
        let flag = scan(StreamType::H264, true, &[AUD, SLICE]);
        assert_eq!(flag.kind, FrameKind::OpenKey);
        let plain = scan(StreamType::H264, false, &[AUD, SLICE]);
        assert_eq!(plain.kind, FrameKind::Ordinary);
    }

    #[test]
    fn hevc_keyframes_are_its_irap_pictures() {
        let nal = |kind: u8| vec![0, 0, 1, kind << 1, 1, 0xaf];
        for (kind, expected) in [
            (19, FrameKind::ClosedKey),
            (20, FrameKind::ClosedKey),
            (21, FrameKind::OpenKey),
            (1, FrameKind::Ordinary),
        ] {
            let unit = [nal(32), nal(33), nal(34), nal(kind)].concat();
            let head = scan(StreamType::HEVC, false, &[&unit]);
            assert_eq!(head.kind, expected, "{kind}");
            assert_eq!(head.can_begin, expected != FrameKind::Ordinary);
            assert_eq!(
                head.parameters,
                Some(Parameters::Hevc(vec![33 << 1, 1, 0xaf]))
            );
        }
    }

    #[test]
    fn other_codecs_go_by_the_transports_flag() {
        let mpeg2 = StreamType(0x02);
        assert!(scan(mpeg2, true, &[&[0, 0, 1, 0xb3]]).can_begin);
        assert!(!scan(mpeg2, false, &[&[0, 0, 1, 0xb3]]).can_begin);
    }

    #[test]
    fn a_unit_without_a_slice_is_given_up() {
        for stream_type in [StreamType::H264, StreamType::HEVC] {
            let mut scan = FrameScan::new(stream_type, true);
            let head = (0..1000).find_map(|_| scan.push(&[0x55; 184]));
            assert_eq!(head, Some(not_understood()));
        }
    }
}
