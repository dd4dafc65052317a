//! The service in this process on a port of its own, with databases of its own, and what tests do
//! to it.

use std::time::Duration;

use clap::Parser;
use marquee_common::{
    auth::{AuthContext, revoked_key},
    config::LogConfig,
    contract::{
        AccessClaims, Role, SessionId, StreamId, UserId,
        ingest::{Authorized, EventReceipt, RenewResponse, RenewedBroadcast},
    },
    redis::RedisClient,
    server::Lifecycle,
    telemetry,
};
use marquee_stream::{
    app::{App, AppState},
    config::Config,
    sweeper::Sweeper,
};
pub use marquee_testkit::Answer;
use marquee_testkit::{TestDatabase, database};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use time::OffsetDateTime;

pub use crate::{
    setup::{INTERNAL_API_KEY, arguments, bootstrap},
    wire::{ended, event, health, interrupted, live, live_with},
};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// An instance that has listened long enough to call silence silence.
pub const LONG: Duration = Duration::from_hours(1);

pub struct World {
    pub url: String,
    pub http: reqwest::Client,
    pub state: AppState,
    pub config: Config,
    /// `streams_db`, as superuser.
    pub db: PgPool,
    /// `auth_db`, as superuser.
    pub auth_db: PgPool,
    auth: AuthContext,
    lifecycle: Lifecycle,
    _streams: TestDatabase,
    _auth: TestDatabase,
}

/// A user with a token.
#[derive(Clone)]
pub struct Someone {
    pub id: UserId,
    pub token: String,
}

/// A stream as its owner has it.
#[derive(Clone)]
pub struct Stream {
    pub id: StreamId,
    pub key: String,
}

impl World {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With arguments of the service beside the usual ones.
    pub async fn with(extra: &[&str]) -> Self {
        Self::configured(extra, |_| ()).await
    }

    /// With a configuration that no arguments make.
    pub async fn configured(extra: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let (streams, auth) = tokio::join!(database("streams"), database("auth"));
        let db = PgPool::connect(&streams.url).await.unwrap();
        let auth_db = PgPool::connect(&auth.url).await.unwrap();
        bootstrap(&db, &streams.name, &auth_db).await;
        let arguments = arguments(&streams, &auth, extra);
        let mut config = Config::parse_from(&arguments);
        change(&mut config);
        let telemetry = telemetry::init(
            "stream",
            &LogConfig {
                rust_log: "error".to_owned(),
                ..LogConfig::default()
            },
        );
        let app = App::build(config.clone(), telemetry).await.unwrap();
        let state = app.state().clone();
        let bound = app.bind().await.unwrap();
        let url = format!("http://{}", bound.local_addr());
        tokio::spawn(bound.run());
        Self {
            url,
            http: reqwest::Client::new(),
            lifecycle: state.lifecycle.clone(),
            auth: state.auth.clone(),
            state,
            config,
            db,
            auth_db,
            _streams: streams,
            _auth: auth,
        }
    }

    /// Another instance of the service over the same databases.
    pub async fn another_instance(&self) -> Instance {
        Instance::start(self.config.clone()).await
    }

    /// Begins to drain this instance, as SIGTERM does.
    pub fn shut_down(&self) {
        self.lifecycle.shutdown();
    }

    pub fn sweeper(&self) -> Sweeper {
        Sweeper::new(self.state.store.clone(), self.state.transcoders.clone())
    }

    pub async fn sweep(&self) {
        self.sweeper().sweep(LONG, false).await.unwrap();
        self.sweeper().finalize().await.unwrap();
    }

    // --- people

    /// A user who is also known to `auth_db`.
    pub async fn user(&self, name: &str) -> Someone {
        let someone = self.claimant(name, Role::User);
        sqlx::query("INSERT INTO users (id, username) VALUES ($1, $2)")
            .bind(someone.id.0)
            .bind(name)
            .execute(&self.auth_db)
            .await
            .unwrap();
        someone
    }

    pub fn admin(&self) -> Someone {
        self.claimant("root", Role::Admin)
    }

    fn claimant(&self, name: &str, role: Role) -> Someone {
        let claims = claims(UserId::new(), name, role);
        self.signed_in(&claims)
    }

    /// Somebody with a token that says `claims`.
    pub fn signed_in(&self, claims: &AccessClaims) -> Someone {
        Someone {
            id: claims.sub,
            token: self.auth.issue(claims),
        }
    }

    /// Ends a session, as auth does at a sign-out.
    pub async fn revoke(&self, claims: &AccessClaims) {
        let mut redis = RedisClient::new(&self.config.redis).unwrap();
        redis::cmd("SET")
            .arg(revoked_key(claims.sid))
            .arg(1)
            .arg("EX")
            .arg(900)
            .exec_async(&mut redis)
            .await
            .unwrap();
    }

    // --- calls

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        by: Option<&Someone>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(someone) = by {
            request = request.bearer_auth(&someone.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    pub async fn get(&self, path: &str, by: Option<&Someone>) -> Answer {
        self.call(Method::GET, path, by, None).await
    }

    pub async fn call_with_query(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url)).query(query);
        answer(request).await
    }

    pub async fn post(&self, path: &str, by: &Someone) -> Answer {
        self.call(Method::POST, path, Some(by), None).await
    }

    pub async fn internal(&self, path: &str, body: &Value) -> Answer {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("x-internal-api-key", INTERNAL_API_KEY)
            .json(body);
        answer(request).await
    }

    pub async fn internal_get(&self, path: &str) -> Answer {
        let request = self
            .http
            .get(format!("{}{path}", self.url))
            .header("x-internal-api-key", INTERNAL_API_KEY);
        answer(request).await
    }

