//! What the listeners may decide by themselves, from memory alone.
//!
//! libsrt asks on the thread that receives for every publisher, so nothing here waits: known-bad
//! keys, malformed ids, a full machine and an address that tries too often are refused at once; all
//! others are let in and checked with the stream service ([`crate::ingest`]). RTMP is decided by the
//! same tables, the address before anything is read.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use marquee_rtmp::Refusal;
use marquee_srt::{Reject, parse_stream_id};
use sha2::{Digest, Sha256};

/// How long a refused key is refused without asking again.
pub const BAD_KEY_MEMORY: Duration = Duration::from_secs(10);
/// Keys that may be under check at once.
pub const MAX_PENDING: usize = 32;
/// Attempts an address may make at once, and again each second.
const ADDRESS_BURST: f64 = 20.0;
const ADDRESS_RATE: f64 = 4.0;
/// Entries kept of each table; the oldest go first.
const TABLE_LIMIT: usize = 10_000;

/// A key's SHA-256: what is remembered instead of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hash of a stream key.
    pub fn of(stream_key: &str) -> Self {
        Self(Sha256::digest(stream_key.as_bytes()).into())
    }
}

/// The doorman's tables.
#[derive(Debug)]
pub struct Doorman {
    capacity: usize,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    bad_keys: HashMap<KeyHash, BadKey>,
    /// By network.
    addresses: HashMap<IpAddr, Bucket>,
    /// Keys that hold one of the machine's slots, also while their publisher is away.
    holders: HashMap<KeyHash, usize>,
    pending: usize,
    closed: bool,
}

