//! Tells the proxies, through Redis, that a stream's viewers are served here.
//!
//! A route is `streams:{stream_id}` with this edge's address and a short life; `edge:{stream_id}` says
//! which edge wrote it, under which epoch. What an operator wrote is left alone. Redis away harms
//! nobody who watches: proxies lose the route when its life is over, and players fall back to the
//! plain playlists.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use marquee_common::{contract::StreamId, redis::RedisClient};
use redis::{RedisError, RedisResult, Script};
use tokio_util::sync::CancellationToken;

use super::{Edge, LiveStream};

/// How long a route outlives its edge.
const LIFE: Duration = Duration::from_secs(10);
/// How often routes are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

static REGISTER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("register.lua")));
static UNREGISTER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("unregister.lua")));

/// Keeps the routes of all broadcasts that are served here.
pub struct Routing {
    edge: Edge,
    redis: RedisClient,
    /// `host:port` under which proxies reach this process.
    address: String,
    routes: HashMap<StreamId, Route>,
    is_away: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    epoch: u64,
    owner: Owner,
}

/// Whose value a route has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Ours,
    Operator,
    NewerEdge,
    /// Nobody's: what stands in Redis is no route.
    Unreadable,
}

impl Routing {
    /// Routes to `address`.
    pub fn new(edge: Edge, redis: RedisClient, address: String) -> Self {
        Self {
            edge,
            redis,
            address,
            routes: HashMap::new(),
            is_away: false,
        }
    }

    /// Keeps them until `stop`, then takes them back.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.edge.changed() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let streams = self.edge.playable();
            self.keep(&streams).await;
        }
        self.keep(&[]).await;
    }

    async fn keep(&mut self, streams: &[Arc<LiveStream>]) {
        let gone: Vec<_> = self
            .routes
            .iter()
            .filter(|(id, _)| !streams.iter().any(|stream| stream.stream_id() == **id))
            .map(|(id, route)| (*id, *route))
            .collect();
        let mut is_away = false;
        for (id, route) in gone {
            // Not tried again: it has a short life.
            self.routes.remove(&id);
            if is_away {
                continue;
            }
            if let Err(error) = self.unregister(id, route.epoch).await {
                self.failed(&error);
                is_away = !is_of_another_type(&error);
            }
        }
        for stream in streams {
            let (id, epoch) = (stream.stream_id(), stream.epoch());
            match self.register(id, epoch).await {
                Ok(owner) => self.registered(stream, Route { epoch, owner }),
                Err(error) if is_of_another_type(&error) => {
                    self.failed(&error);
                    self.unreadable(id, epoch, &error);
                }
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        self.measure(streams);
    }

    async fn register(&self, id: StreamId, epoch: u64) -> RedisResult<Owner> {
        let mut connection = self.redis.clone();
        let owner: String = REGISTER
            .key(route_key(id))
            .key(writer_key(id))
            .arg(&self.address)
            .arg(epoch)
            .arg(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX))
            .invoke_async(&mut connection)
            .await?;
        Ok(match owner.as_str() {
            "operator" => Owner::Operator,
            "newer" => Owner::NewerEdge,
            _ => Owner::Ours,
        })
    }

    async fn unregister(&self, id: StreamId, epoch: u64) -> RedisResult<()> {
        let mut connection = self.redis.clone();
        UNREGISTER
            .key(route_key(id))
            .key(writer_key(id))
            .arg(&self.address)
            .arg(epoch)
            .invoke_async(&mut connection)
            .await
    }

    fn registered(&mut self, stream: &Arc<LiveStream>, route: Route) {
        let id = stream.stream_id();
        if self.is_away {
            self.is_away = false;
            tracing::info!("Redis is back; routes to this edge are kept again");
        }
        if route.owner == Owner::NewerEdge {
            self.edge.viewers_are_led_elsewhere(stream);
        }
        let former = self.routes.insert(id, route);
        if former.map(|former| former.owner) == Some(route.owner) {
            return;
        }
        match route.owner {
            Owner::Ours => tracing::info!(stream_id = %id, "proxies lead viewers here"),
            Owner::Operator => tracing::warn!(
                stream_id = %id,
                "an operator's route stands in Redis; it is left alone, and viewers go where it leads"
            ),
            Owner::NewerEdge => tracing::warn!(
                stream_id = %id,
                "another edge serves this stream under a newer epoch"
            ),
            Owner::Unreadable => {}
        }
    }

    /// Redis refuses this stream's keys, and goes on with the others.
    fn unreadable(&mut self, id: StreamId, epoch: u64, error: &RedisError) {
        let owner = Owner::Unreadable;
        let former = self.routes.insert(id, Route { epoch, owner });
        if former.is_none_or(|former| former.owner != owner) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                stream_id = %id,
                "what stands in Redis under streams:{id} or edge:{id} is no route; viewers of this \
                 stream are led nowhere until it is deleted"
            );
        }
    }

    fn failed(&mut self, error: &RedisError) {
        metrics::counter!("transcoder_edge_route_failures_total").increment(1);
        if !self.is_away && !is_of_another_type(error) {
            self.is_away = true;
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "routes to this edge are not kept: Redis is away"
            );
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a handful of streams, some MB")]
    fn measure(&self, streams: &[Arc<LiveStream>]) {
        for (label, owner) in [
            ("ours", Owner::Ours),
            ("operator", Owner::Operator),
            ("newer_edge", Owner::NewerEdge),
            ("unreadable", Owner::Unreadable),
        ] {
            let count = self
                .routes
                .values()
                .filter(|route| route.owner == owner)
                .count();
            metrics::gauge!("transcoder_edge_routes", "owner" => label).set(count as f64);
        }
        let bytes: usize = streams.iter().map(|stream| stream.bytes()).sum();
        metrics::gauge!("transcoder_edge_memory_bytes").set(bytes as f64);
    }
}

/// Whether one stream's keys are at fault, so that others fare better.
fn is_of_another_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

fn route_key(id: StreamId) -> String {
    format!("streams:{id}")
}

fn writer_key(id: StreamId) -> String {
    format!("edge:{id}")
}
