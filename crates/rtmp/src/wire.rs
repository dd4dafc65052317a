//! A session on its socket: reads with deadlines, writes with deadlines, and says goodbye.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::publish::PublishRequest;
use crate::session::{Session, SessionError, Step};

/// Longest wait for a publisher to take what it is told.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection that is over is still read, so that its last status is not lost: a socket
/// that is closed with bytes unread resets the connection.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);
/// The same of one that has to be gone at once.
pub(crate) const SHORT_FAREWELL: Duration = Duration::from_millis(200);
/// Read at once.
const SETUP_BYTES: usize = 4 << 10;
pub(crate) const MEDIA_BYTES: usize = 64 << 10;

/// A connection, up to the session.
pub(crate) struct Wire {
    stream: TcpStream,
    pub(crate) session: Session,
    buffer: Vec<u8>,
}

/// Why a connection is over before it published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("it left before it asked to publish")]
    Left,
    #[error("it did not shake hands in time")]
    NoHandshake,
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            session: Session::new(),
            buffer: vec![0; SETUP_BYTES],
        }
    }

    /// Goes on until the publisher asks to publish. Only the handshake is bounded here.
    pub(crate) async fn until_publish(
        &mut self,
        handshake: Duration,
    ) -> Result<PublishRequest, SetupError> {
        let deadline = Instant::now() + handshake;
        loop {
            let step = self.session.step();
            match step {
                Ok(Step::Publish(request)) => {
                    self.flush().await?;
                    self.buffer.resize(MEDIA_BYTES, 0);
                    return Ok(request);
                }
                // Nothing is published yet that could end or be taken.
                Ok(Step::More | Step::Media | Step::Ended) => self.flush().await?,
                Err(error) => {
                    self.session.fail(&error);
                    return Err(error.into());
                }
            }
            let is_greeted = self.session.is_greeted();
            let read = self.read(SETUP_BYTES);
            let read = if is_greeted {
                read.await?
            } else {
                let in_time = timeout_at(deadline, read).await;
                in_time.map_err(|_| SetupError::NoHandshake)??
            };
            if read == 0 {
                return Err(SetupError::Left);
            }
        }
    }

    /// Reads what there is, at most `most` bytes, and gives it to the session; 0 at the connection's
    /// end. Cancel safe.
    pub(crate) async fn read(&mut self, most: usize) -> io::Result<usize> {
        let most = most.min(self.buffer.len());
        let read = self.stream.read(&mut self.buffer[..most]).await?;
        self.session.receive(&self.buffer[..read]);
        Ok(read)
    }

    /// Sends what the session has to say.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let out = self.session.take_output();
        if out.is_empty() {
            return Ok(());
        }
        timeout(WRITE_LIMIT, self.stream.write_all(&out)).await?
    }

    /// Sends the last words and waits a moment until they are read.
    pub(crate) async fn farewell(mut self, limit: Duration) {
        let goodbye = async {
            self.flush().await?;
            self.stream.shutdown().await?;
            while self.stream.read(&mut self.buffer).await? > 0 {}
            io::Result::Ok(())
        };
        // It is gone either way.
        let _ = timeout(limit, goodbye).await;
    }
}
