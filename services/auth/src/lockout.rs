//! Lock-out: how long a password may not be tried after it was wrong too often.
//!
//! Failures are counted twice (`docs/adr/0010-lock-out-by-account-and-network.md`):
//!
//! - for a name *from one place*: after a few, that place waits, for longer each time. A place is a
//!   network, a device of the account's, or a session of its own that asks for the password again;
//! - for the account *from all strangers*, with more patience: so a guesser with many addresses is
//!   stopped too. A session or device of the account, or a network that it was used from, is no
//!   stranger, so that strangers cannot lock an owner out of the places they use.
//!
//! Every wait ends by itself. Accounts that do not exist are counted alike, and an account's name and
//! address apart: an answer must tell neither who has an account nor which name goes with which
//! address.

use std::{net::IpAddr, time::Duration};

use marquee_common::contract::{SessionId, UserId};
use sha2::{Digest, Sha256};

use crate::{refresh_token::TokenHash, user::User};

/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Failures in all from unknown networks before those wait.
const STRANGERS_FAILURES: u32 = 50;

/// An account to guess at, as it is stored: a hash, for people type passwords into the wrong field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target([u8; 32]);

impl Target {
    /// An account.
    pub fn account(id: UserId) -> Self {
        Self(Sha256::digest(id.0.as_bytes()).into())
    }

    /// A name or address as it was typed, whether somebody has it or not.
    pub fn login(login: &str) -> Self {
        Self(Sha256::digest(login.to_lowercase()).into())
    }

    /// All that stands for an account.
    pub fn all_of(user: &User) -> [Self; 3] {
        [
            Self::account(user.id),
            Self::login(&user.username),
            Self::login(&user.email),
        ]
    }

    fn hex(&self) -> String {
        use std::fmt::Write;
        self.0.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// What is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Where a client sits: an IPv4 address, or the /64 of an IPv6 one, which one customer has whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Network(String);

impl Network {
    /// The network of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let first = std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0);
                format!("{first}/64")
            }
        })
    }

    /// In CIDR notation, as Postgres reads an `inet`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whence a password is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// From anywhere in a network.
    Network(Network),
    /// From a device that the account was signed in to from.
    Device(TokenHash),
    /// By a session of the account, wherever that sits.
    Session(SessionId),
}

impl Place {
    /// As it is stored. Other places than networks have a colon that no network has there.
    pub fn key(&self) -> String {
        match self {
            Self::Network(network) => network.as_str().to_owned(),
            Self::Device(token) => format!("device:{}", Target(*token).hex()),
            Self::Session(session) => format!("session:{session}"),
        }
    }

    /// The network, where that is all that is known.
    pub fn network(&self) -> Option<&Network> {
        match self {
            Self::Network(network) => Some(network),
            Self::Device(_) | Self::Session(_) => None,
        }
    }
}

/// A password that is tried.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The name it is tried for.
    pub login: Target,
    /// The account, or in its place the name that nobody has.
    pub account: Target,
    /// Whose account that is.
    pub user_id: Option<UserId>,
    /// Whence.
    pub place: Place,
}

impl Attempt {
    /// For what was typed, and the account that was found by it.
    pub fn new(login: &str, user_id: Option<UserId>, place: Place) -> Self {
        let login = Target::login(login);
        Self {
            login,
            account: user_id.map_or(login, Target::account),
            user_id,
            place,
        }
    }
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub failures: u32,
    /// Time since the last of them.
    pub since_last: Duration,
}

/// What is known of an account and a place before a password is compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Whether the place is the account's own.
    pub familiar: bool,
    /// Failures from this place.
    pub here: Option<Tally>,
    /// Failures from all places that were not familiar.
    pub strangers: Option<Tally>,
}

/// The figures.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Failures from one place before it waits; at least 1.
    pub failures: u32,
    /// The longest wait.
    pub max_wait: Duration,
}

impl Policy {
    /// After this time without a failure those from one network are forgotten: long enough that
    /// waiting for it gains a guesser nothing over one guess in each longest wait.
    pub fn memory(&self) -> Duration {
        self.max_wait * self.failures
    }

    /// The same for those from all unknown networks.
    pub fn strangers_memory(&self) -> Duration {
        self.max_wait * STRANGERS_FAILURES
    }

    /// How long no password may be tried yet; `None`: it may.
    pub fn wait(&self, standing: &Standing) -> Option<Duration> {
        let here = self.rest(self.failures, standing.here);
        let strangers = if standing.familiar {
            None
        } else {
            self.rest(STRANGERS_FAILURES, standing.strangers)
        };
        here.max(strangers)
    }

