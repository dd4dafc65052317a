//! bcrypt away from the async threads, a bounded number at a time.
//!
//! One comparison at cost 12 takes a core a quarter of a second. On the async threads it would
//! stall every other request, so each has a thread of its own, which gives way to whatever else wants
//! the core: a burst of sign-ins may use all cores, and an encoder beside it keeps its frame rate.
//! Those that wait for a turn are bounded too: whoever would wait for longer than a person does is
//! told so at once. Of the places to wait and work one network has only a share, so that a guesser with one
//! address keeps nobody else from signing in.
//!
//! A hash keeps the cost it was made with. So that the time an answer takes tells neither whose
//! hash is of another cost nor that there is none, every comparison takes as long as one with the
//! dearest hash there is; and a password that is right gets a hash of today's cost.

mod shares;

use std::{
    hint::black_box,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    credentials::Password,
    lockout::Network,
    password::shares::{Share, Shares},
};

/// How long a password waits for its turn before the client is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much less of a core a hashing thread is due than what runs beside it: at 10, a tenth.
const NICENESS: i32 = 10;

/// A salt and hash that belong to no password. Comparing with it takes as long as with a real one.
const NOBODYS_SALT_AND_HASH: &str = "abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";

/// How many passwords at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At work.
    pub parallelism: usize,
    /// Waiting for that.
    pub queue: usize,
    /// Of both together, from one network.
    pub per_network: usize,
}

impl Bounds {
    /// For a process that hashes one password.
    pub const ONE: Self = Self {
        parallelism: 1,
        queue: 0,
        per_network: 1,
    };
}

/// Makes and compares bcrypt hashes. Cheap to clone; all clones share the bounds.
#[derive(Clone, Debug)]
pub struct PasswordHasher {
    /// Of new hashes.
    cost: u32,
    /// The highest of that and those of stored hashes.
    dearest: Arc<AtomicU32>,
    /// Passwords that wait or are at work.
    places: Arc<Semaphore>,
    /// Passwords that are at work.
    turns: Arc<Semaphore>,
    /// Places that each network has.
    shares: Shares,
}

/// The right to use a core for one password. Whoever has it may look at the lock-out once more, and
/// be sure that no more guesses are under way than there are turns.
#[derive(Debug)]
pub struct Turn {
    cost: u32,
    dearest: u32,
    /// Held by the work and not by the request, which may be dropped before the work ends.
    held: (Share, [OwnedSemaphorePermit; 2]),
}

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Another password, or nobody's.
    Wrong,
    /// The right one.
    Right {
        /// Its hash of today's cost, if the stored one is of another.
        renewed: Option<String>,
    },
}

/// The cost of a hash, which stands in it: `$2b$12$…`.
fn cost_of(hash: &str) -> Option<u32> {
    hash.get(4..6)?.parse().ok()
}

