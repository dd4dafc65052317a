//! The service put together: state, routes, tasks.

use std::{sync::Arc, time::Duration};

use axum::extract::FromRef;
use bytes::Bytes;
use marquee_common::{
    BoxError,
    auth::AuthContext,
    contract::StreamId,
    kafka::Producer,
    outbox, postgres,
    redis::RedisClient,
    server::{BoundService, Check, Lifecycle, ServeError, Service},
    telemetry::Telemetry,
};

use crate::{
    accounts,
    addresses::Addresses,
    config::Config,
    followers::Followers,
    recent_copies::RecentCopies,
    routes,
    store::{MIGRATIONS, PublicQuery, Store, Usernames},
    sweeper::Sweeper,
    transcoders::Transcoders,
    viewer_session::ViewerSessions,
    viewers::Viewers,
};

/// What handlers have.
#[derive(Clone)]
pub struct AppState {
    /// The database.
    pub store: Store,
    /// Whom to believe.
    pub auth: AuthContext,
    /// URLs of streams.
    pub addresses: Addresses,
    /// How many watch.
    pub viewers: Viewers,
    /// Who watches.
    pub viewer_sessions: ViewerSessions,
    /// Pages of the public list, as JSON.
    pub public_list: Arc<RecentCopies<PublicQuery, Bytes>>,
    /// Which streams exist, for heartbeats.
    pub existing: Arc<RecentCopies<StreamId, bool>>,
    /// Who follows streams' events.
    pub followers: Followers,
    /// How long one of them follows before its page has to ask again: no place is kept for ever by
    /// who has forgotten it, and feeds spread over the instances anew.
    pub feed_max_age: Duration,
    /// Calls to transcoders.
    pub transcoders: Transcoders,
    /// For work that outlives its request.
    pub lifecycle: Lifecycle,
}

impl FromRef<AppState> for AuthContext {
    fn from_ref(state: &AppState) -> Self {
        state.auth.clone()
    }
}

/// The service, ready to serve.
pub struct App {
    service: Service,
    state: AppState,
}

impl App {
    /// Connects and migrates, and starts the tasks.
    pub async fn build(config: Config, telemetry: Telemetry) -> Result<Self, BoxError> {
        let pool = postgres::connect(&config.postgres, &MIGRATIONS).await?;
        let usernames = if let Some(auth) = config.auth_fdw.database() {
            Usernames::set_up(&pool, &auth).await?
        } else {
            tracing::warn!("AUTH_FDW_PASSWORD is not set: answers have no usernames");
            Usernames::none()
        };
        let redis = RedisClient::new(&config.redis)?;
        let producer = Producer::new(&config.kafka)?;
        let service = Service::new("stream", telemetry, config.http, config.port);
        let lifecycle = service.lifecycle();
        let urls = &config.urls;
        let state = AppState {
            store: Store::new(pool.clone(), usernames, config.rules.rules()),
            auth: AuthContext::new(&config.auth, Some(redis.clone())),
            addresses: Addresses::new(
                &urls.public_base_url,
                &urls.public_rtmp_url,
                &urls.public_srt_url,
            ),
            viewers: Viewers::new(redis.clone()),
            viewer_sessions: ViewerSessions::new(config.auth.jwt_secret_key.expose()),
            public_list: Arc::default(),
            existing: Arc::default(),
            followers: Followers::new(config.rules.event_followers_max),
            feed_max_age: Duration::from_secs(config.rules.event_feed_max_s),
            transcoders: Transcoders::new(config.auth.internal_api_key.clone()),
            lifecycle: lifecycle.clone(),
        };
        let service = service
            .routes(routes::router(state.clone()))
            .readiness(checks(&state.store, &redis, &producer));
        let followers = state.followers.clone();
        lifecycle.spawn(
            "followers",
            followers.read(
                state.store.clone(),
                state.viewers.clone(),
                lifecycle.token(),
            ),
        );
        lifecycle.spawn(
            "accounts",
            accounts::follow(
                config.kafka.clone(),
                config.consumer_group,
                state.store.clone(),
                state.transcoders.clone(),
                lifecycle.token(),
            ),
        );
        let sweeper = Sweeper::new(state.store.clone(), state.transcoders.clone());
        lifecycle.spawn("sweeper", sweeper.run(lifecycle.token()));
        lifecycle.spawn("outbox", outbox::relay(pool, producer, lifecycle.token()));
        Ok(Self { service, state })
    }

    /// What handlers have, for tests.
    pub const fn state(&self) -> &AppState {
        &self.state
    }

    /// Serves until asked to end.
    pub async fn run(self) -> Result<(), BoxError> {
        Ok(self.service.serve().await?)
    }

    /// Takes the address without serving yet.
    pub async fn bind(self) -> Result<BoundService, ServeError> {
        self.service.bind().await
    }
}

/// Only Postgres is needed to serve; without Redis viewers are not counted, without Kafka events
/// come later.
fn checks(store: &Store, redis: &RedisClient, producer: &Producer) -> Vec<Check> {
    let (store, redis, producer) = (store.clone(), redis.clone(), producer.clone());
    vec![
        Check::new("database", true, move || {
            let store = store.clone();
            async move { store.ping().await }
        }),
        Check::new("redis", false, move || {
            let redis = redis.clone();
            async move { redis.ping().await }
        }),
        Check::new("kafka", false, move || {
            let producer = producer.clone();
            async move { producer.ping().await }
        }),
    ]
}
