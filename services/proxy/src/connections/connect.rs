//! From an upstream's addresses to a connection.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::Connection;
use crate::upstream::Upstream;

/// An address that has not answered after this is joined by the next one (RFC 8305 section 5).
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing within `CONNECT_TIMEOUT_MS`.
    #[error("no connection to {0} in time")]
    TooLate(Upstream),
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(Upstream, #[source] Arc<io::Error>),
    /// No address of it takes connections.
    #[error("no connection to {0}")]
    Refused(Upstream, #[source] io::Error),
    /// The connection cannot be used.
    #[error("no connection to {0}")]
    Handshake(Upstream, #[source] hyper::Error),
}

/// A new connection to one of `addresses`, within `within`.
pub(super) async fn connect(
    upstream: &Upstream,
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<Connection, ConnectError> {
    let (stream, address) = timeout(within, first_to_answer(addresses))
        .await
        .map_err(|_| ConnectError::TooLate(upstream.clone()))?
        .map_err(|error| ConnectError::Refused(upstream.clone(), error))?;
    // Requests are complete messages; waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    Connection::handshake(stream, address)
        .await
        .map_err(|error| ConnectError::Handshake(upstream.clone(), error))
}

/// Tries one after the other, the next one as soon as one has failed or is late; whichever takes a
/// connection first is it.
async fn first_to_answer(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut left = addresses.iter().copied();
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    loop {
        if let Some(address) = left.next() {
            attempts.push(async move { (TcpStream::connect(address).await, address) });
        }
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some((Ok(stream), address)) => return Ok((stream, address)),
                Some((Err(error), _)) => last = error,
                None => return Err(last),
            },
            () = sleep(NEXT_AFTER), if left.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A listener that nobody serves, its queue full: whoever connects hears nothing, as from a
    /// machine that is switched off.
    async fn black_hole() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(connected) =
            timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            queued.push(connected.unwrap());
        }
        (listener, queued, address)
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_does_not_hide_the_next_one() {
        let (_hole, _queued, silent) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answers = listener.local_addr().unwrap();
        let upstream = "a:80".parse().unwrap();
        let within = Duration::from_secs(10);
        let connection = connect(&upstream, &[silent, answers], within).await;
        assert_eq!(connection.unwrap().address(), answers);
        let within = Duration::from_millis(600);
        let nothing = connect(&upstream, &[silent], within).await;
        assert!(matches!(nothing, Err(ConnectError::TooLate(_))));
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_hide_the_next_one() {
        let refuses = format!("127.0.0.1:{}", marquee_testkit::free_port());
        let refuses: SocketAddr = refuses.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answers = listener.local_addr().unwrap();
        let upstream = "a:80".parse().unwrap();
        let within = Duration::from_secs(10);
        let connection = connect(&upstream, &[refuses, answers], within).await;
        assert_eq!(connection.unwrap().address(), answers);
        let none = connect(&upstream, &[refuses], within).await;
        assert!(matches!(none, Err(ConnectError::Refused(..))));
    }
}
