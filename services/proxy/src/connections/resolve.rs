//! The addresses that upstreams' names have.
//!
//! A name whose server does not answer holds a thread for as long as the system's resolver tries. So
//! each name is asked for once at a time, by a task that outlives who needed it first; the others
//! wait for the same answer, or go on at the addresses that the name had until lately.

use std::{
    fmt, io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use lru::LruCache;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout_at},
};

use super::{
    Connection,
    connect::{ConnectError, connect},
};
use crate::upstream::Upstream;

/// A name's addresses are asked for again after this.
const FRESH: Duration = Duration::from_secs(5);
/// The same if it had none.
const FAILED: Duration = Duration::from_secs(1);
/// So long a name's last addresses serve where no new ones can be had.
const USABLE: Duration = Duration::from_mins(1);
/// So long an address that took a connection is tried before one that was late or refused it; then
/// the order is the name server's again.
const PREFERRED: Duration = Duration::from_mins(1);
/// A look-up that takes longer is waited for no more by those who can go on at the last addresses.
const SLOW: Duration = Duration::from_millis(250);
/// Names that are remembered.
const NAMES: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Look-ups under way at a time. Each holds a thread, for as long as the resolver tries.
pub const MAX_LOOKUPS: usize = 64;

type Resolved = Result<Arc<[SocketAddr]>, Arc<io::Error>>;
type Found = io::Result<Vec<SocketAddr>>;

/// The addresses of names. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    names: Mutex<LruCache<Upstream, Name>>,
    room: Arc<Semaphore>,
    look_up: Box<dyn Fn(Upstream) -> BoxFuture<'static, Found> + Send + Sync>,
}

/// What is known of one name.
#[derive(Default)]
struct Name {
    /// Its last addresses, and when they were asked for.
    last: Option<(Arc<[SocketAddr]>, Instant)>,
    failure: Option<(Arc<io::Error>, Instant)>,
    question: Option<Question>,
    /// The address that took a connection when the first one did not, and when it did.
    preferred: Option<(SocketAddr, Instant)>,
}

/// A look-up that is under way.
#[derive(Clone)]
struct Question {
    begun: Instant,
    answer: watch::Receiver<Option<Resolved>>,
}

/// What can be said of a name at once.
enum Said {
    Addresses(Arc<[SocketAddr]>),
    Failed(Arc<io::Error>),
    /// Wait, but not for long if there are last addresses.
    Wait(Question, Option<Arc<[SocketAddr]>>),
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

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::asking(|upstream| {
            async move {
                let found = tokio::net::lookup_host((upstream.host(), upstream.port())).await;
                found.map(Iterator::collect)
            }
            .boxed()
        })
    }
}

