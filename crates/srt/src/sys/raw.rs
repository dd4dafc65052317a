//! The part of `srt/srt.h` (libsrt 1.5) that is used here, written by hand.
//!
//! Names and order are those of the header, so that the two can be compared line by line.

use std::ffi::{c_char, c_double, c_int, c_void};

use libc::sockaddr;

/// `SRTSOCKET`: a number, not a pointer. libsrt looks it up at each call and answers
/// [`EINVSOCK`] for one that is gone, so a stale one is an error and never memory unsafe.
pub type SocketId = i32;

pub const INVALID_SOCK: SocketId = -1;

// SRT_SOCKOPT
pub const SRTO_RCVSYN: c_int = 2;
pub const SRTO_FC: c_int = 4;
pub const SRTO_RCVBUF: c_int = 6;
pub const SRTO_RCVDATA: c_int = 20;
pub const SRTO_LATENCY: c_int = 23;
pub const SRTO_PASSPHRASE: c_int = 26;
pub const SRTO_PBKEYLEN: c_int = 27;
pub const SRTO_RCVLATENCY: c_int = 43;
pub const SRTO_MINVERSION: c_int = 45;
pub const SRTO_STREAMID: c_int = 46;
pub const SRTO_ENFORCEDENCRYPTION: c_int = 53;
pub const SRTO_IPV6ONLY: c_int = 54;
pub const SRTO_PEERIDLETIMEO: c_int = 55;
pub const SRTO_PACKETFILTER: c_int = 60;

// SRT_ERRNO
pub const ECONNLOST: c_int = 2001;
pub const ENOCONN: c_int = 2002;
pub const EASYNCRCV: c_int = 6002;

// SRT_SOCKSTATUS
pub const SRTS_LISTENING: c_int = 3;

// syslog.h, as srt_setloglevel takes them
pub const LOG_CRIT: c_int = 2;
pub const LOG_NOTICE: c_int = 5;

// logging_api.h: the message without time, thread name, severity and line end
pub const LOGF_BARE: c_int = 1 | 2 | 4 | 8;

/// `srt_listen_callback_fn`
pub type ListenCallback = unsafe extern "C" fn(
    opaque: *mut c_void,
    ns: SocketId,
    hs_version: c_int,
    peer: *const sockaddr,
    stream_id: *const c_char,
) -> c_int;

/// `SRT_LOG_HANDLER_FN`
pub type LogHandler = unsafe extern "C" fn(
    opaque: *mut c_void,
    level: c_int,
    file: *const c_char,
    line: c_int,
    area: *const c_char,
    message: *const c_char,
);

/// `SRT_TRACEBSTATS` (`struct CBytePerfMon`). libsrt only ever adds fields at its end; the room
/// behind them is for such a newer library, which writes its whole structure.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Statistics {
    // global measurements
    pub ms_time_stamp: i64,
    pub pkt_sent_total: i64,
    pub pkt_recv_total: i64,
    pub pkt_snd_loss_total: c_int,
    pub pkt_rcv_loss_total: c_int,
    pub pkt_retrans_total: c_int,
    pub pkt_sent_ack_total: c_int,
    pub pkt_recv_ack_total: c_int,
    pub pkt_sent_nak_total: c_int,
    pub pkt_recv_nak_total: c_int,
    pub us_snd_duration_total: i64,
    pub pkt_snd_drop_total: c_int,
    pub pkt_rcv_drop_total: c_int,
    pub pkt_rcv_undecrypt_total: c_int,
    pub byte_sent_total: u64,
    pub byte_recv_total: u64,
    pub byte_rcv_loss_total: u64,
    pub byte_retrans_total: u64,
    pub byte_snd_drop_total: u64,
    pub byte_rcv_drop_total: u64,
    pub byte_rcv_undecrypt_total: u64,
    // local measurements
    pub pkt_sent: i64,
    pub pkt_recv: i64,
    pub pkt_snd_loss: c_int,
    pub pkt_rcv_loss: c_int,
    pub pkt_retrans: c_int,
    pub pkt_rcv_retrans: c_int,
    pub pkt_sent_ack: c_int,
    pub pkt_recv_ack: c_int,
    pub pkt_sent_nak: c_int,
    pub pkt_recv_nak: c_int,
    pub mbps_send_rate: c_double,
    pub mbps_recv_rate: c_double,
    pub us_snd_duration: i64,
    pub pkt_reorder_distance: c_int,
    pub pkt_rcv_avg_belated_time: c_double,
    pub pkt_rcv_belated: i64,
    pub pkt_snd_drop: c_int,
    pub pkt_rcv_drop: c_int,
    pub pkt_rcv_undecrypt: c_int,
    pub byte_sent: u64,
    pub byte_recv: u64,
    pub byte_rcv_loss: u64,
    pub byte_retrans: u64,
    pub byte_snd_drop: u64,
    pub byte_rcv_drop: u64,
    pub byte_rcv_undecrypt: u64,
    // instant measurements
    pub us_pkt_snd_period: c_double,
    pub pkt_flow_window: c_int,
    pub pkt_congestion_window: c_int,
    pub pkt_flight_size: c_int,
    pub ms_rtt: c_double,
    pub mbps_bandwidth: c_double,
    pub byte_avail_snd_buf: c_int,
    pub byte_avail_rcv_buf: c_int,
    pub mbps_max_bw: c_double,
    pub byte_mss: c_int,
    pub pkt_snd_buf: c_int,
    pub byte_snd_buf: c_int,
    pub ms_snd_buf: c_int,
    pub ms_snd_tsbpd_delay: c_int,
    pub pkt_rcv_buf: c_int,
    pub byte_rcv_buf: c_int,
    pub ms_rcv_buf: c_int,
    pub ms_rcv_tsbpd_delay: c_int,
    pub pkt_snd_filter_extra_total: c_int,
    pub pkt_rcv_filter_extra_total: c_int,
    pub pkt_rcv_filter_supply_total: c_int,
    pub pkt_rcv_filter_loss_total: c_int,
    pub pkt_snd_filter_extra: c_int,
    pub pkt_rcv_filter_extra: c_int,
    pub pkt_rcv_filter_supply: c_int,
    pub pkt_rcv_filter_loss: c_int,
    pub pkt_reorder_tolerance: c_int,
    // since 1.5.0
    pub pkt_sent_unique_total: i64,
    pub pkt_recv_unique_total: i64,
    pub byte_sent_unique_total: u64,
    pub byte_recv_unique_total: u64,
    pub pkt_sent_unique: i64,
    pub pkt_recv_unique: i64,
    pub byte_sent_unique: u64,
    pub byte_recv_unique: u64,
    /// Ours: a newer library's fields.
    pub reserved: [u64; 64],
}

