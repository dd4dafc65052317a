//! Who may connect, decided while the caller waits for its handshake.

use std::net::SocketAddr;

use crate::StreamIdError;

/// Asked once or more for each caller (a lost answer makes it ask again), before its passphrase is
/// checked. So a yes must reserve nothing: the caller may still never become a connection.
///
/// It runs on the thread that receives for **every** publisher of the port: a check that took 2.5 s
/// cost the others 7,725 datagrams. Look-ups in memory only, no I/O, no lock that is held for long.
/// A panic refuses this caller with [`Reject::Internal`] and nothing else.
pub trait Admission: Send + Sync + 'static {
    /// May `peer` connect with this stream id (at most 512 bytes, empty if it gave none)?
    ///
    /// `peer` is an IPv4 address also if it came by an IPv6 socket.
    fn check(&self, stream_id: &str, peer: SocketAddr) -> Result<(), Reject>;
}

/// Why a caller is refused. It is told [`Reject::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// The stream id cannot be understood.
    Malformed,
    /// There is no room now: at capacity, or too many attempts.
    Busy,
    /// The key opens nothing.
    BadKey,
    /// Publishing is all that is possible here, and the caller asked for something else.
    BadMode,
    /// Somebody else holds what the key opens.
    Conflict,
    /// The service is about to stop; another instance will take the caller.
    Unavailable,
    /// Our fault.
    Internal,
}

impl Reject {
    /// The number the caller is shown, of libsrt's `access_control.h`: 1000 + what HTTP would say.
    pub fn code(self) -> i32 {
        match self {
            Self::Malformed => 1400,
            Self::Busy => 1402,
            Self::BadKey => 1403,
            Self::BadMode => 1405,
            Self::Conflict => 1409,
            Self::Internal => 1500,
            Self::Unavailable => 1503,
        }
    }
}

impl From<StreamIdError> for Reject {
    fn from(error: StreamIdError) -> Self {
        match error {
            StreamIdError::NotPublish => Self::BadMode,
            _ => Self::Malformed,
        }
    }
}
