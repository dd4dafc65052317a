//! One libsrt socket, listening or connected.

use std::ffi::{c_char, c_int};
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use libc::{sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage};

use super::hook::{Ask, Hook};
use super::library::{Library, enter};
use super::{Fault, raw};

/// The most a packet can carry: an MTU of 1500 less the headers of IPv4, UDP and SRT. What carries
/// MPEG-TS sends 1316 (7 × 188).
pub const MAX_PAYLOAD: usize = 1456;

/// The longest stream id of the protocol, and the NUL libsrt adds.
const STREAM_ID_BUFFER: usize = 512 + 1;

/// Options that are a number.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Numeric {
    /// 0: [`Socket::receive`] and [`Socket::accept`] never wait. Connections have it of their listener.
    Waits = raw::SRTO_RCVSYN,
    /// Packets that may be on their way; at least the receive buffer's.
    FlowWindow = raw::SRTO_FC,
    /// Bytes (in packets of 1472) that wait for their time or for the reader.
    ReceiveBuffer = raw::SRTO_RCVBUF,
    /// Packets that wait in the receive buffer (read only).
    Buffered = raw::SRTO_RCVDATA,
    /// What we ask for, ms, in both directions.
    Latency = raw::SRTO_LATENCY,
    /// What was agreed on, ms (of a connected socket).
    AgreedLatency = raw::SRTO_RCVLATENCY,
    /// 16, 24 or 32 bytes.
    KeyLength = raw::SRTO_PBKEYLEN,
    /// The oldest peer, as 0xMMmmpp.
    OldestPeer = raw::SRTO_MINVERSION,
    /// 1: both sides encrypt with the same passphrase or there is no connection.
    EnforcedEncryption = raw::SRTO_ENFORCEDENCRYPTION,
    /// 0: an IPv6 wildcard takes IPv4 too.
    Ipv6Only = raw::SRTO_IPV6ONLY,
    /// After how long without a datagram libsrt itself gives a peer up, ms.
    PeerIdle = raw::SRTO_PEERIDLETIMEO,
}

/// A connection's counters, all since it was made; explained on [`crate::Stats`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    pub rtt_ms: f64,
    pub received: u64,
    pub lost: u64,
    pub retransmitted: u64,
    pub dropped: u64,
    pub undecrypted: u64,
    pub bytes: u64,
    pub buffered_ms: u64,
}

/// A libsrt socket. Closed by [`Socket::close`] from any thread, at the latest on drop.
pub struct Socket {
    id: raw::SocketId,
    closed: AtomicBool,
    hook: Option<Hook>,
    _library: Library,
}

impl Socket {
    pub fn new() -> Result<Self, Fault> {
        let library = Library::start()?;
        let inside = enter();
        let id = Fault::check(raw::srt_create_socket())?;
        drop(inside);
        Ok(Self::owning(id, library))
    }

    fn owning(id: raw::SocketId, library: Library) -> Self {
        Self {
            id,
            closed: AtomicBool::new(false),
            hook: None,
            _library: library,
        }
    }

    pub fn set(&self, option: Numeric, value: i32) -> Result<(), Fault> {
        self.set_option(option as c_int, &value.to_ne_bytes())
    }

    pub fn set_passphrase(&self, passphrase: &str) -> Result<(), Fault> {
        self.set_option(raw::SRTO_PASSPHRASE, passphrase.as_bytes())
    }

    fn set_option(&self, option: c_int, value: &[u8]) -> Result<(), Fault> {
        let len = c_int::try_from(value.len()).unwrap_or(c_int::MAX);
        let _inside = enter();
        // SAFETY: libsrt reads `len` bytes, and bytewise where the option is a number.
        Fault::check(unsafe { raw::srt_setsockflag(self.id, option, value.as_ptr().cast(), len) })
            .map(drop)
    }

    pub fn get(&self, option: Numeric) -> Result<i32, Fault> {
        let mut value = 0_i32;
        let mut len = length_of::<i32>();
        let _inside = enter();
        // SAFETY: numeric options are at most an int; `len` tells there is room for one.
        Fault::check(unsafe {
            raw::srt_getsockflag(
                self.id,
                option as c_int,
                ptr::from_mut(&mut value).cast(),
                &raw mut len,
            )
        })?;
        Ok(value)
    }

    /// What the caller sent as its stream id.
    pub fn stream_id(&self) -> Result<Vec<u8>, Fault> {
        self.get_text(raw::SRTO_STREAMID)
    }

    /// Whether the caller talked libsrt into a packet filter: a listener that has none configured
    /// takes over the caller's.
    pub fn has_packet_filter(&self) -> Result<bool, Fault> {
        Ok(!self.get_text(raw::SRTO_PACKETFILTER)?.is_empty())
    }

    fn get_text(&self, option: c_int) -> Result<Vec<u8>, Fault> {
        let mut text = vec![0_u8; STREAM_ID_BUFFER];
        let mut len = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
        let _inside = enter();
        // SAFETY: libsrt writes at most `len` bytes, the length of `text`.
        Fault::check(unsafe {
            raw::srt_getsockflag(self.id, option, text.as_mut_ptr().cast(), &raw mut len)
        })?;
        text.truncate(usize::try_from(len).unwrap_or(0));
        Ok(text)
    }

    pub fn bind(&self, address: SocketAddr) -> Result<(), Fault> {
        let _inside = enter();
        let answer = match Address::from(address) {
            // SAFETY: an address as the system lays it out, that long, which outlives the call.
            Address::V4(v4) => unsafe {
                raw::srt_bind(
                    self.id,
                    ptr::from_ref(&v4).cast(),
                    length_of::<sockaddr_in>(),
                )
            },
            // SAFETY: as above.
            Address::V6(v6) => unsafe {
                raw::srt_bind(
                    self.id,
                    ptr::from_ref(&v6).cast(),
                    length_of::<sockaddr_in6>(),
                )
            },
        };
        Fault::check(answer).map(drop)
    }

