//! Refresh tokens: opaque, one use each, and the rule on what a second use means.
//!
//! A token is exchanged for a pair of new ones, so a stolen one shows itself by being used twice.
//! Two tabs, or a retry after a lost answer, look the same for a moment: within a short grace the
//! token is exchanged again, later its whole family (the session) ends.
//!
//! Used tokens are kept as long as they would have lived, to know them again. So that nobody fills
//! the database with them, a token is exchanged so often within the grace, and a session so often an
//! hour.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

/// What is stored of a token.
pub type TokenHash = [u8; 32];

/// A token as the client holds it: 256 random bits in base64url.
#[derive(Clone)]
pub struct RefreshToken(String);

impl RefreshToken {
    /// A new token, from the operating system's randomness.
    pub fn generate() -> Result<Self, RandomnessError> {
        let mut bytes = [0; 32];
        OsRng.try_fill_bytes(&mut bytes).map_err(RandomnessError)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// A token as a client presented it.
    pub fn presented(token: String) -> Self {
        Self(token)
    }

    /// What is stored and looked up. A fast hash is enough for 256 random bits.
    pub fn hash(&self) -> TokenHash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The secret itself, for the client.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct RandomnessError(#[source] rand::rand_core::OsError);

/// How often one token is exchanged within the grace; a browser may have that many tabs.
const MAX_EXCHANGES: u32 = 20;
/// How often a session is refreshed an hour: each time one of its pages is opened, and four times
/// while it stays open.
const MAX_REFRESHES: u32 = 300;
/// The next token, which another answer may have brought, can be tried at once.
const NEXT_TOKEN: std::time::Duration = std::time::Duration::from_secs(1);

/// What is known of a presented token, read under the session's lock.
#[derive(Clone, Copy, Debug)]
pub struct Presented {
    /// The present time.
    pub now: OffsetDateTime,
    /// When the token ends.
    pub expires_at: OffsetDateTime,
    /// When it was first exchanged.
    pub used_at: Option<OffsetDateTime>,
    /// How often it was exchanged.
    pub exchanges: u32,
    /// How often its session was refreshed in the hour that began then.
    pub refreshes: u32,
    /// When the session's present hour began.
    pub refreshes_since: OffsetDateTime,
    /// Whether its session was revoked, or its account disabled.
    pub session_over: bool,
}

/// What a presented token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its first use: mark it used, give a new pair.
    Exchange,
    /// Used a moment ago: give another pair, and leave the time of its first use as it is.
    ExchangeAgain,
    /// Used before, and not just now: somebody else has it too, so the session ends.
    Reused,
    /// Good, but it or its session was exchanged too often: to be refused for this long.
    TooOften(std::time::Duration),
    /// Expired, or of a session that is over.
    Invalid,
}

impl Presented {
    /// Judges the token; `grace` is how long after its first use it may be repeated.
    pub fn verdict(self, grace: Duration) -> Verdict {
        if self.session_over || self.expires_at <= self.now {
            return Verdict::Invalid;
        }
        let verdict = match self.used_at {
            None => Verdict::Exchange,
            Some(used_at) if self.now - used_at <= grace => Verdict::ExchangeAgain,
            Some(_) => return Verdict::Reused,
        };
        if self.exchanges >= MAX_EXCHANGES {
            return Verdict::TooOften(NEXT_TOKEN);
        }
        if self.refreshes >= MAX_REFRESHES && !self.begins_an_hour() {
            let rest = self.refreshes_since + Duration::HOUR - self.now;
            return Verdict::TooOften(rest.unsigned_abs());
        }
        verdict
    }

    /// Whether the session's hour is over, so that refreshes are counted from one.
    pub fn begins_an_hour(self) -> bool {
        self.now - self.refreshes_since >= Duration::HOUR
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use time::{Duration, OffsetDateTime};

    use super::{MAX_EXCHANGES, MAX_REFRESHES, NEXT_TOKEN, Presented, RefreshToken, Verdict};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn verdict(change: impl FnOnce(&mut Presented)) -> Verdict {
        let mut presented = Presented {
            now: NOW,
            expires_at: NOW + Duration::DAY,
            used_at: None,
            exchanges: 0,
            refreshes: 0,
            refreshes_since: NOW,
            session_over: false,
        };
        change(&mut presented);
        presented.verdict(Duration::seconds(10))
    }

    #[test]
    fn an_unused_token_is_exchanged() {
        assert_eq!(verdict(|_| ()), Verdict::Exchange);
    }

    #[test]
    fn a_token_repeated_within_the_grace_is_exchanged_again() {
        let used = |ago| verdict(|token| token.used_at = Some(NOW - ago));
        assert_eq!(used(Duration::ZERO), Verdict::ExchangeAgain);
        assert_eq!(used(Duration::seconds(10)), Verdict::ExchangeAgain);
        // Another instance's clock may be a little ahead.
        assert_eq!(used(-Duration::MILLISECOND), Verdict::ExchangeAgain);
    }

    #[test]
    fn a_token_repeated_later_is_taken_for_stolen() {
        let used_at = NOW - Duration::milliseconds(10_001);
        assert_eq!(
            verdict(|token| token.used_at = Some(used_at)),
            Verdict::Reused
        );
    }

    #[test]
    fn a_token_and_a_session_are_exchanged_only_so_often() {
        let used = |exchanges| {
            verdict(|token| {
                token.used_at = Some(NOW);
                token.exchanges = exchanges;
            })
        };
        assert_eq!(used(MAX_EXCHANGES - 1), Verdict::ExchangeAgain);
        assert_eq!(used(MAX_EXCHANGES), Verdict::TooOften(NEXT_TOKEN));
        let refreshed = |since| {
            verdict(|token| {
                token.refreshes = MAX_REFRESHES;
                token.refreshes_since = NOW - since;
            })
        };
        let wait = Verdict::TooOften(std::time::Duration::from_mins(20));
        assert_eq!(refreshed(Duration::minutes(40)), wait);
        assert_eq!(refreshed(Duration::HOUR), Verdict::Exchange);
        // A thief is not told to come back.
        let stolen = verdict(|token| {
            token.used_at = Some(NOW - Duration::HOUR);
            token.exchanges = MAX_EXCHANGES;
        });
        assert_eq!(stolen, Verdict::Reused);
    }

    #[test]
    fn an_expired_token_or_one_of_a_finished_session_is_worth_nothing() {
        assert_eq!(verdict(|token| token.expires_at = NOW), Verdict::Invalid);
        assert_eq!(verdict(|token| token.session_over = true), Verdict::Invalid);
        let used_and_over = verdict(|token| {
            token.used_at = Some(NOW - Duration::HOUR);
            token.session_over = true;
        });
        assert_eq!(used_and_over, Verdict::Invalid);
    }

    #[test]
    fn tokens_are_long_different_and_hidden_in_debug_output() {
        let (a, b) = (
            RefreshToken::generate().unwrap(),
            RefreshToken::generate().unwrap(),
        );
        assert_eq!(a.expose().len(), 43);
        assert_ne!(a.expose(), b.expose());
        assert_ne!(a.hash(), b.hash());
        assert_eq!(
            a.hash(),
            RefreshToken::presented(a.expose().to_owned()).hash()
        );
        assert_eq!(format!("{a:?}"), "***");
    }
}
