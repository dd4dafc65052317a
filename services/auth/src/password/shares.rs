//! Of many places, so many for each network.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::lockout::Network;

/// Counts what each network has. Only networks that have something are remembered, so there are never
/// more of them than places.
#[derive(Clone, Debug)]
pub struct Shares {
    most: usize,
    taken: Arc<Mutex<HashMap<Network, usize>>>,
}

/// One place of a network, given back when dropped.
#[derive(Debug)]
pub struct Share {
    network: Network,
    shares: Shares,
}

impl Shares {
    /// At most `most` places for each network.
    pub fn of(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// A place; `None` if the network has its share.
    pub fn take(&self, network: &Network) -> Option<Share> {
        let mut taken = self.lock();
        let before = taken.get(network).copied().unwrap_or_default();
        if before >= self.most {
            return None;
        }
        taken.insert(network.clone(), before + 1);
        Some(Share {
            network: network.clone(),
            shares: self.clone(),
        })
    }

    // Nothing under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        match taken.get_mut(&self.network) {
            Some(places) if *places > 1 => *places -= 1,
            _ => {
                taken.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::Shares;
    use crate::lockout::Network;

    fn network(host: u8) -> Network {
        Network::of(IpAddr::V4(Ipv4Addr::new(203, 0, 113, host)))
    }

    #[test]
    fn each_network_has_its_share_and_gets_it_back() {
        let shares = Shares::of(2);
        let (here, there) = (network(1), network(2));
        let (one, two) = (shares.take(&here), shares.take(&here));
        assert!(one.is_some() && two.is_some());
        assert!(shares.take(&here).is_none());
        let other = shares.take(&there);
        assert!(other.is_some());
        drop(one);
        let again = shares.take(&here);
        assert!(again.is_some() && shares.take(&here).is_none());
        drop((two, other, again));
        assert!(shares.lock().is_empty(), "nobody is remembered");
    }
}