    fn rest(&self, allowed: u32, tally: Option<Tally>) -> Option<Duration> {
        let tally = tally?;
        let over = tally.failures.checked_sub(allowed)?;
        let factor = 2_u32.saturating_pow(over.min(31));
        let wait = FIRST_WAIT.saturating_mul(factor).min(self.max_wait);
        wait.checked_sub(tally.since_last)
            .filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        failures: 5,
        max_wait: Duration::from_mins(15),
    };

    fn failed(failures: u32, seconds_ago: u64) -> Tally {
        Tally {
            failures,
            since_last: Duration::from_secs(seconds_ago),
        }
    }

    fn wait_s(standing: Standing) -> Option<u64> {
        POLICY.wait(&standing).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_few_slips_cost_nothing_and_each_further_one_twice_the_wait() {
        let here = |tally| {
            wait_s(Standing {
                here: tally,
                ..Standing::default()
            })
        };
        assert_eq!(here(None), None);
        assert_eq!(here(Some(failed(4, 0))), None);
        assert_eq!(here(Some(failed(5, 0))), Some(30));
        assert_eq!(here(Some(failed(5, 10))), Some(20));
        assert_eq!(here(Some(failed(5, 30))), None);
        assert_eq!(here(Some(failed(6, 0))), Some(60));
        assert_eq!(here(Some(failed(9, 0))), Some(480));
        assert_eq!(here(Some(failed(10, 0))), Some(900));
        assert_eq!(here(Some(failed(u32::MAX, 0))), Some(900));
    }

    #[test]
    fn strangers_are_held_together_and_a_familiar_network_is_not_among_them() {
        let standing = Standing {
            strangers: Some(failed(50, 0)),
            ..Standing::default()
        };
        assert_eq!(wait_s(standing), Some(30));
        let familiar = Standing {
            familiar: true,
            ..standing
        };
        assert_eq!(wait_s(familiar), None);
        let guesses_itself = Standing {
            here: Some(failed(7, 0)),
            ..familiar
        };
        assert_eq!(wait_s(guesses_itself), Some(120));
    }

    #[test]
    fn the_longer_of_two_waits_counts() {
        let standing = Standing {
            familiar: false,
            here: Some(failed(5, 0)),
            strangers: Some(failed(60, 0)),
        };
        assert_eq!(wait_s(standing), Some(900));
    }

    #[test]
    fn an_ipv6_customer_has_one_network_and_mapped_ipv4_is_ipv4() {
        let network = |address: &str| Network::of(address.parse().unwrap());
        assert_eq!(network("203.0.113.9").as_str(), "203.0.113.9");
        assert_eq!(network("::ffff:203.0.113.9"), network("203.0.113.9"));
        assert_eq!(
            network("2001:db8:1:2:3:4:5:6").as_str(),
            "2001:db8:1:2::/64"
        );
        assert_eq!(network("2001:db8:1:2::9"), network("2001:db8:1:2:3:4:5:6"));
        assert_ne!(network("2001:db8:1:3::9"), network("2001:db8:1:2::9"));
    }

    #[test]
    fn nobody_is_the_same_nobody_in_any_case() {
        assert_eq!(Target::login("Ann"), Target::login("aNN"));
        assert_ne!(Target::login("ann"), Target::login("bob"));
    }

    #[test]
    fn no_place_is_taken_for_another() {
        let keys = [
            Place::Network(Network::of("203.0.113.9".parse().unwrap())),
            Place::Network(Network::of("2001:db8::1".parse().unwrap())),
            Place::Device([0; 32]),
            Place::Device([1; 32]),
            Place::Session(SessionId::new()),
        ]
        .map(|place| place.key());
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key) && !key.is_empty());
        }
    }

    #[test]
    fn an_account_has_one_count_and_its_names_one_each() {
        let id = UserId::new();
        let place = Place::Session(SessionId::new());
        let attempt = |login, user_id| Attempt::new(login, user_id, place.clone());
        let (name, address) = (attempt("ann", Some(id)), attempt("ann@x", Some(id)));
        assert_eq!(name.account, address.account);
        assert_ne!(name.login, address.login);
        let nobody = attempt("ann", None);
        assert_eq!(nobody.login, name.login);
        assert_eq!(nobody.account, nobody.login);
    }

    proptest! {
        #[test]
        fn every_wait_ends_within_the_longest(
            failures: u32, strangers: u32, since in 0_u64..100_000, familiar: bool,
        ) {
            let standing = Standing {
                familiar,
                here: Some(failed(failures, since)),
                strangers: Some(failed(strangers, since)),
            };
            match POLICY.wait(&standing) {
                None => {}
                Some(wait) => prop_assert!(
                    !wait.is_zero() && wait + Duration::from_secs(since) <= POLICY.max_wait
                ),
            }
        }
    }
}
