//! libsrt's global state: started with the first socket, ended with the last.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, PoisonError, RwLock, RwLockReadGuard};
use std::{mem, ptr};

use super::{Fault, raw};

/// The name under which libsrt's own lines come out of `tracing`, at debug level.
const LOG_TARGET: &str = "libsrt";

/// Open for calls until the process ends.
///
/// When `main` has returned, libsrt's static destructors run, whatever threads are still doing: ours may
/// be in a call, and its own go on if it was not shut down as often as it was started. Both ended in
/// crashes. So each call passes this gate, and the process' end begins with waiting for the calls that
/// are under way (none blocks), letting no other in, and shutting libsrt down.
static GATE: RwLock<()> = RwLock::new(());

/// Held during a call of libsrt. Never in its callbacks: libsrt waits for them when it ends.
pub(super) fn enter() -> RwLockReadGuard<'static, ()> {
    GATE.read().unwrap_or_else(PoisonError::into_inner)
}

/// How often libsrt was started and not shut down.
static SHARES: AtomicUsize = AtomicUsize::new(0);

/// Runs before libsrt's destructors, having been registered after libsrt was started.
extern "C" fn close_gate() {
    mem::forget(GATE.write());
    for _ in 0..SHARES.load(Ordering::Acquire) {
        raw::srt_cleanup();
    }
}

/// A share in the started library, which counts them itself. When the last one goes, libsrt stops
/// its threads and closes its UDP sockets; that takes up to two seconds, so the shares are held by
/// sockets, and sockets by threads of ours (never by an async task alone).
pub struct Library(());

impl Library {
    pub fn start() -> Result<Self, Fault> {
        static PREPARED: Once = Once::new();
        let _inside = enter();
        Fault::check(raw::srt_startup())?;
        SHARES.fetch_add(1, Ordering::AcqRel);
        PREPARED.call_once(|| {
            // SAFETY: a plain function that lives as long as the process and cannot unwind. Refused
            // only for want of memory; then it is as if there were no gate.
            unsafe { libc::atexit(close_gate) };
            // SAFETY: as above; it takes no opaque pointer.
            unsafe { raw::srt_setloghandler(ptr::null_mut(), forward_log) };
            raw::srt_setlogflags(raw::LOGF_BARE);
        });
        // A lost packet can cost a line: let libsrt format them only where somebody reads them.
        raw::srt_setloglevel(
            if tracing::enabled!(target: LOG_TARGET, tracing::Level::DEBUG) {
                raw::LOG_NOTICE
            } else {
                raw::LOG_CRIT
            },
        );
        Ok(Self(()))
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _inside = enter();
        raw::srt_cleanup();
        SHARES.fetch_sub(1, Ordering::AcqRel);
    }
}

/// libsrt would write to stderr. At these levels it names addresses and socket numbers, and of a
/// stream id no more than its length.
unsafe extern "C" fn forward_log(
    _opaque: *mut c_void,
    level: c_int,
    _file: *const c_char,
    _line: c_int,
    _area: *const c_char,
    message: *const c_char,
) {
    if message.is_null() {
        return;
    }
    // SAFETY: libsrt passes a NUL-terminated string that lives through the call.
    let message = unsafe { CStr::from_ptr(message) };
    // A subscriber that panics must not unwind into C. There is nobody left to tell.
    let _ = catch_unwind(|| {
        tracing::debug!(target: LOG_TARGET, level, "{}", message.to_string_lossy().trim_end());
    });
}
