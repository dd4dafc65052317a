//! The service put together.

use std::time::Duration;

use axum::extract::FromRef;
use marquee_common::{
    auth::AuthContext,
    kafka::{KafkaError, Producer},
    outbox,
    postgres::{self, ConnectError},
    redis::RedisClient,
    server::{Check, ServeError, Service},
    telemetry,
};
use sqlx::migrate::Migrator;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    client_address::TrustedProxies,
    config::{Config, SignInConfig},
    cookies::Cookies,
    lockout::Policy,
    password::PasswordHasher,
    revocation::Revocations,
    routes,
    store::Store,
};

/// The schema of `auth_db`.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/auth");

/// Expired sessions and tokens, and forgotten failures, are deleted so often.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// What every handler can reach.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// `auth_db`.
    pub store: Store,
    /// Hashes and compares passwords.
    pub passwords: PasswordHasher,
    /// Signs and checks access tokens.
    pub auth: AuthContext,
    /// Tells the others of ended sessions.
    pub revocations: Revocations,
    /// How cookies are written.
    pub cookies: Cookies,
    /// Lives of tokens.
    pub sign_in: SignInConfig,
    /// How long wrong passwords make one wait.
    pub lockout: Policy,
    /// Whose word on a client's address is taken.
    pub trusted_proxies: TrustedProxies,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be had.
    #[error("auth_db cannot be used")]
    Postgres(#[from] ConnectError),
    /// Redis' address makes no sense.
    #[error("REDIS_HOST or REDIS_PORT is wrong")]
    Redis(#[from] redis::RedisError),
    /// The database fails.
    #[error("auth_db failed")]
    Database(#[from] sqlx::Error),
    /// librdkafka refuses the settings.
    #[error("KAFKA_BOOTSTRAP_SERVERS is wrong")]
    Kafka(#[from] KafkaError),
}

/// Why the service ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not start.
    #[error("cannot start")]
    Start(#[from] StartError),
    /// It could not go on.
    #[error("cannot serve")]
    Serve(#[from] ServeError),
}

/// The service, migrated and ready to serve.
pub struct App {
    service: Service,
}

impl App {
    /// Connects, migrates, and puts the routes together.
    pub async fn build(config: Config) -> Result<App, StartError> {
        let telemetry = telemetry::init("auth", &config.log);
        let pool = postgres::connect(&config.postgres, &MIGRATOR).await?;
        let redis = RedisClient::new(&config.redis)?;
        let producer = Producer::new(&config.kafka)?;
        if config.lockout.trusted_proxies.is_empty() {
            tracing::warn!(
                "TRUSTED_PROXIES is not set: clients are told apart by their peer alone"
            );
        }
        let access_token_ttl = config.sign_in.access_token_ttl().unsigned_abs();
        let store = Store::new(pool.clone());
        let state = AppState {
            store: store.clone(),
            passwords: PasswordHasher::new(
                config.sign_in.bcrypt_cost,
                config.sign_in.bcrypt_bounds(),
            ),
            auth: AuthContext::new(&config.auth, Some(redis.clone())),
            revocations: Revocations::new(redis.clone(), store, access_token_ttl),
            cookies: Cookies {
                secure: config
                    .sign_in
                    .cookie_secure
                    .unwrap_or(config.public.public_base_url.scheme() == "https"),
            },
            sign_in: config.sign_in,
            lockout: config.lockout.policy(),
            trusted_proxies: TrustedProxies::new(config.lockout.trusted_proxies),
        };
        learn_dearest_hash(&state).await?;
        let service = Service::new("auth", telemetry, config.http, config.port)
            .routes(routes::routes(state.clone()))
            .readiness(checks(&state.store, &redis, &producer));
        let lifecycle = service.lifecycle();
        lifecycle.spawn(
            "revocations",
            state.revocations.clone().relay(lifecycle.token()),
        );
        lifecycle.spawn("prune", {
            let stop = lifecycle.token();
            async move {
                tokio::select! {
                    () = prune(&state) => {}
                    () = stop.cancelled() => {}
                }
            }
        });
        lifecycle.spawn("outbox", outbox::relay(pool, producer, lifecycle.token()));
        Ok(App { service })
    }

    /// Serves until the process is asked to end.
    pub async fn run(self) -> Result<(), ServeError> {
        self.service.serve().await
    }

    /// The service itself, for tests that choose their own address and end.
    pub fn into_service(self) -> Service {
        self.service
    }
}

/// Only Postgres is needed to serve; without Redis ended sessions' access tokens last until they
/// expire, without Kafka events come later.
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

// Any number of instances may do this at a time: each row is deleted once.
async fn prune(state: &AppState) {
    let mut ticks = interval(PRUNE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let rows = async {
            let sessions = state.store.delete_expired_sessions().await?;
            let failures = state
                .store
                .delete_forgotten_sign_ins(&state.lockout)
                .await?;
            let lifetime = state.revocations.lifetime();
            let revocations = state.store.delete_stale_revocations(lifetime).await?;
            let devices = state.store.delete_unused_devices().await?;
            learn_dearest_hash(state).await?;
            Ok::<_, sqlx::Error>((sessions, failures + revocations + devices))
        };
        match rows.await {
            Ok((0, 0)) => {}
            Ok((sessions, others)) => {
                tracing::info!(sessions, others, "what had expired was deleted");
            }
            Err(error) => tracing::warn!(%error, "what has expired could not be deleted"),
        }
    }
}

async fn learn_dearest_hash(state: &AppState) -> Result<(), sqlx::Error> {
    let cost = state.store.find_dearest_bcrypt_cost().await?;
    state.passwords.learn_dearest(cost);
    Ok(())
}
