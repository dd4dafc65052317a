//! The way past the layers, for answers that are wanted ten thousand times a second.
//!
//! A request id, a trace, a measurement and a log line cost several times what it takes to send a few
//! kilobytes that lie in memory ready to go. A service that has such answers looks at each request
//! first; what it has no such answer for goes the way of all others, and is logged.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use futures::future::BoxFuture;

/// What may be on its way: `None` when it turns out that the request is one for the routes.
pub type ExpressAnswer = BoxFuture<'static, Option<Response>>;

/// Looks at each request first.
pub trait Express: Send + Sync + 'static {
    /// An answer, or `None` for what is none of its business.
    fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<ExpressAnswer>;
}

/// A shared [`Express`], if the service has one.
pub(super) type SharedExpress = Option<Arc<dyn Express>>;

/// Where a connection's answers come from.
#[derive(Clone)]
pub(super) struct Answers {
    /// Everything, through all layers.
    pub router: Router,
    /// Asked first.
    pub express: SharedExpress,
    /// How long a client may take over one.
    pub longest: Option<Duration>,
}
