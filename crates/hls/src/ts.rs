//! MPEG-TS: read as it comes off a pipe or the network, and written ([`Muxer`]).
//!
//! What is read may be cut anywhere, damaged or hostile: the reader never panics, keeps at most a few
//! packets and two tables in memory, and gives the same packets however the input is chunked. It
//! does not copy: a [`Packet`] borrows from the input wherever a packet lies in it whole.

mod mux;
mod pes;
mod section;
mod tables;

pub use mux::{AUDIO_PID, AccessUnit, Muxer, Program, VIDEO_PID};
pub use tables::{ElementaryStream, StreamType, Tables};

use pes::Clock;
use section::Sections;

/// Bytes of a transport packet.
pub const PACKET: usize = 188;

const SYNC: u8 = 0x47;
/// To find the packet grid again, three sync bytes have to stand one packet apart.
const RESYNC: usize = 2 * PACKET + 1;
const PIDS: usize = 8192;

/// What a packet's PID carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Program tables and other signalling.
    Psi,
    /// A video stream of the program.
    Video,
    /// An audio stream of the program.
    Audio,
    /// Anything else, and everything the tables did not announce (yet).
    Other,
}

/// One transport packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The packet as it stood in the input.
    pub bytes: &'a [u8; PACKET],
    /// Its packet identifier, 13 bits.
    pub pid: u16,
    /// What its PID carries, by the latest tables.
    pub kind: PacketKind,
    /// Set when an access unit of a video or audio stream starts here.
    pub start: Option<AccessUnitStart<'a>>,
    /// The tables as of this packet (one that completes a table already shows it).
    pub tables: &'a Tables,
}

impl<'a> Packet<'a> {
    /// What follows the header and the adaptation field; empty when the packet is damaged.
    pub fn payload(&self) -> &'a [u8] {
        Header::of(self.bytes).payload
    }
}

/// The start of a PES packet, which holds one picture or some frames of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessUnitStart<'a> {
    /// Presentation time in 90 kHz ticks, the 33-bit wrap undone.
    pub pts: Option<i64>,
    /// Decoding time; the presentation time where none is written.
    pub dts: Option<i64>,
    /// The random access indicator: decoding can start here.
    pub random_access: bool,
    /// The elementary stream's bytes in this packet, after the PES header.
    pub payload: &'a [u8],
}

/// Reads packets out of chunks of bytes.
pub struct Reader {
    carry: Vec<u8>,
    synced: bool,
    resyncs: u64,
    roles: Box<[Role; PIDS]>,
    tables: Tables,
    pat: Sections,
    pmt: Sections,
    clock: Clock,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Unknown,
    Signalling,
    Pat,
    Pmt,
    Video,
    Audio,
}

