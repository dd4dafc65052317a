//! A listener's settings.

use std::net::SocketAddr;
use std::time::Duration;

/// How a [`crate::Listener`] listens.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Where. Port 0: any free one.
    pub bind: SocketAddr,
    /// How long a connection may take from its first byte to asking to publish, all together.
    pub setup_timeout: Duration,
    /// The same for the handshake, which encoders send at once.
    pub handshake_timeout: Duration,
    /// Connections that have not asked to publish yet. For one more, the oldest of the network that
    /// has most of them is closed.
    pub max_setups: usize,
    /// The same from one network: an IPv4 address, or the /64 of an IPv6 one. More are closed at once.
    pub max_setups_per_network: usize,
    /// A publisher of which no sound and no picture came for so long is taken as gone.
    pub no_data_timeout: Duration,
    /// Publishers that may wait for [`crate::Listener::accept`]; more are told to try again.
    pub max_pending: usize,
}

impl ListenerConfig {
    /// The defaults: 10 s to ask to publish, 3 s of them for the handshake, 256 that do (32 from one
    /// network), 5 s without data, 64 pending.
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            setup_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(3),
            max_setups: 256,
            max_setups_per_network: 32,
            no_data_timeout: Duration::from_secs(5),
            max_pending: 64,
        }
    }
}