// Where a C compiler puts them.
const _: () = assert!(std::mem::offset_of!(Statistics, pkt_rcv_loss_total) == 28);
const _: () = assert!(std::mem::offset_of!(Statistics, pkt_rcv_drop_total) == 68);
const _: () = assert!(std::mem::offset_of!(Statistics, pkt_rcv_undecrypt_total) == 72);
const _: () = assert!(std::mem::offset_of!(Statistics, ms_rtt) == 328);
const _: () = assert!(std::mem::offset_of!(Statistics, reserved) == 496);

// SAFETY: the signatures are those of srt/srt.h. Functions that take nothing but numbers are safe to
// call in any state of the library, for any socket, from any thread: they look the number up under
// the library's own lock and answer with an error code.
unsafe extern "C" {
    pub safe fn srt_startup() -> c_int;
    pub safe fn srt_cleanup() -> c_int;
    pub safe fn srt_create_socket() -> SocketId;
    pub safe fn srt_close(u: SocketId) -> c_int;
    pub safe fn srt_listen(u: SocketId, backlog: c_int) -> c_int;
    pub safe fn srt_getsockstate(u: SocketId) -> c_int;
    pub safe fn srt_setrejectreason(u: SocketId, value: c_int) -> c_int;
    pub safe fn srt_setloglevel(level: c_int);
    pub safe fn srt_setlogflags(flags: c_int);

    pub fn srt_bind(u: SocketId, name: *const sockaddr, name_len: c_int) -> c_int;
    pub fn srt_accept(u: SocketId, addr: *mut sockaddr, addr_len: *mut c_int) -> SocketId;
    pub fn srt_getsockname(u: SocketId, name: *mut sockaddr, name_len: *mut c_int) -> c_int;
    pub fn srt_getsockflag(u: SocketId, opt: c_int, value: *mut c_void, len: *mut c_int) -> c_int;
    pub fn srt_setsockflag(u: SocketId, opt: c_int, value: *const c_void, len: c_int) -> c_int;
    pub fn srt_recvmsg(u: SocketId, buf: *mut c_char, len: c_int) -> c_int;
    pub fn srt_bistats(
        u: SocketId,
        perf: *mut Statistics,
        clear: c_int,
        instantaneous: c_int,
    ) -> c_int;
    pub fn srt_listen_callback(
        listener: SocketId,
        hook: ListenCallback,
        opaque: *mut c_void,
    ) -> c_int;
    pub fn srt_setloghandler(opaque: *mut c_void, handler: LogHandler);
    pub fn srt_getlasterror(errno: *mut c_int) -> c_int;
    pub safe fn srt_getlasterror_str() -> *const c_char;
}
