//! A name server whose answers the test sets, and a clock that stands still.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use super::*;

const WITHIN: Duration = Duration::from_secs(2);

/// A name server whose answers are set by the test.
struct Server {
    resolver: Resolver,
    asked: Arc<AtomicUsize>,
    answer: watch::Sender<Option<Answer>>,
}

type Answer = Result<Vec<SocketAddr>, io::ErrorKind>;

impl Server {
    fn start() -> Self {
        let asked = Arc::<AtomicUsize>::default();
        let (answer, answers) = watch::channel(None::<Answer>);
        let counter = asked.clone();
        let resolver = Resolver::asking(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut answers = answers.clone();
            async move {
                let answered = answers.wait_for(Option::is_some).await.unwrap();
                answered.clone().unwrap().map_err(io::Error::from)
            }
            .boxed()
        });
        Self {
            resolver,
            asked,
            answer,
        }
    }

    fn says(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.answer.send_replace(Some(Ok(addresses)));
    }

    fn fails(&self) {
        self.answer.send_replace(Some(Err(io::ErrorKind::NotFound)));
    }

    fn falls_silent(&self) {
        self.answer.send_replace(None);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn of(&self, name: &str) -> Result<Vec<String>, ConnectError> {
        let upstream = name.parse().unwrap();
        let found = self.resolver.addresses(&upstream, WITHIN).await?;
        Ok(found.as_slice().iter().map(ToString::to_string).collect())
    }
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_server_is_silent_is_asked_for_once_however_many_give_up() {
    let server = Server::start();
    for _ in 0..5 {
        let answers = join_all((0..10).map(|_| server.of("dead:80"))).await;
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Err(ConnectError::TooLate(_))))
        );
    }
    assert_eq!(server.asked(), 1);
    server.says(&["10.0.0.1:80"]);
    assert_eq!(server.of("dead:80").await.unwrap(), ["10.0.0.1:80"]);
    assert_eq!(server.asked(), 1, "the first question was answered at last");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_again_after_five_seconds() {
    let server = Server::start();
    server.says(&["10.0.0.1:80"]);
    assert_eq!(server.of("a:80").await.unwrap(), ["10.0.0.1:80"]);
    server.says(&["10.0.0.2:80"]);
    pass(FRESH / 2).await;
    assert_eq!(server.of("a:80").await.unwrap(), ["10.0.0.1:80"]);
    pass(FRESH / 2).await;
    assert_eq!(server.of("a:80").await.unwrap(), ["10.0.0.2:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_leaves_the_last_addresses_for_a_minute() {
    let server = Server::start();
    server.says(&["10.0.0.1:80"]);
    server.of("a:80").await.unwrap();
    server.falls_silent();
    pass(FRESH).await;
    let began = Instant::now();
    assert_eq!(server.of("a:80").await.unwrap(), ["10.0.0.1:80"]);
    assert_eq!(began.elapsed().as_millis(), SLOW.as_millis());
    assert_eq!(server.of("a:80").await.unwrap(), ["10.0.0.1:80"]);
    assert_eq!(began.elapsed().as_millis(), SLOW.as_millis(), "and no more");
    server.fails();
    pass(Duration::from_secs(10)).await;
    assert_eq!(server.of("a:80").await.unwrap(), ["10.0.0.1:80"]);
    pass(USABLE).await;
    let gone = server.of("a:80").await;
    assert!(matches!(gone, Err(ConnectError::NoAddress(..))), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn silent_servers_of_many_names_leave_those_that_are_known() {
    let server = Server::start();
    server.says(&["10.0.0.1:80"]);
    server.of("a:80").await.unwrap();
    server.falls_silent();
    let names: Vec<String> = (0..MAX_LOOKUPS + 10)
        .map(|n| format!("dead{n}:80"))
        .collect();
    join_all(names.iter().map(|name| server.of(name))).await;
    assert_eq!(server.asked(), 1 + MAX_LOOKUPS, "no more at a time");
    pass(FRESH).await;
    assert_eq!(server.of("a:80").await.unwrap(), ["10.0.0.1:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_without_an_address_is_asked_for_again_after_a_second() {
    let server = Server::start();
    server.fails();
    for _ in 0..3 {
        assert!(server.of("a:80").await.is_err());
    }
    assert_eq!(server.asked(), 1);
    server.says(&["10.0.0.1:80"]);
    pass(FAILED).await;
    assert!(server.of("a:80").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_address_that_took_a_connection_comes_first_for_a_minute() {
    let server = Server::start();
    let said = ["10.0.0.1:80", "10.0.0.2:80"];
    server.says(&said);
    server.of("a:80").await.unwrap();
    let works = "10.0.0.2:80".parse().unwrap();
    server.resolver.prefer(&"a:80".parse().unwrap(), works);
    let turned = ["10.0.0.2:80", "10.0.0.1:80"];
    assert_eq!(server.of("a:80").await.unwrap(), turned);
    pass(FRESH).await;
    assert_eq!(server.of("a:80").await.unwrap(), turned, "asked for anew");
    pass(PREFERRED).await;
    assert_eq!(server.of("a:80").await.unwrap(), said, "not for good");
}
