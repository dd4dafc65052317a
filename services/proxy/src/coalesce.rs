//! Equal requests joined into one, for upstreams that let them be.
//!
//! What is joined is asked for once and read to its end at the upstream's own pace; every client
//! reads what has come at its own. So neither a slow client nor one that leaves holds up the others,
//! and all are woken at once. What waits in memory for slow clients is bounded, in bytes and in time;
//! where there is no room for more, requests go by themselves.

mod budget;
pub mod marks;
mod shareable;
mod shared;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use marquee_common::BoxError;
pub use shareable::{is_joinable, is_shareable};
pub use shared::{Joined, JoinedBody};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::{
    budget::{Budget, Budgets},
    marks::Kind,
    shareable::Key,
    shared::{Follower, Shared},
};
use crate::{error::ProxyError, lookup::Route};

/// How long after its head an answer that is still coming may be joined. What is older may have
/// changed since.
const JOINABLE: Duration = Duration::from_secs(1);
/// So long after its end an answer waits for those who read it slowly; then they are cut off. The
/// largest one takes 4.5 Mbit/s.
const READ_WITHIN: Duration = Duration::from_secs(15);

/// The requests that are under way for several. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Coalescer(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    under_way: Mutex<HashMap<Key, Arc<Shared>>>,
    budgets: Budgets,
}

/// Where a request that may be joined finds its answer.
enum Place {
    /// In what an equal one has asked for.
    WithOthers(Follower),
    /// In what is now asked for all that come meanwhile.
    First(Follower, Carrier),
    /// Nowhere: there is no room for another answer.
    None,
}

impl Coalescer {
    /// Joins the request to an equal one that is under way, or asks by `ask`, in one of `tasks`, for
    /// all that come meanwhile.
    pub async fn join<F, B>(
        &self,
        tasks: &TaskTracker,
        route: &Route,
        request: &Request<()>,
        ask: impl FnOnce(Request<()>) -> F,
    ) -> Result<Joined, ProxyError>
    where
        F: Future<Output = Result<Response<B>, ProxyError>> + Send + 'static,
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let follower = match self.place(route, request) {
            Place::None => return Ok(Joined::Alone),
            Place::WithOthers(follower) => {
                metrics::counter!("proxy_joined_requests_total").increment(1);
                follower
            }
            Place::First(follower, carrier) => {
                metrics::counter!("proxy_shared_requests_total").increment(1);
                // A task of its own: who came first may leave before the others have their answer.
                tasks.spawn(carrier.carry(ask(shareable::for_all(request))));
                follower
            }
        };
        follower.answer().await.map_err(ProxyError::Joined)
    }

    /// Clients whose answers are coming for several.
    pub fn followers(&self) -> usize {
        let under_way = self.under_way();
        under_way.values().map(|shared| shared.followers()).sum()
    }

    fn place(&self, route: &Route, request: &Request<()>) -> Place {
        let key = Key::of(route, request);
        let budget = self.0.budgets.of(Kind::of(request.uri().path()));
        let mut under_way = self.under_way();
        if let Some(shared) = under_way.get(&key)
            && shared.is_joinable(JOINABLE)
        {
            return Place::WithOthers(shared.follow());
        }
        if !budget.has_room(&route.stream_id) {
            return Place::None;
        }
        let shared = Arc::new(Shared::default());
        let follower = shared.follow();
        under_way.insert(key.clone(), shared.clone());
        let carrier = Carrier {
            coalescer: self.clone(),
            budget: budget.clone(),
            stream_id: route.stream_id.clone(),
            key,
            shared,
        };
        Place::First(follower, carrier)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, Arc<Shared>>> {
        self.0
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries one answer to all who follow it; when it ends, it can be joined no more.
struct Carrier {
    coalescer: Coalescer,
    budget: Budget,
    stream_id: Box<str>,
    key: Key,
    shared: Arc<Shared>,
}

impl Carrier {
    async fn carry<B>(self, answer: impl Future<Output = Result<Response<B>, ProxyError>>)
    where
        B: Body<Data = Bytes, Error = BoxError>,
    {
        {
            let mut passed = pin!(self.pass(answer));
            loop {
                tokio::select! {
                    () = &mut passed => break,
                    () = self.shared.deserted() => {}
                }
                if self.end_if_deserted() {
                    return;
                }
            }
        }
        self.leave(&mut self.coalescer.under_way());
        if timeout(READ_WITHIN, self.shared.deserted()).await.is_err() {
            self.shared.cut_off();
        }
    }

    async fn pass<B>(&self, answer: impl Future<Output = Result<Response<B>, ProxyError>>)
    where
        B: Body<Data = Bytes, Error = BoxError>,
    {
        let response = match answer.await {
            Ok(response) => response,
            Err(error) => return self.shared.fail(Arc::new(error)),
        };
        let reserved = shareable::shareable_bytes(&response)
            .and_then(|bytes| self.budget.reserve(&self.stream_id, bytes));
        match reserved {
            Some(reserved) => self.shared.pass(response, reserved).await,
            None => self.shared.decline(),
        }
    }

    /// With the table locked, so that nobody comes to follow what is being dropped.
    fn end_if_deserted(&self) -> bool {
        let mut under_way = self.coalescer.under_way();
        let is_deserted = self.shared.followers() == 0;
        if is_deserted {
            self.leave(&mut under_way);
        }
        is_deserted
    }

    fn leave(&self, under_way: &mut HashMap<Key, Arc<Shared>>) {
        let is_ours = under_way
            .get(&self.key)
            .is_some_and(|shared| Arc::ptr_eq(shared, &self.shared));
        if is_ours {
            under_way.remove(&self.key);
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.leave(&mut self.coalescer.under_way());
    }
}

#[cfg(test)]
mod tests;
