//! What several tests need.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use http_body_util::BodyExt;
use marquee_common::{
    auth::AuthContext,
    config::{AuthConfig, HttpConfig, LogConfig, Secret},
    contract::{AccessClaims, Role, SessionId, UserId},
    kafka::KafkaConfig,
    redis::{RedisClient, RedisConfig},
    s3::S3Config,
    server::Service,
    telemetry::{self, Telemetry},
};
use marquee_testkit::infra;
use serde_json::Value;
use time::OffsetDateTime;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

/// How long anything may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn telemetry() -> Telemetry {
    telemetry::init("tester", &LogConfig::default())
}

pub fn service() -> Service {
    Service::new("tester", telemetry(), HttpConfig::default(), 0)
}

/// A service with these API routes, without a socket.
pub fn app(routes: Router) -> Router {
    service().routes(OpenApiRouter::from(routes)).into_router()
}

pub async fn call(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

pub async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub async fn json(response: Response<Body>) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

pub fn secret(fill: char) -> Secret {
    fill.to_string().repeat(40).parse().unwrap()
}

pub fn auth_config() -> AuthConfig {
    AuthConfig {
        jwt_secret_key: secret('j'),
        internal_api_key: secret('i'),
        cors_allowed_origins: vec!["https://live.example".to_owned(), "*".to_owned()],
    }
}

pub fn auth_context() -> AuthContext {
    AuthContext::new(&auth_config(), Some(redis_client()))
}

pub fn claims() -> AccessClaims {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    AccessClaims {
        sub: UserId::new(),
        username: "ada".to_owned(),
        role: Role::User,
        sid: SessionId::new(),
        aud: AccessClaims::AUDIENCE.to_owned(),
        iat: now,
        exp: now + 900,
        jti: "1".to_owned(),
    }
}

pub fn redis_config() -> RedisConfig {
    let url = infra().redis_url.parse::<url::Url>().unwrap();
    RedisConfig {
        redis_host: url.host_str().unwrap().to_owned(),
        redis_port: url.port().unwrap(),
    }
}

pub fn redis_client() -> RedisClient {
    RedisClient::new(&redis_config()).unwrap()
}

pub fn kafka_config() -> KafkaConfig {
    KafkaConfig {
        kafka_bootstrap_servers: infra().kafka,
        enable_kafka: true,
    }
}

pub fn s3_config() -> S3Config {
    let s3 = infra().s3;
    S3Config {
        s3_endpoint_url: s3.endpoint.parse().unwrap(),
        s3_access_key: Some(s3.access_key),
        s3_secret_key: Some(s3.secret_key.parse().unwrap()),
        s3_region: "us-east-1".to_owned(),
    }
}

/// A name that no other test has; leaked, for consumers want `'static` ones.
pub fn unique(prefix: &str) -> &'static str {
    format!("{prefix}-{}", uuid::Uuid::now_v7()).leak()
}
