//! bcrypt away from the async threads, a bounded number at a time.
//!
//! One comparison at cost 12 takes a core a quarter of a second. On the async threads it would
//! stall every other request; without a bound, a burst of sign-ins would take all cores. Those that
//! wait for a turn are bounded too: whoever would wait for longer than a person does is told so at
//! once.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::credentials::Password;

/// How long a password waits for its turn before the client is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// A salt and hash that belong to no password. Comparing with it takes as long as with a real one.
const NOBODYS_SALT_AND_HASH: &str = "abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";

/// Makes and compares bcrypt hashes. Cheap to clone; all clones share the bounds.
#[derive(Clone, Debug)]
pub struct PasswordHasher {
    cost: u32,
    /// Passwords that wait or are at work.
    places: Arc<Semaphore>,
    /// Passwords that are at work.
    turns: Arc<Semaphore>,
    nobodys_hash: Arc<str>,
}

/// The right to use a core for one password. Whoever has it may look at the lock-out once more, and
/// be sure that no more guesses are under way than there are turns.
#[derive(Debug)]
pub struct Turn {
    cost: u32,
    nobodys_hash: Arc<str>,
    /// Held by the work and not by the request, which may be dropped before the work ends.
    held: [OwnedSemaphorePermit; 2],
}

/// Why a password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many passwords wait for their turn, or this one waited too long.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// bcrypt failed: a hash in the database is broken, or there is no randomness for a salt.
    #[error("bcrypt failed")]
    Bcrypt(#[source] bcrypt::BcryptError),
    /// The hashing thread panicked.
    #[error("the hashing thread died")]
    Died(#[source] tokio::task::JoinError),
}

impl PasswordHasher {
    /// Hashes with `cost` (2^cost rounds), `parallelism` at a time, while at most `queue` wait.
    pub fn new(cost: u32, parallelism: usize, queue: usize) -> Self {
        Self {
            cost,
            places: Arc::new(Semaphore::new(parallelism + queue)),
            turns: Arc::new(Semaphore::new(parallelism)),
            nobodys_hash: format!("$2b${cost:02}${NOBODYS_SALT_AND_HASH}").into(),
        }
    }

    /// Waits for a turn, unless too many do so already.
    pub async fn turn(&self) -> Result<Turn, PasswordError> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| PasswordError::Busy)?;
        let turns = Arc::clone(&self.turns);
        match tokio::time::timeout(PATIENCE, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Turn {
                cost: self.cost,
                nobodys_hash: Arc::clone(&self.nobodys_hash),
                held: [place, turn],
            }),
            // The semaphore is never closed; its error and a lost patience mean the same.
            Ok(Err(_)) | Err(_) => Err(PasswordError::Busy),
        }
    }

    /// The hash to store.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        self.turn().await?.hash(password).await
    }
}

impl Turn {
    /// The hash to store.
    pub async fn hash(self, password: Password) -> Result<String, PasswordError> {
        let cost = self.cost;
        // `Password` is never longer than what bcrypt takes, so nothing is cut off here; the
        // crate's non-truncating variant refuses all of 72 bytes already.
        self.run(move || bcrypt::hash(password.expose(), cost))
            .await
    }

    /// Whether `password` made `hash`. For an unknown user `hash` is `None`: the answer is then
    /// always no, and takes as long as any other.
    pub async fn matches(
        self,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobodys_hash.to_string());
        let equal = self
            .run(move || bcrypt::verify(password.expose(), &hash))
            .await?;
        Ok(equal && known)
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        tokio::task::spawn_blocking(move || {
            let _held = self.held;
            work()
        })
        .await
        .map_err(PasswordError::Died)?
        .map_err(PasswordError::Bcrypt)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{PasswordError, PasswordHasher};
    use crate::credentials::Password;

    fn password(text: &str) -> Password {
        Password::parse_attempt(text.to_owned()).unwrap()
    }

    async fn matches(hasher: &PasswordHasher, text: &str, hash: Option<&String>) -> bool {
        let turn = hasher.turn().await.unwrap();
        turn.matches(password(text), hash.cloned()).await.unwrap()
    }

    #[tokio::test]
    async fn a_hash_matches_its_own_password_only() {
        let hasher = PasswordHasher::new(4, 1, 0);
        let hash = hasher.hash(password("correct horse")).await.unwrap();
        assert!(hash.starts_with("$2b$04$"));
        assert!(matches(&hasher, "correct horse", Some(&hash)).await);
        assert!(!matches(&hasher, "correct house", Some(&hash)).await);
    }

    #[tokio::test]
    async fn all_72_bytes_count() {
        let hasher = PasswordHasher::new(4, 1, 0);
        let hash = hasher.hash(password(&"a".repeat(72))).await.unwrap();
        let nearly = format!("{}b", "a".repeat(71));
        assert!(!matches(&hasher, &nearly, Some(&hash)).await);
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let hasher = PasswordHasher::new(4, 1, 0);
        assert!(!matches(&hasher, "anything", None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_never_gets_its_turn_is_sent_away() {
        let hasher = PasswordHasher::new(4, 0, 1);
        let answer = hasher.hash(password("correct horse")).await;
        assert!(matches!(answer, Err(PasswordError::Busy)));
    }

    #[tokio::test]
    async fn a_full_queue_sends_away_at_once_and_drains() {
        let hasher = PasswordHasher::new(4, 1, 1);
        let working = hasher.turn().await.unwrap();
        let mut waiting = Box::pin(hasher.turn());
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(matches!(hasher.turn().await, Err(PasswordError::Busy)));

        drop(working);
        drop(waiting.await.unwrap());
        assert!(hasher.turn().await.is_ok());
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_while_it_waits_leaves_its_place() {
        let hasher = PasswordHasher::new(4, 1, 1);
        let working = hasher.turn().await.unwrap();
        let mut waiting = Box::pin(hasher.turn());
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(waiting);
        let mut another = Box::pin(hasher.turn());
        assert!(futures::poll!(another.as_mut()).is_pending());
        drop(working);
        assert!(another.await.is_ok());
    }
}