impl Resolver {
    /// One that asks by `look_up`.
    pub(crate) fn asking(
        look_up: impl Fn(Upstream) -> BoxFuture<'static, Found> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            names: Mutex::new(LruCache::new(NAMES)),
            room: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            look_up: Box::new(look_up),
        }))
    }

    /// Where an upstream is: at most five seconds old, or a minute where its name's server does not
    /// answer.
    pub async fn addresses(
        &self,
        upstream: &Upstream,
        within: Duration,
    ) -> Result<Addresses, ConnectError> {
        if let Some(address) = upstream.address() {
            return Ok(Addresses::One(address));
        }
        let (mut question, last) = match self.say(upstream) {
            Said::Addresses(addresses) => return Ok(Addresses::Named(addresses)),
            Said::Failed(error) => return Err(ConnectError::NoAddress(upstream.clone(), error)),
            Said::Wait(question, last) => (question, last),
        };
        let until = match last {
            Some(_) => question.begun + SLOW,
            None => Instant::now() + within,
        };
        let answered = timeout_at(until, question.answer()).await;
        match (answered.ok().flatten(), last) {
            (Some(Ok(addresses)), _) | (_, Some(addresses)) => Ok(Addresses::Named(addresses)),
            (Some(Err(error)), None) => Err(ConnectError::NoAddress(upstream.clone(), error)),
            (None, None) => Err(ConnectError::TooLate(upstream.clone())),
        }
    }

    /// A new connection to one of an upstream's addresses; the one that took it is tried first
    /// for the next minute.
    pub async fn connect(
        &self,
        upstream: &Upstream,
        addresses: &Addresses,
        within: Duration,
    ) -> Result<Connection, ConnectError> {
        let connection = connect(upstream, addresses.as_slice(), within).await?;
        if addresses.as_slice().first() != Some(&connection.address()) {
            self.prefer(upstream, connection.address());
        }
        Ok(connection)
    }

    fn prefer(&self, upstream: &Upstream, address: SocketAddr) {
        if let Some(name) = self.names().get_mut(upstream) {
            name.preferred = Some((address, Instant::now()));
            if let Some((addresses, since)) = name.last.take() {
                name.last = Some((name.in_order(addresses.to_vec()), since));
            }
        }
    }

    /// What is known; begins a look-up if there is need of one and room for it.
    fn say(&self, upstream: &Upstream) -> Said {
        let mut names = self.names();
        let name = names.get_or_insert_mut(upstream.clone(), Name::default);
        if let Some(addresses) = name.last_addresses(FRESH) {
            return Said::Addresses(addresses);
        }
        let last = name.last_addresses(USABLE);
        if let Some(question) = name.question.as_ref().filter(|question| question.is_open()) {
            return Said::Wait(question.clone(), last);
        }
        let failure = match &name.failure {
            Some((error, since)) if since.elapsed() < FAILED => Some(error.clone()),
            _ => None,
        };
        let began = match failure {
            Some(error) => Err(error),
            None => self.begin(upstream),
        };
        match (began, last) {
            (Ok(question), last) => {
                name.question = Some(question.clone());
                Said::Wait(question, last)
            }
            (Err(_), Some(addresses)) => Said::Addresses(addresses),
            (Err(error), None) => Said::Failed(error),
        }
    }

    fn begin(&self, upstream: &Upstream) -> Result<Question, Arc<io::Error>> {
        let room = self.0.room.clone().try_acquire_owned();
        let permit = room.map_err(|_| Arc::new(too_many_lookups()))?;
        let (sender, answer) = watch::channel(None);
        let begun = Instant::now();
        tokio::spawn(
            self.clone()
                .look_up(upstream.clone(), begun, sender, permit),
        );
        Ok(Question { begun, answer })
    }

    async fn look_up(
        self,
        upstream: Upstream,
        begun: Instant,
        sender: watch::Sender<Option<Resolved>>,
        _permit: OwnedSemaphorePermit,
    ) {
        let found = (self.0.look_up)(upstream.clone()).await;
        let mut names = self.names();
        let name = names.get_or_insert_mut(upstream, Name::default);
        let resolved = match found {
            Ok(addresses) if !addresses.is_empty() => Ok(name.in_order(addresses)),
            Ok(_) => Err(Arc::new(io::ErrorKind::NotFound.into())),
            Err(error) => Err(Arc::new(error)),
        };
        match &resolved {
            Ok(addresses) => {
                name.last = Some((addresses.clone(), begun));
                name.failure = None;
            }
            Err(error) => name.failure = Some((error.clone(), Instant::now())),
        }
        name.question = None;
        sender.send_replace(Some(resolved));
    }

    fn names(&self) -> MutexGuard<'_, LruCache<Upstream, Name>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    /// Its last addresses, if they were asked for within this time.
    fn last_addresses(&self, within: Duration) -> Option<Arc<[SocketAddr]>> {
        let (addresses, since) = self.last.as_ref()?;
        (since.elapsed() < within).then(|| addresses.clone())
    }

    /// The preferred one first, if it is one of them and was not preferred too long ago.
    fn in_order(&self, mut addresses: Vec<SocketAddr>) -> Arc<[SocketAddr]> {
        let preferred = self
            .preferred
            .filter(|(_, since)| since.elapsed() < PREFERRED)
            .map(|(address, _)| address);
        addresses.sort_by_key(|address| Some(*address) != preferred);
        addresses.into()
    }
}

fn too_many_lookups() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "too many names are being looked up",
    )
}

impl Question {
    /// Whether somebody is still about to answer it: a worker's tasks end with it.
    fn is_open(&self) -> bool {
        self.answer.has_changed().is_ok()
    }

    async fn answer(&mut self) -> Option<Resolved> {
        let answered = self.answer.wait_for(Option::is_some).await.ok()?;
        answered.clone()
    }
}

#[cfg(test)]
mod tests;
