//! The places for connections that have not asked to publish yet.
//!
//! Strangers hold them for as long as they are waited for, so they are shared out by networks: one
//! has a share at most, and when all places are taken, the network that holds most gives up its
//! oldest. Many networks together can then only take places from encoders that are slower than they.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

pub(crate) struct Places {
    most: usize,
    most_per_network: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Oldest first; no entry is empty.
    by_network: HashMap<IpAddr, VecDeque<Holder>>,
    last_id: u64,
}

struct Holder {
    id: u64,
    give_way: CancellationToken,
}

/// One of the places, given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    network: IpAddr,
    id: u64,
    give_way: CancellationToken,
}

impl Places {
    pub(crate) fn new(most: usize, most_per_network: usize) -> Self {
        Self {
            most,
            most_per_network,
            taken: Mutex::default(),
        }
    }

    /// A place for a connection from `address`, if one is due to it.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network_of(address);
        let mut taken = self.taken();
        let from_there = taken.by_network.get(&network).map_or(0, VecDeque::len);
        if from_there >= self.most_per_network {
            return None;
        }
        if taken.all >= self.most && !taken.make_room(from_there) {
            return None;
        }
        taken.last_id += 1;
        taken.all += 1;
        let (id, give_way) = (taken.last_id, CancellationToken::new());
        let holders = taken.by_network.entry(network).or_default();
        holders.push_back(Holder {
            id,
            give_way: give_way.clone(),
        });
        Some(Place {
            places: self.clone(),
            network,
            id,
            give_way,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes a place from the network that holds most, if that is more than `from_there`.
    fn make_room(&mut self, from_there: usize) -> bool {
        let oldest = |holders: &VecDeque<Holder>| holders.front().map(|holder| holder.id);
        let largest = self
            .by_network
            .iter()
            .max_by_key(|(_, holders)| (holders.len(), Reverse(oldest(holders))));
        match largest {
            Some((network, holders)) if holders.len() > from_there => {
                let network = *network;
                if let Some(holder) = self.remove(network, None) {
                    holder.give_way.cancel();
                }
                true
            }
            _ => false,
        }
    }

    /// Removes a holder, the oldest if it is not named.
    fn remove(&mut self, network: IpAddr, id: Option<u64>) -> Option<Holder> {
        let holders = self.by_network.get_mut(&network)?;
        let at = match id {
            None => 0,
            Some(id) => holders.iter().position(|holder| holder.id == id)?,
        };
        let holder = holders.remove(at)?;
        if holders.is_empty() {
            self.by_network.remove(&network);
        }
        self.all -= 1;
        Some(holder)
    }
}

impl Place {
    /// Does `work` unless the place is wanted back before it is done; `None` then.
    pub(crate) async fn unless_wanted_back<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.give_way.run_until_cancelled(work).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(self.network, Some(self.id));
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: whoever has one address of it has them all.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn places(most: usize, most_per_network: usize) -> Arc<Places> {
        Arc::new(Places::new(most, most_per_network))
    }

    fn v4(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_network_has_its_share_and_gets_places_back() {
        let places = places(10, 2);
        let v6 = |host: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, 9, 9, 9, host]);
        let first = places.take(v6(1)).unwrap();
        let second = places.take(v6(2)).unwrap();
        assert!(places.take(v6(3)).is_none(), "one customer has the /64");
        assert!(
            places
                .take([0x2001, 0xdb8, 1, 3, 0, 0, 0, 1].into())
                .is_some()
        );
        drop(first);
        assert!(places.take(v6(3)).is_some());
        drop(second);
        let taken = places.taken();
        assert_eq!((taken.all, taken.by_network.len()), (0, 0));
    }

    #[test]
    fn when_all_are_taken_the_network_with_most_gives_up_its_oldest() {
        let places = places(8, 4);
        let held: Vec<_> = [1, 2, 2, 2, 2, 3, 3, 3]
            .into_iter()
            .map(|last| places.take(v4(last)).unwrap())
            .collect();
        let wanted_back = || -> Vec<_> {
            let wanted = held.iter().enumerate();
            let wanted = wanted.filter(|(_, place)| place.give_way.is_cancelled());
            wanted.map(|(index, _)| index).collect()
        };
        let _newcomer = places.take(v4(4)).unwrap();
        assert_eq!(wanted_back(), [1]);
        // Three each; the older.
        let _newcomer = places.take(v4(5)).unwrap();
        assert_eq!(wanted_back(), [1, 2]);
        assert!(places.take(v4(3)).is_none(), "it has most itself");
        drop(held);
        assert_eq!(places.taken().all, 2);
    }

    #[tokio::test]
    async fn who_has_to_give_way_stops() {
        let places = places(1, 1);
        let place = places.take(v4(1)).unwrap();
        let _newcomer = places.take(v4(2)).unwrap();
        let never = std::future::pending::<()>();
        assert_eq!(place.unless_wanted_back(never).await, None);
    }
}
