//! What can go wrong, without any secret in it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::session::SessionError;

/// A listener that cannot be opened, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RtmpError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen for RTMP on {address}/tcp")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The accepting task ended without a word: it panicked.
    #[error("the RTMP listener died")]
    Died,
}

/// Why a connection gives no more data, other than by its publisher's own end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// [`crate::Closer::close`] was called.
    #[error("the connection was closed on this side")]
    Closed,
    /// The publisher vanished, or sends nothing.
    #[error("no data came for {} ms", .0.as_millis())]
    NoData(Duration),
    /// The publisher does not read what it is told.
    #[error("the publisher takes no answers")]
    Deaf,
    /// It sends what cannot be used.
    #[error("the publisher sends what cannot be used: {0}")]
    Protocol(SessionError),
    /// The connection's task ended without a word: it panicked.
    #[error("the connection's task died")]
    Died,
}
