//! What an operator sees, and what happens when a server the service needs is away.

use std::time::Duration;

use marquee_testkit::eventually;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::fixture::{Auth, PASSWORD, answer};

const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn health_names_what_the_service_needs() {
    let auth = Auth::start().await;
    let health = eventually("a healthy service", SOON, async || {
        let health = answer(auth.request(Method::GET, "/health")).await;
        assert_eq!(health.status, StatusCode::OK);
        (health.body["status"] == "healthy").then_some(health.body)
    })
    .await;
    let expected = json!({"status": "healthy", "database": "connected", "redis": "connected"});
    assert_eq!(health, expected);
    assert_eq!(
        answer(auth.request(Method::GET, "/ready")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn without_redis_the_service_is_degraded_but_ready() {
    let port = format!("--redis-port={}", marquee_testkit::free_port());
    let auth = Auth::start_with(&[&port]).await;
    eventually("the service to be ready", SOON, async || {
        let ready = answer(auth.request(Method::GET, "/ready")).await;
        (ready.status == StatusCode::OK).then_some(())
    })
    .await;
    let health = answer(auth.request(Method::GET, "/health")).await;
    assert_eq!(health.status, StatusCode::OK);
    assert_eq!(health.body["status"], "degraded");
    assert_eq!(health.body["redis"], "disconnected");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let auth = Auth::start().await;
    let nowhere = auth.request(Method::GET, "/api/auth/nowhere");
    answer(nowhere).await.is_problem(404, "not_found");
    let wrong = answer(auth.request(Method::DELETE, "/api/auth/login")).await;
    wrong.is_problem(405, "method_not_allowed");
    assert!(wrong.headers.contains_key("allow"));
}

#[tokio::test]
async fn a_lost_database_is_a_503_and_its_return_needs_nobody() {
    let database = marquee_testkit::database("auth").await;
    let relay = relay::Relay::start(&database.url).await;
    let auth = Auth::start_on(database, &relay.url(), &[]).await;
    auth.register("ann").await;

    relay.cut();
    auth.login("ann", PASSWORD)
        .await
        .is_problem(503, "unavailable");
    auth.login("nobody", PASSWORD)
        .await
        .is_problem(503, "unavailable");

    relay.mend();
    eventually("signing in to work again", SOON, async || {
        (auth.login("ann", PASSWORD).await.status == StatusCode::OK).then_some(())
    })
    .await;
}

mod relay {
    //! A TCP relay in front of a database, to cut the wire without touching the server.

    use std::{net::SocketAddr, sync::Arc};

    use tokio::{
        net::{TcpListener, TcpStream},
        sync::watch,
    };

    pub struct Relay {
        address: SocketAddr,
        database_url: String,
        whole: Arc<watch::Sender<bool>>,
    }

    impl Relay {
        pub async fn start(database_url: &str) -> Self {
            let target = server(database_url).to_owned();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let whole = Arc::new(watch::Sender::new(true));
            let sender = Arc::clone(&whole);
            tokio::spawn(async move {
                loop {
                    let (mut client, _) = listener.accept().await.unwrap();
                    let (target, mut whole) = (target.clone(), sender.subscribe());
                    if !*whole.borrow_and_update() {
                        continue;
                    }
                    tokio::spawn(async move {
                        let mut server = TcpStream::connect(target).await.unwrap();
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                            _ = whole.wait_for(|whole| !whole) => {}
                        }
                    });
                }
            });
            Self {
                address,
                database_url: database_url.to_owned(),
                whole,
            }
        }

        /// The database's URL through the relay.
        pub fn url(&self) -> String {
            self.database_url
                .replace(server(&self.database_url), &self.address.to_string())
        }

        pub fn cut(&self) {
            self.whole.send_replace(false);
        }

        pub fn mend(&self) {
            self.whole.send_replace(true);
        }
    }

    /// `host:port` of `postgres://user:password@host:port/database`.
    fn server(url: &str) -> &str {
        let after_user = url.rsplit_once('@').unwrap().1;
        after_user.split_once('/').unwrap().0
    }
}
