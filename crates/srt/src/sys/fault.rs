//! libsrt's last error as a value.

use std::ffi::{CStr, c_int};
use std::ptr;

use super::raw;

/// What libsrt said about a call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("libsrt error {code} (errno {errno}): {message}")]
pub struct Fault {
    code: i32,
    errno: i32,
    message: String,
}

impl Fault {
    /// The error of the call that just failed on this thread: libsrt keeps it by thread.
    pub(super) fn last() -> Self {
        let mut errno = 0;
        // SAFETY: `errno` outlives the call.
        let code = unsafe { raw::srt_getlasterror(ptr::from_mut(&mut errno)) };
        let text = raw::srt_getlasterror_str();
        let message = if text.is_null() {
            String::new()
        } else {
            // SAFETY: a NUL-terminated string in the thread's own error object, which stays as it is
            // until this thread's next failing call.
            let text = unsafe { CStr::from_ptr(text) };
            text.to_string_lossy().trim_end().to_owned()
        };
        Self {
            code,
            errno,
            message,
        }
    }

    /// What a call answered by a negative number means.
    pub(super) fn check(answer: c_int) -> Result<c_int, Self> {
        if answer < 0 {
            Err(Self::last())
        } else {
            Ok(answer)
        }
    }

    /// libsrt's code (`SRT_ERRNO`), 1000 × the kind + the detail.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// Nothing is due now; the connection stands.
    pub(crate) fn is_not_yet(&self) -> bool {
        self.code == raw::EASYNCRCV
    }

    /// The peer is gone, or its part of the buffer is not due yet: asking again may still give data.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.code, raw::ECONNLOST | raw::ENOCONN)
    }
}
