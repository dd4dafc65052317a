//! A TCP relay that can hang, cut its connections, and refuse new ones: a network that fails.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
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
    state: Arc<watch::Sender<Network>>,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(Network::Up));
        let states = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target, states.subscribe()));
            }
        });
        Self { address, state }
    }

    pub fn is(&self, network: Network) {
        self.state.send_replace(network);
    }
}

async fn relay(mut client: TcpStream, target: SocketAddr, mut state: watch::Receiver<Network>) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
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
                    _ = copy_bidirectional(&mut client, &mut server) => return,
                    changed = state.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}
