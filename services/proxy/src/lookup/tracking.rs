//! The connection on which routes are read and Redis tells of their changes (RESP3, `CLIENT
//! TRACKING ON`).
//!
//! Redis remembers which keys this connection has read and sends an invalidation, in the order of
//! its answers, when one changes. What was read holds only while the connection does: when it is
//! lost, or Redis has not answered two PINGs, everything is forgotten.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_common::{redis::RedisConfig, retry::Backoff};
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// Longest wait for a connection and for an answer.
const DEADLINE: Duration = Duration::from_secs(1);
const PING_EVERY: Duration = Duration::from_secs(1);
/// So many PINGs without an answer, and the connection is given up.
const MISSES: u32 = 2;

/// Who is told of changes.
pub(super) trait OnChange: fmt::Debug + Send + Sync + 'static {
    /// This key has changed.
    fn changed(&self, key: &[u8]);
    /// Any key may have.
    fn unknown(&self);
}

/// Why Redis could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unreachable {
    /// The last attempt to connect has failed.
    #[error("there is no connection")]
    Away,
    /// No connection, or no answer, in time.
    #[error("no answer within a second")]
    TooLate,
    /// Redis, or the connection, said no.
    #[error(transparent)]
    Failed(Arc<RedisError>),
    /// The key holds something else than a string.
    #[error("the key does not hold a string")]
    NotAString,
    /// Who asked is gone.
    #[error("the question was dropped")]
    Vanished,
}

/// The connection as it stands.
#[derive(Clone, Debug)]
enum Link {
    /// At the start and after a loss: it may be there in a moment.
    Connecting,
    Up(MultiplexedConnection),
    /// The last attempt failed.
    Down,
}

/// Keeps one connection, anew after each loss.
#[derive(Debug)]
pub(super) struct Tracking {
    client: Client,
    link: Arc<watch::Sender<(Generation, Link)>>,
    listener: Arc<dyn OnChange>,
}

/// Which connection something is about: a late word of an old one must not end a new one.
type Generation = u64;

impl Tracking {
    pub(super) fn new(config: &RedisConfig, listener: Arc<dyn OnChange>) -> RedisResult<Self> {
        let info = config.connection_info()?.into_connection_info()?;
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        Ok(Self {
            client: Client::open(info)?,
            link: Arc::new(watch::Sender::new((0, Link::Connecting))),
            listener,
        })
    }

    /// The key's value and time to live; `None`: there is no such key.
    pub(super) async fn get(
        &self,
        key: &str,
    ) -> Result<Option<(Vec<u8>, Option<Duration>)>, Unreachable> {
        let asked = async {
            let mut connection = self.connection().await?;
            let mut question = redis::pipe();
            question.cmd("GET").arg(key).cmd("PTTL").arg(key);
            let answer = question.query_async::<(Option<Vec<u8>>, i64)>(&mut connection);
            answer.await.map_err(not_a_string_or_failed)
        };
        let (value, ttl_ms) = timeout(DEADLINE, asked)
            .await
            .map_err(|_| Unreachable::TooLate)??;
        // Negative: it does not expire, or is gone by now, of which an invalidation tells.
        let ttl = u64::try_from(ttl_ms).ok().map(Duration::from_millis);
        Ok(value.map(|value| (value, ttl)))
    }

    pub(super) async fn ping(&self) -> Result<(), Unreachable> {
        let asked = async {
            let mut connection = self.connection().await?;
            ping(&mut connection).await
        };
        timeout(DEADLINE, asked)
            .await
            .map_err(|_| Unreachable::TooLate)?
    }

    /// The connection; waited for if it may be there in a moment.
    async fn connection(&self) -> Result<MultiplexedConnection, Unreachable> {
        let mut link = self.link.subscribe();
        let settled = link
            .wait_for(|(_, link)| !matches!(link, Link::Connecting))
            .await
            .map_err(|_| Unreachable::Away)?;
        match &settled.1 {
            Link::Up(connection) => Ok(connection.clone()),
            Link::Connecting | Link::Down => Err(Unreachable::Away),
        }
    }