struct Header<'a> {
    pid: u16,
    damaged: bool,
    unit_start: bool,
    random_access: bool,
    payload: &'a [u8],
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader that expects a packet at its first byte and looks for one if there is none.
    pub fn new() -> Self {
        let mut roles = Box::new([Role::Unknown; PIDS]);
        roles[..0x20].fill(Role::Signalling);
        roles[0] = Role::Pat;
        Self {
            carry: Vec::with_capacity(RESYNC),
            synced: true,
            resyncs: 0,
            roles,
            tables: Tables::default(),
            pat: Sections::default(),
            pmt: Sections::default(),
            clock: Clock::default(),
        }
    }

    /// Reads on, giving every whole packet to `sink`; the start of an unfinished one is kept.
    pub fn push(&mut self, mut input: &[u8], sink: &mut impl FnMut(&Packet<'_>)) {
        while !self.carry.is_empty() {
            let wanted = if self.synced { PACKET } else { RESYNC };
            let missing = wanted.saturating_sub(self.carry.len()).min(input.len());
            let (head, rest) = input.split_at(missing);
            input = rest;
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(head);
            let used = self.consume(&carry, sink);
            carry.drain(..used);
            self.carry = carry;
            if input.is_empty() {
                return;
            }
        }
        let used = self.consume(input, sink);
        self.carry.extend_from_slice(&input[used..]);
    }

    /// The program's tables, as far as they were seen.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// How often the packet grid was lost.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// Handles all whole packets and returns how many bytes are done with. What is left is shorter
    /// than a packet, or than the resync window while the grid is lost.
    fn consume(&mut self, input: &[u8], sink: &mut impl FnMut(&Packet<'_>)) -> usize {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            if !self.synced {
                let (skip, found) = find_grid(rest);
                at += skip;
                if !found {
                    return at;
                }
                self.synced = true;
                continue;
            }
            let Some(packet) = rest.first_chunk::<PACKET>() else {
                return at;
            };
            if packet[0] == SYNC {
                self.packet(packet, sink);
                at += PACKET;
            } else {
                self.synced = false;
                self.resyncs += 1;
            }
        }
    }

    fn packet(&mut self, bytes: &[u8; PACKET], sink: &mut impl FnMut(&Packet<'_>)) {
        let header = Header::of(bytes);
        let role = self.roles[usize::from(header.pid)];
        let mut start = None;
        let kind = match role {
            Role::Unknown => PacketKind::Other,
            Role::Signalling => PacketKind::Psi,
            Role::Pat | Role::Pmt => {
                if !header.damaged {
                    self.table(role, &header);
                }
                PacketKind::Psi
            }
            Role::Video | Role::Audio => {
                if header.unit_start && !header.damaged {
                    start = self.unit_start(&header);
                }
                if role == Role::Video {
                    PacketKind::Video
                } else {
                    PacketKind::Audio
                }
            }
        };
        sink(&Packet {
            bytes,
            pid: header.pid,
            kind,
            start,
            tables: &self.tables,
        });
    }

    fn table(&mut self, role: Role, header: &Header<'_>) {
        let tables = &mut self.tables;
        let mut changed = false;
        if role == Role::Pat {
            self.pat
                .push(header.payload, header.unit_start, &mut |section| {
                    changed |= tables.read_pat(section);
                });
        } else {
            self.pmt
                .push(header.payload, header.unit_start, &mut |section| {
                    changed |= tables.read_pmt(section);
                });
        }
        if !changed {
            return;
        }
        if role == Role::Pat {
            self.pmt = Sections::default();
        }
        self.assign_roles();
    }

    fn assign_roles(&mut self) {
        self.roles[0x20..].fill(Role::Unknown);
        for stream in self.tables.streams() {
            let role = match stream.kind {
                PacketKind::Video => Role::Video,
                PacketKind::Audio => Role::Audio,
                PacketKind::Psi | PacketKind::Other => Role::Unknown,
            };
            if stream.pid >= 0x20 {
                self.roles[usize::from(stream.pid)] = role;
            }
        }
        if let Some(pid) = self.tables.pmt_pid() {
            self.roles[usize::from(pid)] = Role::Pmt;
        }
        self.clock
            .keep(|pid| self.tables.streams().iter().any(|stream| stream.pid == pid));
    }

    fn unit_start<'a>(&mut self, header: &Header<'a>) -> Option<AccessUnitStart<'a>> {
        let pes = pes::header(header.payload)?;
        let dts = pes
            .dts
            .or(pes.pts)
            .map(|raw| self.clock.unwrap(header.pid, raw));
        let pts = match (pes.pts, dts) {
            (Some(raw), Some(dts)) => Some(pes::nearest(raw, dts)),
            _ => None,
        };
        Some(AccessUnitStart {
            pts,
            dts,
            random_access: header.random_access,
            payload: pes.payload,
        })
    }
}

impl<'a> Header<'a> {
    fn of(bytes: &'a [u8; PACKET]) -> Self {
        let mut random_access = false;
        let payload = match bytes[3] >> 4 & 3 {
            1 => 4,
            3 => {
                let length = usize::from(bytes[4]);
                random_access = length > 0 && bytes[5] & 0x40 != 0;
                5 + length
            }
            2 => {
                random_access = bytes[4] > 0 && bytes[5] & 0x40 != 0;
                PACKET
            }
            _ => PACKET,
        };
        Self {
            pid: u16::from_be_bytes([bytes[1] & 0x1f, bytes[2]]),
            damaged: bytes[1] & 0x80 != 0,
            unit_start: bytes[1] & 0x40 != 0,
            random_access,
            payload: bytes.get(payload..).unwrap_or_default(),
        }
    }
}

/// How many bytes to skip, and whether the packet grid starts there. Bytes that may yet turn out to
/// be its start are not skipped.
fn find_grid(input: &[u8]) -> (usize, bool) {
    let mut at = 0;
    while let Some(next) = input[at..].iter().position(|&byte| byte == SYNC) {
        at += next;
        match input[at..].first_chunk::<RESYNC>() {
            None => return (at, false),
            Some(window) if window[PACKET] == SYNC && window[2 * PACKET] == SYNC => {
                return (at, true);
            }
            Some(_) => at += 1,
        }
    }
    (input.len(), false)
}
