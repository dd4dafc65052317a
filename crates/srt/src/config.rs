//! A listener's settings.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::SrtError;

/// How a [`crate::Listener`] listens.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Where. Port 0: any free one. `[::]` takes IPv4 too.
    pub bind: SocketAddr,
    /// How long each packet is held, so that a lost one can be repeated meanwhile: about four round
    /// trips. The larger of ours and the publisher's is used. At most 10 s.
    ///
    /// The receive buffer is chosen for 100 Mbit/s over this time and a second, at least 8192
    /// packets (11 MB) and at most 32768.
    pub latency: Duration,
    /// With one, publishers must encrypt with the same; without, they must not encrypt.
    pub passphrase: Option<Passphrase>,
    /// A connection on which no data arrived for so long is closed. At least 100 ms; libsrt's own
    /// timer (5 s and more) is set behind it.
    pub no_data_timeout: Duration,
    /// Connections that may wait for [`crate::Listener::accept`]; callers beyond are told
    /// [`crate::Reject::Busy`].
    pub max_pending: usize,
    /// Connections that may wait within libsrt, between its receive thread and ours; callers beyond
    /// are refused by libsrt and try again.
    pub backlog: u16,
}

impl ListenerConfig {
    /// The defaults: 120 ms, no passphrase, 5 s without data, 64 pending, a backlog of 64.
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            latency: Duration::from_millis(120),
            passphrase: None,
            no_data_timeout: Duration::from_secs(5),
            max_pending: 64,
            backlog: 64,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), SrtError> {
        if self.latency > Duration::from_secs(10) {
            return Err(SrtError::Config("latency is at most 10 s"));
        }
        let sensible = Duration::from_millis(100)..=Duration::from_hours(24);
        if !sensible.contains(&self.no_data_timeout) {
            return Err(SrtError::Config("no_data_timeout is 100 ms to a day"));
        }
        if self.max_pending == 0 || self.backlog == 0 {
            return Err(SrtError::Config("max_pending and backlog are at least 1"));
        }
        Ok(())
    }
}

/// A key's length. The publisher decides which is used; this one is proposed to publishers that have
/// none configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyLength {
    /// AES-128, libsrt's default.
    #[default]
    Aes128,
    /// AES-192.
    Aes192,
    /// AES-256.
    Aes256,
}

impl KeyLength {
    pub(crate) fn bytes(self) -> i32 {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

/// What a listener and its publishers share to encrypt with.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase {
    text: String,
    key_length: KeyLength,
}

/// libsrt takes 10 to 79 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an SRT passphrase has 10 to 79 bytes without NUL, this one has {0}")]
pub struct PassphraseError(usize);

impl Passphrase {
    /// `text` has 10 to 79 bytes. ffmpeg takes at most 64.
    pub fn new(text: impl Into<String>, key_length: KeyLength) -> Result<Self, PassphraseError> {
        let text = text.into();
        if (10..=79).contains(&text.len()) && !text.contains('\0') {
            Ok(Self { text, key_length })
        } else {
            Err(PassphraseError(text.len()))
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    pub(crate) fn key_length(&self) -> KeyLength {
        self.key_length
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrase")
            .field("text", &"***")
            .field("key_length", &self.key_length)
            .finish()
    }
}
