//! A running auth service with a database of its own, and a client that speaks to it.

use std::time::Duration;

use clap::Parser;
use marquee_auth::{app::App, config::Config};
use marquee_common::server::Lifecycle;
pub use marquee_testkit::{Answer, answer};
use marquee_testkit::{TestDatabase, infra};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};

/// Signs the access tokens of every service in these tests.
pub const JWT_SECRET_KEY: &str = "a key for tests that is long enough for HS256";
/// Opens `/internal`.
pub const INTERNAL_API_KEY: &str = "an internal key for tests, long enough too";
/// The one origin whose pages may write with cookies.
pub const ORIGIN: &str = "https://video.example";
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

/// The service under test.
pub struct Auth {
    pub url: String,
    pub database: TestDatabase,
    pub client: reqwest::Client,
    lifecycle: Ends,
}

/// Ends the service with its owner.
struct Ends(Lifecycle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

impl Auth {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further arguments.
    pub async fn start_with(args: &[&str]) -> Self {
        let database = marquee_testkit::database("auth").await;
        let url = database.url.clone();
        Self::start_on(database, &url, args).await
    }

    /// With its database reached by another URL, as through a relay.
    pub async fn start_on(database: TestDatabase, db_url: &str, args: &[&str]) -> Self {
        let (redis_host, redis_port) = redis_address();
        let mut all = vec![
            "auth",
            "--port=0",
            "--bind-addr=127.0.0.1",
            "--bcrypt-cost=4",
            // All tests come from one address.
            "--bcrypt-per-network=1000",
            "--db-max-connections=4",
            "--rust-log=off",
        ];
        let given = [
            format!("--db-url={db_url}"),
            format!("--redis-host={redis_host}"),
            format!("--redis-port={redis_port}"),
            format!("--kafka-bootstrap-servers={}", infra().kafka),
            "--trusted-proxies=127.0.0.0/8".to_owned(),
            format!("--jwt-secret-key={JWT_SECRET_KEY}"),
            format!("--internal-api-key={INTERNAL_API_KEY}"),
            format!("--cors-allowed-origins={ORIGIN}"),
        ];
        // Later ones win only where clap is told so; hence a test's own come instead.
        let name = |arg: &str| arg.split('=').next().unwrap().to_owned();
        all.retain(|arg| !args.iter().any(|own| name(own) == name(arg)));
        let given = given
            .iter()
            .filter(|arg| !args.iter().any(|own| name(own) == name(arg)));
        all.extend(given.map(String::as_str));
        all.extend(args);
        let app = App::build(Config::parse_from(all)).await.unwrap();
        let service = app.into_service();
        let lifecycle = Ends(service.lifecycle());
        let bound = service.bind().await.unwrap();
        let url = format!("http://{}", bound.local_addr());
        tokio::spawn(bound.run());
        Self {
            url,
            database,
            client: client(),
            lifecycle,
        }
    }

    /// Ends the service and leaves its database.
    pub fn end(self) -> TestDatabase {
        drop(self.lifecycle);
        self.database
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn get_as(&self, path: &str, access_token: &str) -> Answer {
        answer(self.request(Method::GET, path).bearer_auth(access_token)).await
    }

    /// Registers a user, who then has [`PASSWORD`].
    pub async fn register(&self, username: &str) -> SignedIn {
        let answer = self
            .post("/api/auth/register", registration(username))
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
        answer.into()
    }

    pub async fn login(&self, login: &str, password: &str) -> Answer {
        self.post(
            "/api/auth/login",
            json!({"login": login, "password": password}),
        )
        .await
    }

    /// Signs in as if through the gateway from this address.
    pub async fn login_from(&self, address: &str, login: &str, password: &str) -> Answer {
        let request = self
            .request(Method::POST, "/api/auth/login")
            .header("x-forwarded-for", address)
            .json(&json!({"login": login, "password": password}));
        answer(request).await
    }

    /// A write by a signed-in user.
    pub async fn write(&self, method: Method, path: &str, user: &SignedIn, body: Value) -> Answer {
        let request = self
            .request(method, path)
            .bearer_auth(&user.access_token)
            .json(&body);
        answer(request).await
    }

    /// Registers an admin.
    pub async fn admin(&self) -> SignedIn {
        self.register("root").await;
        self.sql("UPDATE users SET role = 'admin' WHERE username = 'root'")
            .await;
        self.login("root", PASSWORD).await.into()
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("/api/auth/refresh", json!({"refresh_token": token}))
            .await
    }

    /// The database itself, to look into it or to turn back time.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(2)
            .connect(&self.database.url)
            .await
            .unwrap()
    }

    /// Runs a statement on the database.
    pub async fn sql(&self, statement: &'static str) {
        let pool = self.pool().await;
        sqlx::query(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }
}

pub fn registration(username: &str) -> Value {
    json!({
        "username": username,
        "email": format!("{username}@example.org"),
        "password": PASSWORD,
    })
}

pub fn redis_address() -> (String, u16) {
    let url = infra().redis_url;
    let address = url.rsplit('/').next().filter(|part| part.contains(':'));
    let address = address.unwrap_or_else(|| panic!("{url} has no host:port"));
    let (host, port) = address.rsplit_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .no_proxy()
        .build()
        .unwrap()
}

/// What register, login and refresh answer.
pub struct SignedIn {
    pub id: String,
    pub access_token: String,
    pub refresh_token: String,
}

impl From<Answer> for SignedIn {
    #[track_caller]
    fn from(answer: Answer) -> Self {
        assert!(answer.status.is_success(), "{}", answer.body);
        let text = |pointer: &str| {
            answer
                .body
                .pointer(pointer)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        };
        Self {
            id: text("/user/id"),
            access_token: text("/access_token"),
            refresh_token: text("/refresh_token"),
        }
    }
}