    /// Connects, watches, and connects again, until `stop`.
    pub(super) async fn keep(&self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.keep_on()).await;
    }

    async fn keep_on(&self) {
        let mut waits = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        for generation in 1.. {
            match self.connect(generation).await {
                Ok(connection) => {
                    tracing::info!("Redis tells of changed routes");
                    waits.reset();
                    let began = Instant::now();
                    self.link
                        .send_replace((generation, Link::Up(connection.clone())));
                    self.watch(generation, connection).await;
                    self.lose(generation);
                    tracing::warn!("connection to Redis lost; all routes are forgotten");
                    metrics::counter!("proxy_redis_losses_total").increment(1);
                    if began.elapsed() > PING_EVERY {
                        continue;
                    }
                }
                Err(error) => {
                    self.link.send_replace((generation, Link::Down));
                    tracing::debug!(%error, "no connection to Redis");
                }
            }
            let wait = waits.next().unwrap_or(PING_EVERY);
            tokio::time::sleep(wait).await;
        }
    }

    async fn connect(&self, generation: Generation) -> Result<MultiplexedConnection, Unreachable> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE))
            .set_push_sender(self.push_receiver(generation));
        let connect = async {
            let mut connection = self
                .client
                .get_multiplexed_async_connection_with_config(&settings)
                .await?;
            redis::cmd("CLIENT")
                .arg("TRACKING")
                .arg("ON")
                .exec_async(&mut connection)
                .await?;
            Ok(connection)
        };
        match timeout(DEADLINE, connect).await {
            Ok(connected) => connected.map_err(|error| Unreachable::Failed(Arc::new(error))),
            Err(_) => Err(Unreachable::TooLate),
        }
    }

    /// Hears what Redis says unasked, in the task that reads the connection: before the answers
    /// that come after it.
    fn push_receiver(
        &self,
        generation: Generation,
    ) -> impl Fn(PushInfo) -> Result<(), std::convert::Infallible> + use<> {
        let (link, listener) = (self.link.clone(), self.listener.clone());
        move |push| {
            match push.kind {
                PushKind::Invalidate => hear(&*listener, &push.data),
                PushKind::Disconnection => lose(&link, &*listener, generation),
                _ => {}
            }
            Ok(())
        }
    }

    /// Ends when the connection has.
    async fn watch(&self, generation: Generation, mut connection: MultiplexedConnection) {
        let mut link = self.link.subscribe();
        let replaced =
            link.wait_for(|(current, link)| *current != generation || !matches!(link, Link::Up(_)));
        tokio::select! {
            _ = replaced => {}
            () = until_silent(&mut connection) => {}
        }
    }

    fn lose(&self, generation: Generation) {
        lose(&self.link, &*self.listener, generation);
    }
}

/// Ends when two PINGs in a row went without an answer.
async fn until_silent(connection: &mut MultiplexedConnection) {
    let mut ticks = interval(PING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut misses = 0;
    while misses < MISSES {
        ticks.tick().await;
        let answered = timeout(PING_EVERY, ping(connection)).await;
        misses = match answered {
            Ok(Ok(())) => 0,
            _ => misses + 1,
        };
    }
}

async fn ping(connection: &mut MultiplexedConnection) -> Result<(), Unreachable> {
    let answer = redis::cmd("PING").exec_async(connection).await;
    answer.map_err(|error| Unreachable::Failed(Arc::new(error)))
}

/// In a pipeline, what Redis says to a command is an error within the error.
fn not_a_string_or_failed(error: RedisError) -> Unreachable {
    let said = error.clone().into_server_errors();
    let is_wrong_type = said
        .iter()
        .flat_map(|errors| errors.iter())
        .any(|(_, error)| error.code() == "WRONGTYPE");
    if is_wrong_type {
        Unreachable::NotAString
    } else {
        Unreachable::Failed(Arc::new(error))
    }
}

/// Gives a connection up: first nobody is given it any more, then what it told is forgotten. Who
/// asks in between has left a placeholder, which is voided.
fn lose(link: &watch::Sender<(Generation, Link)>, listener: &dyn OnChange, generation: Generation) {
    let was_current = link.send_if_modified(|(current, link)| {
        let is_current = *current == generation && matches!(link, Link::Up(_));
        if is_current {
            *link = Link::Connecting;
        }
        is_current
    });
    if was_current {
        listener.unknown();
    }
}

/// An invalidation names keys, or with a null all of them (FLUSHALL).
fn hear(listener: &dyn OnChange, data: &[Value]) {
    for value in data {
        match value {
            Value::Array(keys) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) => listener.changed(key),
                        _ => listener.unknown(),
                    }
                }
            }
            _ => listener.unknown(),
        }
    }
}
