//! How many event streams an address has open.
//!
//! Each keeps a connection and a follower's place at the stream service for hours, and takes one
//! token of a bucket: without this, one address could take all the places there are. They are counted
//! by each gateway alone, for it alone knows when one ends.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{LimitName, Refused, who::place_of};

/// When to come back: nobody knows when another one ends.
const WAIT: Duration = Duration::from_secs(10);

/// Those that are open. Only addresses that have some are remembered.
#[derive(Clone, Debug)]
pub struct EventStreams {
    most: usize,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

/// The place of one event stream, given back when dropped.
#[derive(Debug)]
pub struct Place {
    address: String,
    streams: EventStreams,
}

impl EventStreams {
    /// At most `most` for each address.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// A place for one more, unless `client` has too many.
    pub fn open(&self, client: IpAddr) -> Result<Place, Refused> {
        let address = place_of(client);
        let mut open = self.lock();
        let before = open.get(&address).copied().unwrap_or_default();
        if before >= self.most {
            return Err(Refused {
                limit: LimitName::EventStreams,
                wait: WAIT,
            });
        }
        open.insert(address.clone(), before + 1);
        Ok(Place {
            address,
            streams: self.clone(),
        })
    }

    // Nothing under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Keeps the place until the answer's end, or until its client is gone.
    pub fn hold(self, answer: Response<Body>) -> Response<Body> {
        answer.map(|body| Body::new(Held { body, _place: self }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        match open.get_mut(&self.address) {
            Some(streams) if *streams > 1 => *streams -= 1,
            _ => {
                open.remove(&self.address);
            }
        }
    }
}

struct Held {
    body: Body,
    _place: Place,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::IpAddr;

    use axum::body::Body;
    use http::Response;

    use super::EventStreams;

    #[test]
    fn a_place_is_kept_by_the_answer_and_given_back_with_it() {
        let streams = EventStreams::new(1);
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let elsewhere: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        let place = streams.open(client).unwrap();
        let answer = place.hold(Response::new(Body::empty()));
        assert!(streams.open(neighbour).is_err(), "one customer");
        assert!(streams.open(elsewhere).is_ok());
        drop(answer);
        assert!(streams.open(neighbour).is_ok());
        assert!(streams.lock().is_empty(), "nobody is remembered");
    }
}
