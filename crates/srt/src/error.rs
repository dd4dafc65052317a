//! What can go wrong, without any secret in it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::sys::Fault;

/// A listener that cannot be opened, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SrtError {
    /// libsrt could not be started, or gave no socket.
    #[error("libsrt could not be started")]
    Startup(#[source] Fault),
    /// A value of the configuration cannot be used.
    #[error("the SRT listener's configuration cannot be used: {0}")]
    Config(&'static str),
    /// libsrt refused an option.
    #[error("libsrt refused the option {option}")]
    Option {
        /// Its name in [`crate::ListenerConfig`].
        option: &'static str,
        /// What libsrt said.
        source: Fault,
    },
    /// The address is taken, or not this machine's.
    #[error("cannot listen for SRT on {address}/udp")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What libsrt said.
        source: Fault,
    },
    /// No thread to accept with.
    #[error("no thread for the SRT listener")]
    Thread(#[source] io::Error),
    /// libsrt ended the listening socket by itself.
    #[error("the SRT listener broke")]
    Broken(#[source] Fault),
    /// The accept thread ended without a word: it panicked.
    #[error("the SRT listener's thread died")]
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
    /// The connection's thread ended without a word: it panicked.
    #[error("the connection's thread died")]
    Died,
}