/// Why a password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many passwords wait for their turn, in all or from this network, or this one waited too
    /// long.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// bcrypt failed: a hash in the database is broken, or there is no randomness for a salt.
    #[error("bcrypt failed")]
    Bcrypt(#[source] bcrypt::BcryptError),
    /// The system gave no thread to hash on.
    #[error("no thread to hash on")]
    NoThread(#[source] io::Error),
    /// The hashing thread panicked.
    #[error("the hashing thread died")]
    Died,
}

impl PasswordHasher {
    /// Hashes with `cost` (2^cost rounds) within these bounds.
    pub fn new(cost: u32, bounds: Bounds) -> Self {
        Self {
            cost,
            dearest: Arc::new(AtomicU32::new(cost)),
            places: Arc::new(Semaphore::new(bounds.parallelism + bounds.queue)),
            turns: Arc::new(Semaphore::new(bounds.parallelism)),
            shares: Shares::of(bounds.per_network),
        }
    }

    /// Learns the highest cost of the hashes that are stored.
    pub fn learn_dearest(&self, stored: Option<u32>) {
        let dearest = stored.map_or(self.cost, |stored| stored.max(self.cost));
        let before = self.dearest.swap(dearest, Ordering::Relaxed);
        if dearest > self.cost && dearest != before {
            let cost = self.cost;
            tracing::info!(
                dearest,
                cost,
                "passwords take as long as the dearest hash until its user signs in"
            );
        }
    }

    /// Waits for a turn for a client of `network`, unless too many do so already.
    pub async fn turn(&self, network: &Network) -> Result<Turn, PasswordError> {
        let share = self.shares.take(network).ok_or(PasswordError::Busy)?;
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| PasswordError::Busy)?;
        let turns = Arc::clone(&self.turns);
        match tokio::time::timeout(PATIENCE, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Turn {
                cost: self.cost,
                dearest: self.dearest.load(Ordering::Relaxed),
                held: (share, [place, turn]),
            }),
            // The semaphore is never closed; its error and a lost patience mean the same.
            Ok(Err(_)) | Err(_) => Err(PasswordError::Busy),
        }
    }

    /// The hash to store.
    pub async fn hash(
        &self,
        password: Password,
        network: &Network,
    ) -> Result<String, PasswordError> {
        self.turn(network).await?.hash(password).await
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
    pub async fn compare(
        self,
        password: Password,
        hash: Option<String>,
    ) -> Result<Comparison, PasswordError> {
        let (cost, dearest) = (self.cost, self.dearest);
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| format!("$2b${dearest:02}${NOBODYS_SALT_AND_HASH}"));
            let equal = bcrypt::verify(password.expose(), &hash)?;
            let of_hash = cost_of(&hash).unwrap_or(dearest);
            // 2^c + (2^c + 2^(c+1) + … + 2^(d-1)) = 2^d rounds in all.
            for missing in of_hash..dearest {
                black_box(bcrypt::hash_with_salt(password.expose(), missing, [0; 16])?);
            }
            if !(equal && known) {
                return Ok(Comparison::Wrong);
            }
            let renewed = (of_hash != cost)
                .then(|| bcrypt::hash(password.expose(), cost))
                .transpose()?;
            Ok(Comparison::Right { renewed })
        })
        .await
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let (answer, answered) = oneshot::channel();
        let held = self.held;
        thread::Builder::new()
            .name("bcrypt".to_owned())
            .spawn(move || {
                give_way();
                let result = work();
                drop(held);
                // Nobody there: the request was dropped meanwhile.
                let _ = answer.send(result);
            })
            .map_err(PasswordError::NoThread)?;
        answered
            .await
            .map_err(|_| PasswordError::Died)?
            .map_err(PasswordError::Bcrypt)
    }
}