    /// Starts listening; `ask` is called for each caller, on libsrt's receive thread.
    pub fn listen(&mut self, backlog: u16, ask: Arc<Ask>) -> Result<(), Fault> {
        let hook = Hook::new(ask);
        let _inside = enter();
        hook.install(self.id)?;
        self.hook = Some(hook);
        Fault::check(raw::srt_listen(self.id, c_int::from(backlog))).map(drop)
    }

    pub fn is_listening(&self) -> bool {
        let _inside = enter();
        raw::srt_getsockstate(self.id) == raw::SRTS_LISTENING
    }

    pub fn local_address(&self) -> Result<SocketAddr, Fault> {
        with_address(|address, len| {
            let _inside = enter();
            // SAFETY: `address` has room for `len` bytes.
            Fault::check(unsafe { raw::srt_getsockname(self.id, address, len) })
        })
        .map(|(_, address)| address)
    }

    /// The next connection that waits to be accepted.
    pub fn accept(&self) -> Result<(Self, SocketAddr), Fault> {
        let (id, peer) = with_address(|address, len| {
            let _inside = enter();
            // SAFETY: `address` has room for `len` bytes.
            let id = unsafe { raw::srt_accept(self.id, address, len) };
            if id == raw::INVALID_SOCK {
                Err(Fault::last())
            } else {
                Ok(id)
            }
        })?;
        let library = Library::start().inspect_err(|_| {
            let _inside = enter();
            raw::srt_close(id);
        })?;
        Ok((Self::owning(id, library), peer))
    }

    /// Appends the next packet's payload to `buffer`, which grows if need be.
    pub fn receive(&self, buffer: &mut BytesMut) -> Result<usize, Fault> {
        buffer.reserve(MAX_PAYLOAD);
        let room = buffer.spare_capacity_mut();
        let len = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
        let inside = enter();
        // SAFETY: libsrt writes at most `len` bytes to `room`.
        let got = unsafe { raw::srt_recvmsg(self.id, room.as_mut_ptr().cast::<c_char>(), len) };
        let got = usize::try_from(Fault::check(got)?).unwrap_or(0);
        drop(inside);
        // SAFETY: libsrt wrote `got` bytes behind the buffer's length, and says so.
        unsafe { buffer.set_len(buffer.len() + got) };
        Ok(got)
    }

    /// Fails once the connection is broken.
    pub fn counters(&self) -> Result<Counters, Fault> {
        let mut statistics = MaybeUninit::<raw::Statistics>::zeroed();
        let _inside = enter();
        // SAFETY: libsrt fills the structure, for which there is room (and some more).
        Fault::check(unsafe { raw::srt_bistats(self.id, statistics.as_mut_ptr(), 0, 1) })?;
        // SAFETY: nothing but numbers, for which any bits will do; zeroed before.
        let statistics = unsafe { statistics.assume_init() };
        Ok(Counters::from(&statistics))
    }

    /// Closes the socket and tells the peer.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            let _inside = enter();
            raw::srt_close(self.id);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}

impl From<&raw::Statistics> for Counters {
    fn from(raw: &raw::Statistics) -> Self {
        let count = |n: c_int| u64::try_from(n).unwrap_or(0);
        Self {
            rtt_ms: raw.ms_rtt,
            received: u64::try_from(raw.pkt_recv_unique_total).unwrap_or(0),
            lost: count(raw.pkt_rcv_loss_total),
            retransmitted: count(raw.pkt_rcv_retrans),
            dropped: count(raw.pkt_rcv_drop_total),
            undecrypted: count(raw.pkt_rcv_undecrypt_total),
            bytes: raw.byte_recv_unique_total,
            buffered_ms: count(raw.ms_rcv_buf),
        }
    }
}

enum Address {
    V4(sockaddr_in),
    V6(sockaddr_in6),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::V4(sockaddr_in {
                sin_family: family(libc::AF_INET),
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Self::V6(sockaddr_in6 {
                sin6_family: family(libc::AF_INET6),
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }
}

fn family(family: c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(family).unwrap_or_default()
}

fn length_of<T>() -> c_int {
    c_int::try_from(size_of::<T>()).unwrap_or(c_int::MAX)
}

/// Lets `call` fill in an address.
fn with_address(
    call: impl FnOnce(*mut sockaddr, &mut c_int) -> Result<c_int, Fault>,
) -> Result<(c_int, SocketAddr), Fault> {
    // SAFETY: a plain structure of numbers, for which zeroes will do.
    let mut storage: sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = length_of::<sockaddr_storage>();
    let answer = call(ptr::from_mut(&mut storage).cast(), &mut len)?;
    // SAFETY: `storage` is large enough for every family.
    let address = unsafe { read_address(ptr::from_ref(&storage).cast()) };
    Ok((answer, address.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into())))
}

/// An address of the system as Rust's; IPv4 within IPv6 as IPv4. `None` for other families.
///
/// # Safety
/// `address` is null or points to an address that is as long as its family says.
pub(super) unsafe fn read_address(address: *const sockaddr) -> Option<SocketAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: every address begins with its family; read without assuming alignment.
    let family = unsafe { ptr::read_unaligned(&raw const (*address).sa_family) };
    match c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says so.
            let v4 = unsafe { ptr::read_unaligned(address.cast::<sockaddr_in>()) };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some((ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says so.
            let v6 = unsafe { ptr::read_unaligned(address.cast::<sockaddr_in6>()) };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => (v4, port).into(),
                None => SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into(),
            })
        }
        _ => None,
    }
}