/// A key that was refused: what its publisher was told, and until when it is told the same.
#[derive(Clone, Copy, Debug)]
struct BadKey {
    told: Refusal,
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Doorman {
    /// A doorman for a machine that takes `capacity` streams.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            tables: Mutex::default(),
        }
    }

    /// Remembers a key that the stream service refused, and what its publisher was told: an encoder
    /// that tries again is told the same.
    pub fn remember_bad(&self, key: KeyHash, told: Refusal) {
        let mut tables = self.tables();
        let now = Instant::now();
        if tables.bad_keys.len() >= TABLE_LIMIT {
            tables.bad_keys.retain(|_, bad| bad.until > now);
        }
        if tables.bad_keys.len() < TABLE_LIMIT {
            let until = now + BAD_KEY_MEMORY;
            tables.bad_keys.insert(key, BadKey { told, until });
        }
    }

    /// A publisher is being checked until the guard is dropped. `None`: too many are.
    pub fn pending(self: &std::sync::Arc<Self>) -> Option<PendingGuard> {
        let mut tables = self.tables();
        if tables.pending >= MAX_PENDING {
            return None;
        }
        tables.pending += 1;
        Some(PendingGuard(self.clone()))
    }

    /// Whether a key may have a slot: it holds one, or one is free.
    pub fn has_room(&self, key: KeyHash) -> bool {
        let tables = self.tables();
        tables.holders.len() < self.capacity || tables.holders.contains_key(&key)
    }

    /// Takes a slot for an admitted key. Keys that were checked at the same time may go over the
    /// capacity: refusing one now would cut a live that was just taken from another transcoder.
    pub fn take_slot(self: &std::sync::Arc<Self>, key: KeyHash) -> SlotGuard {
        *self.tables().holders.entry(key).or_default() += 1;
        SlotGuard {
            doorman: self.clone(),
            key,
        }
    }

    /// Refuses everyone from now on (the process drains).
    pub fn close(&self) {
        self.tables().closed = true;
    }

    fn decide(&self, key: KeyHash, peer: IpAddr, now: Instant) -> Result<(), NotNow> {
        self.decide_key(key, now)?;
        self.decide_address(peer, now)
    }

    fn decide_key(&self, key: KeyHash, now: Instant) -> Result<(), NotNow> {
        let tables = self.tables();
        let full = tables.holders.len() >= self.capacity && !tables.holders.contains_key(&key);
        let bad = tables.bad_keys.get(&key).filter(|bad| bad.until > now);
        if tables.closed {
            Err(NotNow::Closed)
        } else if let Some(bad) = bad {
            Err(NotNow::BadKey(bad.told).counted())
        } else if full || tables.pending >= MAX_PENDING {
            Err(NotNow::AtCapacity.counted())
        } else {
            Ok(())
        }
    }

    fn decide_address(&self, peer: IpAddr, now: Instant) -> Result<(), NotNow> {
        let mut tables = self.tables();
        if tables.closed {
            Err(NotNow::Closed)
        } else if tables.spend_token(peer, now) {
            Ok(())
        } else {
            Err(NotNow::TooOften.counted())
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotNow {
    Closed,
    /// Refused a moment ago, and told this.
    BadKey(Refusal),
    AtCapacity,
    TooOften,
}

impl NotNow {
    fn counted(self) -> Self {
        let reason = match self {
            Self::Closed => "closed",
            Self::BadKey(_) => "known_bad_key",
            Self::AtCapacity => "at_capacity",
            Self::TooOften => "address_rate",
        };
        metrics::counter!("transcoder_publishers_refused_total", "reason" => reason).increment(1);
        self
    }
}

impl From<NotNow> for Reject {
    fn from(reason: NotNow) -> Self {
        match reason {
            NotNow::Closed => Self::Unavailable,
            NotNow::BadKey(_) => Self::BadKey,
            NotNow::AtCapacity | NotNow::TooOften => Self::Busy,
        }
    }
}

impl From<NotNow> for Refusal {
    fn from(reason: NotNow) -> Self {
        match reason {
            NotNow::Closed => Self::Unavailable,
            NotNow::BadKey(told) => told,
            NotNow::AtCapacity | NotNow::TooOften => Self::Busy,
        }
    }
}

impl Tables {
    fn spend_token(&mut self, peer: IpAddr, now: Instant) -> bool {
        let peer = network_of(peer);
        if self.addresses.len() >= TABLE_LIMIT && !self.addresses.contains_key(&peer) {
            self.addresses.retain(|_, bucket| {
                now.duration_since(bucket.at).as_secs_f64() * ADDRESS_RATE < ADDRESS_BURST
            });
            if self.addresses.len() >= TABLE_LIMIT {
                return false;
            }
        }
        let bucket = self.addresses.entry(peer).or_insert(Bucket {
            tokens: ADDRESS_BURST,
            at: now,
        });
        let refill = now.duration_since(bucket.at).as_secs_f64() * ADDRESS_RATE;
        bucket.tokens = (bucket.tokens + refill).min(ADDRESS_BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: whoever has one address of it has them all.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl marquee_srt::Admission for Doorman {
    fn check(&self, stream_id: &str, peer: SocketAddr) -> Result<(), Reject> {
        let request = parse_stream_id(stream_id)?;
        Ok(self.decide(KeyHash::of(request.key), peer.ip(), Instant::now())?)
    }
}

impl marquee_rtmp::Admission for Doorman {
    fn knock(&self, peer: SocketAddr) -> Result<(), Refusal> {
        Ok(self.decide_address(peer.ip(), Instant::now())?)
    }

    fn check(&self, key: &str, _peer: SocketAddr) -> Result<(), Refusal> {
        Ok(self.decide_key(KeyHash::of(key), Instant::now())?)
    }
}

/// One of the [`MAX_PENDING`] places.
#[derive(Debug)]
pub struct PendingGuard(std::sync::Arc<Doorman>);

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.0.tables().pending -= 1;
    }
}

/// One of the machine's slots, held for a key.
#[derive(Debug)]
pub struct SlotGuard {
    doorman: std::sync::Arc<Doorman>,
    key: KeyHash,
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let mut tables = self.doorman.tables();
        if let Some(count) = tables.holders.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                tables.holders.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn peer() -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    #[test]
    fn a_key_refused_once_is_refused_from_memory_for_10_s() {
        let doorman = Doorman::new(1);
        let key = KeyHash::of("k");
        doorman.remember_bad(key, Refusal::Held);
        let now = Instant::now();
        let refused = Err(NotNow::BadKey(Refusal::Held));
        assert_eq!(doorman.decide(key, peer(), now), refused);
        assert_eq!(doorman.decide(key, peer(), now + BAD_KEY_MEMORY), Ok(()));
    }

    #[test]
    fn a_full_machine_takes_back_only_the_keys_that_hold_a_slot() {
        let doorman = Arc::new(Doorman::new(1));
        let held = KeyHash::of("held");
        let slot = doorman.take_slot(held);
        let now = Instant::now();
        assert!(doorman.has_room(held) && !doorman.has_room(KeyHash::of("other")));
        assert_eq!(
            doorman.decide(KeyHash::of("other"), peer(), now),
            Err(NotNow::AtCapacity)
        );
        assert_eq!(doorman.decide(held, peer(), now), Ok(()));
        drop(slot);
        assert_eq!(doorman.decide(KeyHash::of("other"), peer(), now), Ok(()));
    }

    #[test]
    fn an_address_that_tries_too_often_waits_and_others_do_not() {
        let doorman = Doorman::new(1);
        let now = Instant::now();
        let key = KeyHash::of("k");
        let admitted = (0..100)
            .filter(|_| doorman.decide(key, peer(), now).is_ok())
            .count();
        assert_eq!(admitted, 20);
        assert!(
            doorman
                .decide(key, IpAddr::from([127, 0, 0, 2]), now)
                .is_ok()
        );
        assert!(
            doorman
                .decide(key, peer(), now + Duration::from_secs(1))
                .is_ok()
        );
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let doorman = Doorman::new(1);
        let now = Instant::now();
        let from = |network, host| IpAddr::from([0x2001, 0xdb8, 1, network, 0, 0, 0, host]);
        let knock = |peer| doorman.decide(KeyHash::of("k"), peer, now).is_ok();
        let admitted = (0..100).filter(|host| knock(from(2, *host))).count();
        assert_eq!(admitted, 20);
        assert!(knock(from(3, 1)));
    }

    #[test]
    fn a_stream_id_that_is_no_publish_request_is_told_so() {
        let doorman = Doorman::new(1);
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        let check = |stream_id| marquee_srt::Admission::check(&doorman, stream_id, from);
        assert_eq!(check(""), Err(Reject::Malformed));
        assert!(check("#!::r=abc,m=request").is_err());
    }

    #[test]
    fn rtmp_is_decided_by_the_same_tables() {
        let doorman = Doorman::new(1);
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        let check = |key| marquee_rtmp::Admission::check(&doorman, key, from);
        let knock = || marquee_rtmp::Admission::knock(&doorman, from);
        for (key, told) in [
            ("bad", Refusal::UnknownKey),
            ("expired", Refusal::ExpiredKey),
            ("held", Refusal::Held),
        ] {
            doorman.remember_bad(KeyHash::of(key), told);
            assert_eq!(check(key), Err(told), "told what the first one was told");
        }
        assert_eq!(check("other"), Ok(()));
        let admitted = (0..100).filter(|_| knock().is_ok()).count();
        assert!((20..30).contains(&admitted), "{admitted}");
        assert_eq!(knock(), Err(Refusal::Busy));
        doorman.close();
        assert_eq!(knock(), Err(Refusal::Unavailable));
        assert_eq!(check("other"), Err(Refusal::Unavailable));
    }

    #[test]
    fn a_draining_machine_sends_publishers_elsewhere() {
        let doorman = Doorman::new(1);
        doorman.close();
        let decision = doorman.decide(KeyHash::of("k"), peer(), Instant::now());
        assert_eq!(decision, Err(NotNow::Closed));
    }
}
