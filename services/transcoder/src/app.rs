//! The service put together.

use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism, time::Duration};

use axum::extract::FromRef;
use marquee_common::{
    BoxError,
    auth::AuthContext,
    redis::RedisClient,
    s3::{self, BucketAccess, BucketError},
    server::{Check, ServeError, Service},
    telemetry,
};
use marquee_rtmp::RtmpError;
use marquee_srt::{KeyLength, ListenerConfig, Passphrase, PassphraseError, SrtError};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::{
    admission::{Doorman, MAX_PENDING},
    authority::Authority,
    config::{Config, IngestConfig, SrtKeyLength},
    edge::{Edge, routing::Routing},
    ingest::Ingest,
    lease::PauseWatch,
    output::{
        OutputContext,
        objects::LiveObjects,
        spill::{ClaimError, Spill},
    },
    registry::Registry,
    renewal,
    routes::LiveEdge,
    session::SessionContext,
};

/// Connections that may wait to be accepted by us.
const BACKLOG: u16 = 64;
/// Of the grace at shutdown, what is left for everything but storing segments.
const DRAIN_RESERVE: Duration = Duration::from_secs(3);

/// What every handler can reach.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// All sessions.
    pub registry: Arc<Registry>,
    /// Storage.
    pub output: OutputContext,
    /// Knows the internal key.
    pub auth: AuthContext,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The live bucket cannot be had.
    #[error("the live bucket cannot be used")]
    Bucket(#[from] BucketError),
    /// The configuration of Redis is wrong.
    #[error("REDIS_HOST or REDIS_PORT is wrong")]
    Redis(#[source] BoxError),
    /// The spill folder cannot be had.
    #[error("SPILL_DIR cannot be used")]
    Spill(#[from] ClaimError),
    /// The SRT port cannot be had.
    #[error("SRT_BIND cannot be listened on")]
    Srt(#[from] SrtError),
    /// The RTMP port cannot be had.
    #[error("RTMP_BIND cannot be listened on")]
    Rtmp(#[from] RtmpError),
    /// The passphrase has a length SRT does not take.
    #[error("SRT_PASSPHRASE is wrong")]
    Passphrase(#[from] PassphraseError),
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

/// The service, listening for publishers.
pub struct App {
    service: Service,
}

impl App {
    /// Makes sure of the bucket, opens the SRT and RTMP ports, and starts all tasks.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let telemetry = telemetry::init("transcoder", &config.log);
        let client = s3::client(&config.s3);
        let bucket = config.output.live_bucket.clone();
        s3::ensure_bucket(&client, &bucket, BucketAccess::PublicRead).await?;
        let output = OutputContext {
            objects: LiveObjects::new(&client, bucket.clone()),
            spill: Spill::claim(
                config.output.spill_dir.clone(),
                config.output.spill_max_bytes,
            )?,
            memory_bytes: config.output.upload_memory_bytes,
            dvr_window: Duration::from_secs(config.output.dvr_window_s),
            edge: Edge::default(),
        };
        let redis =
            RedisClient::new(&config.redis).map_err(|error| StartError::Redis(error.into()))?;
        let routing = Routing::new(output.edge.clone(), redis.clone(), config.edge_address());
        let authority = Authority::new(
            config.stream_service_url.clone(),
            config.internal_api_key.clone(),
        );
        let pause = PauseWatch::default();
        let doorman = Arc::new(Doorman::new(config.ingest.capacity()));
        let delivery = TaskTracker::new();
        let context = Arc::new(SessionContext {
            authority: authority.clone(),
            output: output.clone(),
            pause: pause.clone(),
            grace: config.ingest.grace(),
            max_passthrough_kbps: config.ingest.max_passthrough_kbps,
            drain_limit: config.http.shutdown_grace().saturating_sub(DRAIN_RESERVE),
            tasks: delivery,
        });
        let registry = Registry::new(context);
        let srt = marquee_srt::Listener::bind(&srt_config(&config.ingest)?, doorman.clone())?;
        let rtmp = marquee_rtmp::Listener::bind(rtmp_config(&config.ingest), doorman.clone());
        let rtmp = rtmp.await?;
        tracing::info!(
            srt = %srt.local_addr(), rtmp = %rtmp.local_addr(),
            "waiting for publishers"
        );
        let transcoder_url = config
            .advertise_url
            .as_str()
            .trim_end_matches('/')
            .to_owned();

        let state = AppState {
            registry: registry.clone(),
            output: output.clone(),
            auth: AuthContext::internal_only(&config.internal_api_key),
        };
        let storage = config.public.absolute("/live-streams");
        let grace = config.http.shutdown_grace();
        let service = Service::new("transcoder", telemetry, config.http, config.port)
            .routes(crate::routes::routes(state));
        let service = LiveEdge::new(output.edge.clone(), storage)
            .add_to(service)
            .workers(available_parallelism().unwrap_or(NonZeroUsize::MIN))
            .readiness(vec![s3_check(client, bucket), redis_check(redis)]);
        let lifecycle = service.lifecycle();
        let stop = lifecycle.token();
        let renew_now = Arc::new(Notify::new());
        lifecycle.spawn("pause watch", {
            let (renew_now, stop) = (renew_now.clone(), stop.clone());
            async move {
                stop.run_until_cancelled(pause.run(move || renew_now.notify_one()))
                    .await;
            }
        });
        lifecycle.spawn_job("leftover segments", {
            let (output, stop) = (output, stop.clone());
            async move {
                stop.run_until_cancelled(output.store_leftovers()).await;
            }
        });
        let ingest = Arc::new(Ingest {
            doorman: doorman.clone(),
            authority: authority.clone(),
            registry: registry.clone(),
            transcoder_url: transcoder_url.clone(),
            checks: TaskTracker::new(),
        });
        lifecycle.spawn("edge routes", routing.run(stop.clone()));
        lifecycle.spawn("srt ingest", ingest.clone().run_srt(srt, stop.clone()));
        lifecycle.spawn("rtmp ingest", ingest.run_rtmp(rtmp, stop.clone()));
        lifecycle.spawn("renewal and drain", async move {
            // Renewals go on while sessions drain: their last playlists need the lease.
            let renewals = renewal::run(authority, registry.clone(), transcoder_url, renew_now);
            let drained = async {
                stop.cancelled().await;
                doorman.close();
                registry.drain(grace).await;
            };
            tokio::select! {
                () = renewals => {}
                () = drained => {}
            }
        });
        Ok(Self { service })
    }

    /// Serves until the process is asked to end.
    pub async fn run(self) -> Result<(), ServeError> {
        self.service.serve().await
    }
}

fn s3_check(client: aws_sdk_s3::Client, bucket: String) -> Check {
    Check::new("s3", false, move || {
        let (client, bucket) = (client.clone(), bucket.clone());
        async move { s3::ping(&client, &bucket).await }
    })
}

/// Without Redis nobody is led to the edge; who plays the stored playlists does not notice.
fn redis_check(redis: RedisClient) -> Check {
    Check::new("redis", false, move || {
        let redis = redis.clone();
        async move { redis.ping().await }
    })
}

fn srt_config(ingest: &IngestConfig) -> Result<ListenerConfig, PassphraseError> {
    let key_length = match ingest.srt_key_length {
        SrtKeyLength::Aes128 => KeyLength::Aes128,
        SrtKeyLength::Aes192 => KeyLength::Aes192,
        SrtKeyLength::Aes256 => KeyLength::Aes256,
    };
    let passphrase = ingest
        .srt_passphrase
        .as_ref()
        .map(|text| Passphrase::new(text.clone(), key_length))
        .transpose()?;
    Ok(ListenerConfig {
        latency: Duration::from_millis(ingest.srt_latency_ms),
        passphrase,
        no_data_timeout: Duration::from_millis(ingest.no_data_timeout_ms),
        max_pending: MAX_PENDING,
        backlog: BACKLOG,
        ..ListenerConfig::new(ingest.srt_bind)
    })
}

fn rtmp_config(ingest: &IngestConfig) -> marquee_rtmp::ListenerConfig {
    marquee_rtmp::ListenerConfig {
        no_data_timeout: Duration::from_millis(ingest.no_data_timeout_ms),
        max_pending: MAX_PENDING,
        ..marquee_rtmp::ListenerConfig::new(ingest.rtmp_bind)
    }
}
