//! The listen callback: who may connect, asked on libsrt's receive thread.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use libc::sockaddr;

use super::socket::read_address;
use super::{Fault, raw};

/// `Err` carries the reject code that the caller is shown.
pub type Verdict = Result<(), i32>;

/// What is asked for each caller: its stream id and its address.
pub type Ask = dyn Fn(&[u8], SocketAddr) -> Verdict + Send + Sync;

/// `SRT_REJX_ISE`
const INTERNAL_ERROR: i32 = 1500;

/// libsrt is given a number and not a pointer. It may call a moment after the listener was closed;
/// it then finds nothing here and refuses, instead of reaching into freed memory.
static ASKED: RwLock<Option<HashMap<usize, Arc<Ask>>>> = RwLock::new(None);

/// A listener's entry among those that are asked; taken out on drop.
pub struct Hook(usize);

impl Hook {
    pub fn new(ask: Arc<Ask>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        ASKED
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default()
            .insert(id, ask);
        Self(id)
    }

    pub(super) fn install(&self, listener: raw::SocketId) -> Result<(), Fault> {
        let opaque = ptr::without_provenance_mut(self.0);
        // SAFETY: the callback lives as long as the process and never follows `opaque`.
        Fault::check(unsafe { raw::srt_listen_callback(listener, on_connect, opaque) }).map(drop)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Some(asked) = ASKED
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            asked.remove(&self.0);
        }
    }
}

fn find(id: usize) -> Option<Arc<Ask>> {
    ASKED
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()?
        .get(&id)
        .cloned()
}

unsafe extern "C" fn on_connect(
    opaque: *mut c_void,
    ns: raw::SocketId,
    _hs_version: c_int,
    peer: *const sockaddr,
    stream_id: *const c_char,
) -> c_int {
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let ask = find(opaque.addr()).ok_or(INTERNAL_ERROR)?;
        // SAFETY: libsrt passes the address it received from, IPv4 or IPv6, whole.
        let peer = unsafe { read_address(peer) }.ok_or(INTERNAL_ERROR)?;
        let stream_id = if stream_id.is_null() {
            &[]
        } else {
            // SAFETY: NUL-terminated, and it lives through the call.
            unsafe { CStr::from_ptr(stream_id) }.to_bytes()
        };
        ask(stream_id, peer)
    }));
    let verdict = answer.unwrap_or_else(|_| {
        tracing::error!("the admission check panicked; the caller was refused");
        Err(INTERNAL_ERROR)
    });
    match verdict {
        Ok(()) => 0,
        Err(code) => {
            raw::srt_setrejectreason(ns, code);
            -1
        }
    }
}
