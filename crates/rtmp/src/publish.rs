//! What a publisher asks for, and how it is told no.

use std::fmt;
use std::net::SocketAddr;

const APP: &str = "live";
/// Far above any key, and far below any buffer.
const LONGEST_KEY: usize = 256;

/// A publisher that was not yet let in.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// The stream key: a secret, as the publisher gave it.
    pub key: String,
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("key", &"***")
            .finish()
    }
}

/// Why a place to publish to is none. Repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not `/live`.
    #[error("there is no such application; the server URL ends in /live")]
    UnknownApp,
    /// No key.
    #[error("there is no stream key")]
    NoKey,
    /// No key looks like this.
    #[error("the stream key has impossible characters, or is too long")]
    BadKey,
}

/// Whether an application's name is ours, whatever follows it.
pub(crate) fn is_live(app: &str) -> bool {
    app.split(['/', '?']).next() == Some(APP)
}

/// The key in `connect`'s application and `publish`'s name: `live` and the key as a rule, or `live/KEY`
/// and nothing where all of it was typed into the server's URL. Queries that encoders put behind
/// either are dropped.
pub(crate) fn publish_path(app: &str, name: &str) -> Result<PublishRequest, PathError> {
    let without_query = |text: &str| text.split('?').next().unwrap_or_default().to_owned();
    let path = format!("{}/{}", without_query(app), without_query(name));
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    if parts.next() != Some(APP) {
        return Err(PathError::UnknownApp);
    }
    let key = parts.next().ok_or(PathError::NoKey)?;
    let possible = key.len() <= LONGEST_KEY && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !possible || parts.next().is_some() {
        return Err(PathError::BadKey);
    }
    Ok(PublishRequest {
        key: key.to_owned(),
    })
}

/// Who may connect and publish, decided from memory alone: it runs on the tasks that serve
/// publishers.
pub trait Admission: Send + Sync + 'static {
    /// May this address talk to us at all? Asked before anything is read.
    fn knock(&self, peer: SocketAddr) -> Result<(), Refusal>;

    /// May `peer` publish with this key? A yes reserves nothing.
    fn check(&self, key: &str, peer: SocketAddr) -> Result<(), Refusal>;
}

/// Why a publisher is refused, as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The key opens nothing.
    UnknownKey,
    /// The key's time is over.
    ExpiredKey,
    /// The broadcast was stopped a moment ago.
    Held,
    /// Publishers take the key from each other.
    Contended,
    /// There is no room now, or too many attempts.
    Busy,
    /// The key cannot be checked now, or the service is about to stop.
    Unavailable,
    /// Another encoder goes on with the broadcast.
    Replaced,
    /// Nothing came that decoding can start at.
    NoKeyframe,
    /// What is in the stream cannot be encoded.
    Unservable,
}

impl Refusal {
    /// `code` of the status message.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownKey | Self::ExpiredKey => "NetStream.Publish.BadName",
            _ => "NetStream.Publish.Rejected",
        }
    }

    /// What it says to a person.
    pub fn description(self) -> &'static str {
        match self {
            Self::UnknownKey => "This stream key is not valid. Copy it from the studio again.",
            Self::ExpiredKey => "This stream key has expired. Renew it in the studio.",
            Self::Held => "The broadcast was just stopped. Its key is taken again in a minute.",
            Self::Contended => {
                "Several encoders use this stream key in turn. Stop the others, then try again."
            }
            Self::Busy => "There is no room at the moment. Try again in a few seconds.",
            Self::Unavailable => "The service is not available. Try again in a few seconds.",
            Self::Replaced => "Another encoder has taken over with this stream key.",
            Self::NoKeyframe => "No keyframe came. Set the keyframe interval to 2 seconds.",
            Self::Unservable => {
                "What the encoder sends cannot be used. Send H.264 with AAC, up to 4K."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_wherever_an_encoder_puts_it_and_queries_are_dropped() {
        for (app, name) in [
            ("live", "KEY"),
            ("live/", "KEY?backup=1"),
            ("live?secret=x", "KEY"),
            ("live/KEY", ""),
            ("live", "/KEY/"),
        ] {
            let found = publish_path(app, name);
            assert_eq!(found.map(|it| it.key).as_deref(), Ok("KEY"), "{app} {name}");
        }
    }

    #[test]
    fn other_places_are_no_place_and_a_key_is_printable() {
        assert_eq!(publish_path("vod", "KEY"), Err(PathError::UnknownApp));
        assert_eq!(publish_path("live", ""), Err(PathError::NoKey));
        assert_eq!(publish_path("live", "a/b"), Err(PathError::BadKey));
        assert_eq!(publish_path("live", "a\nb"), Err(PathError::BadKey));
        assert_eq!(
            publish_path("live", &"k".repeat(300)),
            Err(PathError::BadKey)
        );
        assert_eq!(
            format!("{:?}", publish_path("live", "KEY")),
            "Ok(PublishRequest { key: \"***\" })"
        );
    }
}
