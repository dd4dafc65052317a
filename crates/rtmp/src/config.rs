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
    /// Connections that have not asked to publish yet; more are closed at once.
    pub max_setups: usize,
    /// The same from one address, so that one cannot take all the places.
    pub max_setups_per_address: usize,
    /// A publisher of which nothing came for so long is taken as gone.
    pub no_data_timeout: Duration,
    /// Publishers that may wait for [`crate::Listener::accept`]; more are told to try again.
    pub max_pending: usize,
}

impl ListenerConfig {
    /// The defaults: 10 s to ask to publish, 256 that do (32 from one address), 5 s without data,
    /// 64 pending.
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            setup_timeout: Duration::from_secs(10),
            max_setups: 256,
            max_setups_per_address: 32,
            no_data_timeout: Duration::from_secs(5),
            max_pending: 64,
        }
    }
}
