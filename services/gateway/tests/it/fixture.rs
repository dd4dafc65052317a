//! A running gateway, the little services behind it, and clients in front.

use std::{
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::Request,
    http::{HeaderMap, HeaderName, Method},
    response::IntoResponse,
};
use clap::Parser;
use marquee_common::server::Lifecycle;
use marquee_gateway::{app::App, config::Config};
pub use marquee_testkit::{Answer, answer};
use serde_json::json;
use tokio::net::TcpListener;

/// The one origin whose pages may call with cookies.
pub const ORIGIN: &str = "https://video.example";

/// The key that signs the tests' tokens.
pub const JWT_SECRET_KEY: &str = "the tests' own key, which is long enough";

/// Serves a router on loopback; its URL.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A service that answers what it was asked: `{service, method, target, headers, body}`.
pub async fn echo(service: &'static str) -> String {
    let answer = async move |request: Request| {
        let (head, body) = request.into_parts();
        let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into(),
                )
            })
            .collect();
        Json(json!({
            "service": service,
            "method": head.method.as_str(),
            "target": head.uri.to_string(),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        }))
        .into_response()
    };
    serve(Router::new().fallback(answer)).await
}

/// A URL at which nobody listens.
pub fn nobody() -> String {
    format!("http://127.0.0.1:{}", marquee_testkit::free_port())
}

/// The gateway under test.
pub struct Gateway {
    pub url: String,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    pub lifecycle: Lifecycle,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.lifecycle.shutdown();
    }
}

impl Gateway {
    /// In front of an auth service and nothing else that answers.
    pub async fn before(auth_url: &str) -> Self {
        Self::start(&[&format!("--auth-service-url={auth_url}")]).await
    }

    pub async fn start(args: &[&str]) -> Self {
        let nobody = format!("--stream-service-url={}", nobody());
        let origin = format!("--cors-allowed-origins={ORIGIN}");
        let key = format!("--jwt-secret-key={JWT_SECRET_KEY}");
        let defaults = [
            "--port=0",
            "--bind-addr=127.0.0.1",
            "--rust-log=off",
            // All tests come from one address; those of the limits switch them on.
            "--enable-rate-limits=false",
            &nobody,
            &origin,
            &key,
        ];
        let name = |arg: &str| arg.split('=').next().unwrap().to_owned();
        let kept = defaults
            .iter()
            .filter(|arg| !args.iter().any(|own| name(own) == name(arg)));
        let all = ["gateway"].iter().chain(kept).chain(args);
        let app = App::build(Config::parse_from(all)).unwrap();
        let lifecycle = app.lifecycle();
        let bound = app.bind().await.unwrap();
        let address = bound.local_addr();
        tokio::spawn(bound.run());
        Self {
            url: format!("http://{address}"),
            address,
            client: client_at(Ipv4Addr::LOCALHOST),
            lifecycle,
        }
    }

    /// This gateway, asked only from an address that nobody else has.
    pub fn with_own_address(mut self) -> Self {
        self.client = client_at(loopback_address());
        self
    }

    /// The same gateway, asked from another address: one of loopback's that nobody else has.
    pub fn at_another_address(&self) -> Self {
        Self {
            url: self.url.clone(),
            address: self.address,
            client: client_at(loopback_address()),
            // Dropping this one ends nothing.
            lifecycle: Lifecycle::new(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// Sends these very bytes, which no client library would, and reads the first answer.
    pub async fn raw(&self, request: impl Into<Vec<u8>>) -> Answer {
        let (address, request) = (self.address, request.into());
        tokio::task::spawn_blocking(move || raw(address, &request))
            .await
            .unwrap()
    }
}

fn client_at(address: Ipv4Addr) -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .local_address(IpAddr::V4(address))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

fn loopback_address() -> Ipv4Addr {
    let [a, b, c]: [u8; 3] = rand::random();
    // Neither the network's own address nor its broadcast.
    Ipv4Addr::new(127, a, b, c.clamp(2, 250))
}

/// An event stream that says something every so often, and never ends.
pub fn endless_events(every: Duration) -> Router {
    let events = async move || {
        let ticks = futures::stream::unfold(0_u64, move |tick| async move {
            tokio::time::sleep(every).await;
            let event = Bytes::from(format!("data: {tick}\n\n"));
            Some((Ok::<_, std::io::Error>(event), tick + 1))
        });
        let headers = [("content-type", "text/event-stream; charset=utf-8")];
        (headers, axum::body::Body::from_stream(ticks))
    };
    Router::new().route("/api/streams/1/events", axum::routing::get(events))
}

fn raw(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request).unwrap();
    read_answer(&mut BufReader::new(stream))
}

/// Reads the next answer of a connection.
pub fn read_answer(reader: &mut impl BufRead) -> Answer {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no answer: {line:?}"));
    let status = status.parse().unwrap();
    let mut headers = HeaderMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Answer::new(status, headers, String::from_utf8_lossy(&body).into_owned())
}
