//! bcrypt away from the async threads, a bounded number at a time.
//!
//! One comparison at cost 12 takes a core a quarter of a second. On the async threads it would
//! stall every other request; without a bound, a burst of sign-ins would take all cores.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::credentials::Password;

/// How long a password waits for its turn before the client is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// A salt and hash that belong to no password. Comparing with it takes as long as with a real one.
const NOBODYS_SALT_AND_HASH: &str = "abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";

/// Makes and compares bcrypt hashes. Cheap to clone; all clones share the bound.
#[derive(Clone, Debug)]
pub struct PasswordHasher {
    cost: u32,
    turns: Arc<Semaphore>,
    nobodys_hash: Arc<str>,
}

/// Why a password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many passwords wait for their turn.
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
    /// Hashes with `cost` (2^cost rounds), `parallelism` at a time.
    pub fn new(cost: u32, parallelism: usize) -> Self {
        Self {
            cost,
            turns: Arc::new(Semaphore::new(parallelism)),
            nobodys_hash: format!("$2b${cost:02}${NOBODYS_SALT_AND_HASH}").into(),
        }
    }

    /// The hash to store.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        let cost = self.cost;
        // `Password` is never longer than what bcrypt takes, so nothing is cut off here; the
        // crate's non-truncating variant refuses all of 72 bytes already.
        self.run(move || bcrypt::hash(password.expose(), cost))
            .await
    }

    /// Whether `password` made `hash`. For an unknown user `hash` is `None`: the answer is then
    /// always no, and takes as long as any other.
    pub async fn matches(
        &self,
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
        &self,
        work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = self.turn().await?;
        tokio::task::spawn_blocking(move || {
            // Held by the work and not by the request, which may be dropped before it ends.
            let _turn = turn;
            work()
        })
        .await
        .map_err(PasswordError::Died)?
        .map_err(PasswordError::Bcrypt)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        let turns = Arc::clone(&self.turns);
        match tokio::time::timeout(PATIENCE, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            // The semaphore is never closed; its error and a lost patience mean the same.
            Ok(Err(_)) | Err(_) => Err(PasswordError::Busy),
        }
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

    #[tokio::test]
    async fn a_hash_matches_its_own_password_only() {
        let hasher = PasswordHasher::new(4, 1);
        let hash = hasher.hash(password("correct horse")).await.unwrap();
        assert!(hash.starts_with("$2b$04$"));
        assert!(
            hasher
                .matches(password("correct horse"), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !hasher
                .matches(password("correct house"), Some(hash))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn all_72_bytes_count() {
        let hasher = PasswordHasher::new(4, 1);
        let hash = hasher.hash(password(&"a".repeat(72))).await.unwrap();
        let nearly = format!("{}b", "a".repeat(71));
        assert!(!hasher.matches(password(&nearly), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let hasher = PasswordHasher::new(4, 1);
        assert!(!hasher.matches(password("anything"), None).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_never_gets_its_turn_is_sent_away() {
        let hasher = PasswordHasher::new(4, 0);
        let answer = hasher.hash(password("correct horse")).await;
        assert!(matches!(answer, Err(PasswordError::Busy)));
    }
}
