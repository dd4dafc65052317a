//! A bound on how long a client may take over an answer.
//!
//! What waits to be sent is held in memory, and often it is a slice of something larger. The kernel's
//! own limit ends connections that take nothing; one that takes a byte now and then would hold it for
//! good.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A connection that breaks when what it is given to send is not all taken within a limit. The clock
/// runs from when the client first has to be waited for until a flush, which hyper asks for when
/// nothing is left.
#[derive(Debug)]
pub(super) struct AnswerLimited<S> {
    stream: S,
    limit: Option<Duration>,
    /// Runs while the client is waited for.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> AnswerLimited<S> {
    /// Behaves like `stream` without a limit.
    pub(super) fn new(stream: S, limit: Option<Duration>) -> Self {
        Self {
            stream,
            limit,
            until: None,
        }
    }

    fn limited<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let (Some(limit), Poll::Pending) = (self.limit, &written) else {
            return written;
        };
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(limit)));
        until.as_mut().poll(cx).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client took too long over an answer",
            ))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnswerLimited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnswerLimited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limited(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.limited(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.until = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::Instant,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    /// A connection on which little is under way, and a client that reads so many bytes each second.
    fn connection(limit: Option<Duration>, bytes_a_second: usize) -> AnswerLimited<DuplexStream> {
        let (server, mut client) = duplex(16);
        tokio::spawn(async move {
            let mut bytes = vec![0; bytes_a_second];
            while client.read_exact(&mut bytes).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        AnswerLimited::new(server, limit)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then_is_cut_off_at_the_limit() {
        let mut stream = connection(Some(LIMIT), 1);
        let began = Instant::now();
        let error = stream.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_each_answer_in_time_goes_on_for_as_long_as_it_likes() {
        let mut stream = connection(Some(LIMIT), 100);
        let began = Instant::now();
        while began.elapsed() < 10 * LIMIT {
            stream.write_all(&[0; 4096]).await.unwrap();
            stream.flush().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_an_answer_takes_as_long_as_it_takes() {
        let mut stream = connection(None, 1);
        let began = Instant::now();
        stream.write_all(&[0; 4096]).await.unwrap();
        assert!(began.elapsed() > 10 * LIMIT);
    }
}
