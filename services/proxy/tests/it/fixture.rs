//! A running proxy, the servers behind it, Redis beside it, and clients in front.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::Request,
    http::{Method, StatusCode},
    response::IntoResponse,
};
use clap::Parser;
use marquee_common::server::Lifecycle;
use marquee_proxy::{app::App, coalesce::Coalescer, config::Config};
pub use marquee_testkit::{Answer, answer};
use marquee_testkit::{eventually, infra};
use redis::{AsyncCommands, AsyncConnectionConfig, aio::MultiplexedConnection};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How long anything may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The key that signs the tests' tokens.
pub const JWT_SECRET_KEY: &str = "the tests' own key, which is long enough";

/// An id that no other test uses: the tests share one Redis.
pub fn unique(name: &str) -> String {
    format!("{name}-{:016x}", rand::random::<u64>())
}

/// The tests' Redis as an operator with redis-cli has it.
pub async fn redis() -> MultiplexedConnection {
    let client = redis::Client::open(infra().redis_url).unwrap();
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .unwrap()
}

/// Redis' port.
pub fn redis_port() -> u16 {
    let url = infra().redis_url;
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    port.parse().unwrap()
}

/// `redis-cli SET streams:… …`
pub async fn set(id: &str, value: impl ToString) {
    let key = format!("streams:{id}");
    let () = redis().await.set(key, value.to_string()).await.unwrap();
}

/// `redis-cli DEL streams:…`
pub async fn del(id: &str) {
    let () = redis().await.del(format!("streams:{id}")).await.unwrap();
}

/// Serves a router on loopback.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// An upstream that answers what it was asked: `{name, method, target, headers, body}`.
pub async fn echo(name: &'static str) -> SocketAddr {
    let answer = async move |request: Request| {
        let (head, body) = request.into_parts();
        let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.to_string(), value.into())
            })
            .collect();
        Json(json!({
            "name": name,
            "method": head.method.as_str(),
            "target": head.uri.to_string(),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        }))
        .into_response()
    };
    serve(Router::new().fallback(answer)).await
}

/// An upstream that does to each connection what `act` does.
pub async fn upstream<F, Fut>(act: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(act(connection));
        }
    });
    address
}

/// An upstream that reads a request's head and answers with these bytes, then closes.
pub async fn says(answer: &'static [u8]) -> SocketAddr {
    upstream(move |mut connection| async move {
        read_head(&mut connection).await;
        connection.write_all(answer).await.unwrap();
    })
    .await
}

/// Reads a request's head; what comes after it in the same piece is dropped.
pub async fn read_head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match connection.read(&mut piece).await {
            Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// The proxy under test.
pub struct Proxy {
    pub url: String,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    pub lifecycle: Lifecycle,
    /// The requests that are under way for several.
    pub coalescer: Coalescer,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.lifecycle.shutdown();
    }
}

impl Proxy {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With these arguments besides, or in place of, the usual ones.
    pub async fn with(args: &[&str]) -> Self {
        let proxy = Self::launch(args);
        proxy.is_ready().await;
        proxy
    }

    /// The same without waiting for Redis.
    pub fn launch(args: &[&str]) -> Self {
        let redis = format!("--redis-port={}", redis_port());
        let key = format!("--jwt-secret-key={JWT_SECRET_KEY}");
        let defaults = [
            "--port=0",
            "--bind-addr=127.0.0.1",
            "--rust-log=off",
            "--access-log-format=off",
            "--workers=2",
            "--shutdown-grace-s=1",
            "--redis-host=127.0.0.1",
            &redis,
            &key,
        ];
        let name = |arg: &str| arg.split('=').next().unwrap().to_owned();
        let kept = defaults
            .iter()
            .filter(|arg| !args.iter().any(|own| name(own) == name(arg)));
        let all = ["proxy"].iter().chain(kept).chain(args);
        let app = App::build(Config::parse_from(all)).unwrap();
        let (lifecycle, coalescer) = (app.lifecycle(), app.coalescer());
        let bound = app.bind().unwrap();
        let address = bound.local_addr();
        tokio::spawn(bound.run());
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            url: format!("http://{address}"),
            address,
            client,
            lifecycle,
            coalescer,
        }
    }

    pub async fn is_ready(&self) {
        eventually("the proxy is ready", PATIENCE, async || {
            (self.get("/ready").await.status == StatusCode::OK).then_some(())
        })
        .await;
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// Which [`echo`] upstream answers for a stream.
    pub async fn name_behind(&self, id: &str) -> Option<String> {
        let answer = self.get(&format!("/stream/{id}")).await;
        answer.body["name"].as_str().map(str::to_owned)
    }

    /// Sends these very bytes, which no client library would, and reads until the proxy closes or
    /// falls silent.
    pub async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The proxy may refuse it before it is all there.
        let _ = stream.write_all(request.as_ref()).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(PATIENCE, read).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A metric of this process, over all its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.request(Method::GET, "/metrics").send().await.unwrap();
        text.text()
            .await
            .unwrap()
            .lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}