    /// Moves time: a statement over `streams_db` whose `$1` is an id.
    pub async fn sql(&self, sql: &str, id: impl Into<uuid::Uuid>) {
        let done = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .bind(id.into())
            .execute(&self.db)
            .await
            .unwrap();
        assert!(done.rows_affected() > 0, "nothing changed by {sql}");
    }

    pub async fn scalar<T>(&self, sql: &'static str, id: impl Into<uuid::Uuid>) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sql)
            .bind(id.into())
            .fetch_one(&self.db)
            .await
            .unwrap()
    }

    // --- streams

    pub async fn stream_of(&self, owner: &Someone) -> Stream {
        let body = self
            .post("/api/streams/generate-key", owner)
            .await
            .expect(201);
        stream_in(&body["stream"])
    }

    pub async fn create(&self, owner: &Someone, metadata: Value) -> Stream {
        let made = self
            .call(Method::POST, "/api/streams", Some(owner), Some(metadata))
            .await;
        stream_in(&made.expect(201)["stream"])
    }

    pub async fn show(&self, id: StreamId) -> Value {
        self.get(&format!("/api/streams/{id}"), None)
            .await
            .expect(200)
    }

    pub async fn status(&self, id: StreamId) -> String {
        self.show(id).await["status"].as_str().unwrap().to_owned()
    }

    pub async fn expire(&self, id: StreamId) {
        self.sql(
            "UPDATE streams SET expires_at = now() - interval '1 second' WHERE id = $1",
            id,
        )
        .await;
    }

    // --- ingest

    pub async fn authorize(&self, key: &str, transcoder_url: &str) -> Answer {
        self.internal(
            "/internal/ingest/authorize",
            &json!({
                "stream_key": key,
                "protocol": "srt",
                "remote_addr": "203.0.113.7:4711",
                "transcoder_url": transcoder_url,
            }),
        )
        .await
    }

    pub async fn admit(&self, key: &str, transcoder_url: &str) -> Authorized {
        let admitted = self.authorize(key, transcoder_url).await.expect(200);
        serde_json::from_value(admitted).unwrap()
    }

    pub async fn renew(
        &self,
        transcoder_url: &str,
        held: &[(&Authorized, u64, u64)],
    ) -> Vec<RenewedBroadcast> {
        let broadcasts: Vec<Value> = held
            .iter()
            .map(|(held, next_msn, discontinuity_seq)| {
                json!({
                    "broadcast_id": held.broadcast_id,
                    "epoch": held.epoch,
                    "next_msn": next_msn,
                    "discontinuity_seq": discontinuity_seq,
                })
            })
            .collect();
        let body = json!({"transcoder_url": transcoder_url, "broadcasts": broadcasts});
        let renewed = self
            .internal("/internal/ingest/renew", &body)
            .await
            .expect(200);
        serde_json::from_value::<RenewResponse>(renewed)
            .unwrap()
            .broadcasts
    }

    pub async fn tell(&self, stream: StreamId, event: &Value) -> EventReceipt {
        let path = format!("/internal/streams/{stream}/events");
        serde_json::from_value(self.internal(&path, event).await.expect(200)).unwrap()
    }

    /// Sends an event of a broadcast's holder.
    pub async fn event(&self, held: &Authorized, seq: u64, kind: Value) -> EventReceipt {
        self.tell(held.stream_id, &event(held, seq, kind)).await
    }

    /// Admits a publisher and reports it live.
    pub async fn on_air(&self, stream: &Stream, transcoder_url: &str) -> Authorized {
        let held = self.admit(&stream.key, transcoder_url).await;
        self.event(&held, 1, live()).await;
        held
    }

    /// What was announced of a stream, oldest first.
    pub async fn announced(&self, stream: StreamId) -> Vec<Value> {
        sqlx::query_scalar("SELECT payload FROM outbox WHERE key = $1 ORDER BY id")
            .bind(stream.to_string())
            .fetch_all(&self.db)
            .await
            .unwrap()
    }

    pub async fn announced_types(&self, stream: StreamId) -> Vec<String> {
        let events = self.announced(stream).await;
        events
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// The service and nothing around it; ends with this value.
pub struct Instance {
    pub url: String,
    lifecycle: Lifecycle,
}

impl Instance {
    pub async fn start(config: Config) -> Self {
        let telemetry = telemetry::init("stream", &LogConfig::default());
        let app = App::build(config, telemetry).await.unwrap();
        let lifecycle = app.state().lifecycle.clone();
        let bound = app.bind().await.unwrap();
        let url = format!("http://{}", bound.local_addr());
        tokio::spawn(bound.run());
        Self { url, lifecycle }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.lifecycle.shutdown();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.lifecycle.shutdown();
    }
}

/// What auth puts into a token at a sign-in.
pub fn claims(id: UserId, name: &str, role: Role) -> AccessClaims {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    AccessClaims {
        sub: id,
        username: name.to_owned(),
        role,
        sid: SessionId::new(),
        aud: AccessClaims::AUDIENCE.to_owned(),
        iat: now,
        exp: now + 900,
        jti: SessionId::new().to_string(),
    }
}

/// Sends a request that is answered within [`ANSWER_WITHIN`].
pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    marquee_testkit::answer(request.timeout(ANSWER_WITHIN)).await
}

pub fn stream_in(body: &Value) -> Stream {
    Stream {
        id: body["id"].as_str().unwrap().parse().unwrap(),
        key: body["stream_key"].as_str().unwrap().to_owned(),
    }
}
