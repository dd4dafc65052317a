//! From an upstream's name to a connection.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::OnceCell,
    time::{timeout, timeout_at},
};

use super::Connection;
use crate::upstream::Upstream;

/// A name's addresses are asked for again after this.
const NAME_TTL: Duration = Duration::from_secs(5);
/// The same if it had none.
const FAILURE_TTL: Duration = Duration::from_secs(1);
/// Names that are remembered.
const NAMES: usize = 1_024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing within `CONNECT_TIMEOUT_MS`.
    #[error("no connection to {0} in time")]
    TooLate(Upstream),
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(Upstream, #[source] Arc<io::Error>),
    /// No address of it takes connections.
    #[error("no connection to {0}")]
    Refused(Upstream, #[source] io::Error),
    /// The connection cannot be used.
    #[error("no connection to {0}")]
    Handshake(Upstream, #[source] hyper::Error),
}

type Resolved = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// The addresses of names, each asked for once in five seconds by whoever needs it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Resolver(Arc<Mutex<HashMap<Upstream, Lookup>>>);

#[derive(Clone, Debug)]
struct Lookup {
    begun: Instant,
    cell: Arc<OnceCell<Resolved>>,
}

impl Lookup {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            cell: Arc::default(),
        }
    }

    fn holds(&self) -> bool {
        let ttl = match self.cell.get() {
            Some(Err(_)) => FAILURE_TTL,
            _ => NAME_TTL,
        };
        self.begun.elapsed() < ttl
    }
}

/// Where an upstream is: one address, or those that a name has.
#[derive(Clone, Debug)]
pub enum Addresses {
    /// It is an address.
    One(SocketAddr),
    /// It is a name.
    Named(Arc<[SocketAddr]>),
}

impl Addresses {
    /// In the order in which they are tried.
    pub fn as_slice(&self) -> &[SocketAddr] {
        match self {
            Self::One(address) => std::slice::from_ref(address),
            Self::Named(addresses) => addresses,
        }
    }
}

impl Resolver {
    /// Where an upstream is, at most five seconds old.
    pub async fn addresses(
        &self,
        upstream: &Upstream,
        within: Duration,
    ) -> Result<Addresses, ConnectError> {
        if let Ok(ip) = upstream.host().parse::<IpAddr>() {
            return Ok(Addresses::One(SocketAddr::new(ip, upstream.port())));
        }
        let lookup = self.lookup(upstream);
        let resolved = lookup.cell.get_or_init(|| resolve(upstream));
        let resolved = timeout(within, resolved)
            .await
            .map_err(|_| ConnectError::TooLate(upstream.clone()))?;
        match resolved {
            Ok(addresses) => Ok(Addresses::Named(addresses.clone())),
            Err(error) => Err(ConnectError::NoAddress(upstream.clone(), error.clone())),
        }
    }

    fn lookup(&self, upstream: &Upstream) -> Lookup {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = names.get(upstream).filter(|lookup| lookup.holds()) {
            return lookup.clone();
        }
        if names.len() >= NAMES {
            names.retain(|_, lookup| lookup.holds());
            if names.len() >= NAMES {
                names.clear();
            }
        }
        let lookup = Lookup::begin();
        names.insert(upstream.clone(), lookup.clone());
        lookup
    }
}

async fn resolve(upstream: &Upstream) -> Resolved {
    let found = tokio::net::lookup_host((upstream.host(), upstream.port())).await;
    let addresses: Arc<[SocketAddr]> = found.map_err(Arc::new)?.collect();
    if addresses.is_empty() {
        return Err(Arc::new(io::Error::from(io::ErrorKind::NotFound)));
    }
    Ok(addresses)
}

/// A new connection to the first of `addresses` that takes one, within `within`.
pub async fn connect(
    upstream: &Upstream,
    addresses: &Addresses,
    within: Duration,
) -> Result<Connection, ConnectError> {
    let deadline = tokio::time::Instant::now() + within;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses.as_slice() {
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are complete messages; waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                return Connection::handshake(stream, *address)
                    .await
                    .map_err(|error| ConnectError::Handshake(upstream.clone(), error));
            }
            Ok(Err(error)) => last = error,
            Err(_) => return Err(ConnectError::TooLate(upstream.clone())),
        }
    }
    Err(ConnectError::Refused(upstream.clone(), last))
}
