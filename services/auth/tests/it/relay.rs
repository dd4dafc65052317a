//! A TCP relay in front of a server, to cut the wire without touching the server.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub struct Relay {
    pub address: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
}

impl Relay {
    /// To `host:port`.
    pub async fn to(server: &str) -> Self {
        let target = server.to_owned();
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
        Self { address, whole }
    }

    /// To the database of a URL, and the URL through the relay.
    pub async fn to_database(url: &str) -> (Self, String) {
        // postgres://user:password@host:port/database
        let after_user = url.rsplit_once('@').unwrap().1;
        let server = after_user.split_once('/').unwrap().0;
        let relay = Self::to(server).await;
        let through = url.replace(server, &relay.address.to_string());
        (relay, through)
    }

    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}
