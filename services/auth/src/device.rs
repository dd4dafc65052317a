//! Devices: browsers that have signed in before, told by a cookie that a sign-out leaves.
//!
//! While strangers guess at an account, its owner is told from them by the network they sit in, or by
//! this: a network changes, and is shared. The cookie signs nobody in; it only lets a password be
//! tried (`docs/adr/0010-lock-out-by-account-and-network.md`).

use time::Duration;

use crate::refresh_token::{RandomnessError, RefreshToken, TokenHash};

/// How long a device is known after its last sign-in.
pub const LIFETIME: Duration = Duration::days(180);
/// Devices of one user; the oldest is forgotten for a further one.
pub const MOST: u32 = 20;

/// The secret that a device holds: as long and as random as a refresh token.
#[derive(Clone, Debug)]
pub struct DeviceToken(RefreshToken);

impl DeviceToken {
    /// A new one.
    pub fn generate() -> Result<Self, RandomnessError> {
        RefreshToken::generate().map(Self)
    }

    /// What is stored and looked up.
    pub fn hash(&self) -> TokenHash {
        self.0.hash()
    }

    /// What is looked up of a cookie.
    pub fn hash_presented(cookie: &str) -> TokenHash {
        RefreshToken::presented(cookie.to_owned()).hash()
    }

    /// The secret itself, for the cookie.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}
