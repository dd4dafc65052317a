//! A publisher, however it came: MPEG-TS to read, and a way to send it away.

use std::{collections::VecDeque, net::SocketAddr};

use bytes::Bytes;
use marquee_common::contract::ingest::{DisconnectReason, IngestProtocol};
use marquee_rtmp::Refusal;
use marquee_srt::{StreamIdError, parse_stream_id};

/// A publisher's connection.
#[derive(Debug)]
pub enum Transport {
    /// By SRT.
    Srt(marquee_srt::Connection),
    /// By RTMP; it waits to be told that it may begin.
    Rtmp(marquee_rtmp::Connection),
}

impl Transport {
    /// How it came.
    pub fn protocol(&self) -> IngestProtocol {
        match self {
            Self::Srt(_) => IngestProtocol::Srt,
            Self::Rtmp(_) => IngestProtocol::Rtmp,
        }
    }

    /// Where it sends from.
    pub fn peer(&self) -> SocketAddr {
        match self {
            Self::Srt(connection) => connection.peer(),
            Self::Rtmp(connection) => connection.peer(),
        }
    }

    /// The key it gave, a secret.
    pub fn stream_key(&self) -> Result<&str, StreamIdError> {
        match self {
            Self::Srt(connection) => parse_stream_id(connection.stream_id()).map(|it| it.key),
            Self::Rtmp(connection) => Ok(connection.stream_key()),
        }
    }

    /// Sends it away and says why, where its protocol has words for it.
    pub fn refuse(self, refusal: Refusal) {
        match self {
            Self::Srt(connection) => drop(connection),
            Self::Rtmp(connection) => connection.refuse(refusal),
        }
    }

    /// More of its transport stream; `None` when it has left. Cancel safe.
    pub(super) async fn recv(&mut self) -> Result<Option<Bytes>, LostPublisher> {
        Ok(match self {
            Self::Srt(connection) => connection.recv().await?,
            Self::Rtmp(connection) => connection.recv().await?,
        })
    }
}

/// Why a publisher gives nothing more, other than by leaving.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostPublisher {
    /// One by SRT.
    #[error(transparent)]
    Srt(#[from] marquee_srt::RecvError),
    /// One by RTMP.
    #[error(transparent)]
    Rtmp(#[from] marquee_rtmp::RecvError),
}

impl LostPublisher {
    /// What the broadcast's owner is told.
    pub fn reason(&self) -> String {
        match self {
            Self::Rtmp(marquee_rtmp::RecvError::Protocol(error)) => {
                format!("unusable_source: {error}")
            }
            Self::Srt(marquee_srt::RecvError::Closed)
            | Self::Rtmp(marquee_rtmp::RecvError::Closed) => "publisher_disconnected".to_owned(),
            lost => format!("publisher_lost: {lost}"),
        }
    }
}

/// A publisher whose key was admitted.
#[derive(Debug)]
pub struct Publisher {
    transport: Transport,
    waiting: VecDeque<Bytes>,
}

/// What its protocol measured so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TransportStats {
    /// Round trip; only SRT measures it.
    pub rtt_ms: Option<f64>,
    /// Packets lost on the way (most were sent again); TCP hides them.
    pub packets_lost: u64,
    /// Packets that never came in time; of RTMP, messages that could not be used.
    pub packets_dropped: u64,
}

impl Publisher {
    /// A publisher that was admitted; `waiting` came meanwhile.
    pub(super) fn new(transport: Transport, waiting: VecDeque<Bytes>) -> Self {
        Self { transport, waiting }
    }

    /// The next bytes of the transport stream; `None` when the publisher has left. The first call tells
    /// an RTMP publisher to begin: only a session that has it asks.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, LostPublisher> {
        if let Transport::Rtmp(connection) = &self.transport {
            connection.admit();
        }
        match self.waiting.pop_front() {
            Some(bytes) => Ok(Some(bytes)),
            None => self.transport.recv().await,
        }
    }

    /// What its protocol measured.
    pub fn stats(&self) -> TransportStats {
        match &self.transport {
            Transport::Srt(connection) => {
                let stats = connection.stats();
                TransportStats {
                    rtt_ms: Some(stats.rtt_ms),
                    packets_lost: stats.packets_lost,
                    packets_dropped: stats.packets_dropped,
                }
            }
            Transport::Rtmp(connection) => TransportStats {
                packets_dropped: connection.messages_dropped(),
                ..TransportStats::default()
            },
        }
    }

    /// Ends the connection from anywhere, at once.
    pub fn closer(&self) -> Closer {
        match &self.transport {
            Transport::Srt(connection) => Closer::Srt(connection.closer()),
            Transport::Rtmp(connection) => Closer::Rtmp(connection.closer()),
        }
    }
}

/// Ends a publisher's connection; keeps nothing alive.
#[derive(Clone, Debug)]
pub enum Closer {
    /// One by SRT.
    Srt(marquee_srt::Closer),
    /// One by RTMP.
    Rtmp(marquee_rtmp::Closer),
}

impl Closer {
    /// Disconnects the publisher now, and says why where its protocol has words for it. Again, or
    /// after its end: nothing happens.
    pub fn close(&self, why: Option<Refusal>) {
        match self {
            Self::Srt(closer) => closer.close(),
            Self::Rtmp(closer) => closer.close(why),
        }
    }
}

/// What a publisher is told that is sent away for this.
pub fn words_for(reason: DisconnectReason) -> Refusal {
    match reason {
        DisconnectReason::Stopped => Refusal::Held,
        DisconnectReason::Deleted | DisconnectReason::KeyRotated => Refusal::UnknownKey,
        DisconnectReason::Replaced => Refusal::Replaced,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use marquee_rtmp::{MediaError, RecvError, SessionError};

    use super::*;

    #[test]
    fn the_owner_learns_whether_the_source_or_the_line_was_to_blame() {
        let codec = SessionError::Media(MediaError::Video("AV1"));
        for (lost, reason) in [
            (
                RecvError::Protocol(codec),
                "unusable_source: AV1 video is not supported; send H.264 or H.265",
            ),
            (
                RecvError::NoData(Duration::from_secs(5)),
                "publisher_lost: no data came for 5000 ms",
            ),
            (RecvError::Closed, "publisher_disconnected"),
        ] {
            assert_eq!(LostPublisher::from(lost).reason(), reason);
        }
    }
}