/// On Linux niceness is the calling thread's alone.
fn give_way() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a hashing thread has the priority of the others");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::{IpAddr, Ipv4Addr};

    use super::{Bounds, Comparison, PasswordError, PasswordHasher};
    use crate::{credentials::Password, lockout::Network};

    /// Hashes cheaply, with so many turns and so many who wait.
    fn hasher(parallelism: usize, queue: usize) -> PasswordHasher {
        let bounds = Bounds {
            parallelism,
            queue,
            per_network: parallelism + queue,
        };
        PasswordHasher::new(4, bounds)
    }

    fn network(host: u8) -> Network {
        Network::of(IpAddr::V4(Ipv4Addr::new(203, 0, 113, host)))
    }

    fn password(text: &str) -> Password {
        Password::parse_attempt(text.to_owned()).unwrap()
    }

    async fn matches(hasher: &PasswordHasher, text: &str, hash: Option<&String>) -> bool {
        let turn = hasher.turn(&network(1)).await.unwrap();
        let comparison = turn.compare(password(text), hash.cloned()).await.unwrap();
        comparison != Comparison::Wrong
    }

    #[tokio::test]
    async fn a_hash_matches_its_own_password_only() {
        let hasher = hasher(1, 0);
        let hash = hasher
            .hash(password("correct horse"), &network(1))
            .await
            .unwrap();
        assert!(hash.starts_with("$2b$04$"));
        assert!(matches(&hasher, "correct horse", Some(&hash)).await);
        assert!(!matches(&hasher, "correct house", Some(&hash)).await);
    }

    #[tokio::test]
    async fn a_right_password_gets_a_hash_of_todays_cost_and_a_wrong_one_none() {
        let bounds = Bounds::ONE;
        let (yesterday, today) = (
            PasswordHasher::new(5, bounds),
            PasswordHasher::new(4, bounds),
        );
        let here = network(1);
        let old = yesterday.hash(password("horse"), &here).await.unwrap();
        let compare = async |text: &str, hash: &String| {
            let turn = today.turn(&here).await.unwrap();
            turn.compare(password(text), Some(hash.clone()))
                .await
                .unwrap()
        };
        assert_eq!(compare("house", &old).await, Comparison::Wrong);
        let Comparison::Right {
            renewed: Some(renewed),
        } = compare("horse", &old).await
        else {
            panic!("no other hash");
        };
        assert!(renewed.starts_with("$2b$04$"), "{renewed}");
        let again = compare("horse", &renewed).await;
        assert_eq!(again, Comparison::Right { renewed: None });
    }

    #[tokio::test]
    async fn all_72_bytes_count() {
        let hasher = hasher(1, 0);
        let hash = hasher
            .hash(password(&"a".repeat(72)), &network(1))
            .await
            .unwrap();
        let nearly = format!("{}b", "a".repeat(71));
        assert!(!matches(&hasher, &nearly, Some(&hash)).await);
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let hasher = hasher(1, 0);
        assert!(!matches(&hasher, "anything", None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_never_gets_its_turn_is_sent_away() {
        let hasher = hasher(0, 1);
        let answer = hasher.hash(password("correct horse"), &network(1)).await;
        assert!(matches!(answer, Err(PasswordError::Busy)));
    }

    #[tokio::test]
    async fn a_full_queue_sends_away_at_once_and_drains() {
        let (hasher, here) = (hasher(1, 1), network(1));
        let working = hasher.turn(&here).await.unwrap();
        let mut waiting = Box::pin(hasher.turn(&here));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(matches!(hasher.turn(&here).await, Err(PasswordError::Busy)));

        drop(working);
        drop(waiting.await.unwrap());
        assert!(hasher.turn(&here).await.is_ok());
    }

    #[tokio::test]
    async fn hashing_gives_way_and_what_runs_beside_it_does_not() {
        let niceness = || rustix::process::nice(0).unwrap();
        let beside = niceness();
        let turn = hasher(1, 0).turn(&network(1)).await.unwrap();
        let hashing = turn.run(move || Ok(niceness())).await.unwrap();
        assert_eq!(hashing, (beside + super::NICENESS).min(19));
        assert_eq!(rustix::process::nice(0).unwrap(), beside);
    }

    #[tokio::test]
    async fn a_hashing_thread_that_panics_fails_its_request_and_gives_the_turn_back() {
        let hasher = hasher(1, 0);
        let turn = hasher.turn(&network(1)).await.unwrap();
        let died = turn.run::<()>(|| panic!("as the test wants")).await;
        assert!(matches!(died, Err(PasswordError::Died)));
        assert!(hasher.turn(&network(1)).await.is_ok());
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_while_it_waits_leaves_its_place() {
        let (hasher, here) = (hasher(1, 1), network(1));
        let working = hasher.turn(&here).await.unwrap();
        let mut waiting = Box::pin(hasher.turn(&here));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(waiting);
        let mut another = Box::pin(hasher.turn(&here));
        assert!(futures::poll!(another.as_mut()).is_pending());
        drop(working);
        assert!(another.await.is_ok());
    }

    #[tokio::test]
    async fn one_network_leaves_places_for_the_others() {
        let bounds = Bounds {
            parallelism: 1,
            queue: 3,
            per_network: 2,
        };
        let hasher = PasswordHasher::new(4, bounds);
        let (here, there) = (network(1), network(2));
        let working = hasher.turn(&here).await.unwrap();
        let mut waiting = Box::pin(hasher.turn(&here));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(matches!(hasher.turn(&here).await, Err(PasswordError::Busy)));
        let mut other = Box::pin(hasher.turn(&there));
        assert!(futures::poll!(other.as_mut()).is_pending());
        drop(working);
        drop(waiting.await.unwrap());
        assert!(other.await.is_ok());
    }
}
