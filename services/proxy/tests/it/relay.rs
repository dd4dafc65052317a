//! A TCP relay that can hang, cut its connections, and refuse new ones: a network that fails.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Bytes flow.
    Up,
    /// Connections stay open, and nothing comes through.
    Hangs,
    /// Connections are cut, and new ones too.
    Down,
}

pub struct Relay {
    pub address: SocketAddr,
    state: watch::Sender<Network>,
    asked_bytes: Arc<AtomicU64>,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, states) = watch::channel(Network::Up);
        let asked_bytes = Arc::<AtomicU64>::default();
        let counter = asked_bytes.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target, states.clone(), counter.clone()));
            }
        });
        Self {
            address,
            state,
            asked_bytes,
        }
    }

    pub fn is(&self, network: Network) {
        self.state.send_replace(network);
    }

    /// Bytes that went to the server so far.
    pub fn asked_bytes(&self) -> u64 {
        self.asked_bytes.load(Ordering::SeqCst)
    }
}

async fn relay(
    mut client: TcpStream,
    target: SocketAddr,
    mut state: watch::Receiver<Network>,
    asked: Arc<AtomicU64>,
) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    loop {
        let now = *state.borrow_and_update();
        match now {
            Network::Down => return,
            Network::Hangs => {
                if state.changed().await.is_err() {
                    return;
                }
            }
            Network::Up => {
                tokio::select! {
                    _ = ask(&mut from_client, &mut to_server, &asked) => return,
                    _ = copy(&mut from_server, &mut to_client) => return,
                    changed = state.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

async fn ask(
    client: &mut ReadHalf<'_>,
    server: &mut WriteHalf<'_>,
    asked: &AtomicU64,
) -> io::Result<()> {
    let mut piece = [0; 8192];
    loop {
        let read = client.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        asked.fetch_add(read as u64, Ordering::SeqCst);
        server.write_all(&piece[..read]).await?;
    }
}
