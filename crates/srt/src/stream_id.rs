//! What a publisher says it wants: its stream id.
//!
//! Two forms are in use. `publish:KEY` is what people type into OBS; `#!::r=KEY,m=publish` is the
//! form of SRT's Access Control guidelines (resource, mode), as some encoders send it.

use std::fmt;

const STANDARD_PREFIX: &str = "#!::";
const PLAIN_PREFIX: &str = "publish:";

/// A caller that wants to publish.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublishRequest<'a> {
    /// The stream key: a secret, as the publisher gave it, not yet checked.
    pub key: &'a str,
}

impl fmt::Debug for PublishRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("key", &"***")
            .finish()
    }
}

/// Why a stream id is refused. It repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamIdError {
    /// Neither of the two forms.
    #[error("the stream id is neither `publish:KEY` nor `#!::r=KEY,m=publish`")]
    UnknownForm,
    /// A part of the standard form is no `name=value`.
    #[error("a field of the stream id is not `name=value`")]
    BadField,
    /// `r` or `m` given twice: which one counts would be a guess.
    #[error("the stream id has the field `{0}` twice")]
    Repeated(char),
    /// No key, or an empty one.
    #[error("the stream id has no stream key")]
    NoKey,
    /// The key has characters that no key has (spaces, control characters, beyond ASCII).
    #[error("the stream key in the stream id has impossible characters")]
    BadKey,
    /// `m=request`, another mode, or none, which means request.
    #[error("the stream id does not ask to publish: `m=publish` is missing")]
    NotPublish,
}

/// Reads `publish:KEY` or `#!::r=KEY,m=publish`; in the latter fields come in any order, and unknown
/// ones are ignored.
///
/// # Errors
/// See [`StreamIdError`].
pub fn parse_stream_id(stream_id: &str) -> Result<PublishRequest<'_>, StreamIdError> {
    let key = if let Some(fields) = stream_id.strip_prefix(STANDARD_PREFIX) {
        standard_key(fields)?
    } else {
        stream_id
            .strip_prefix(PLAIN_PREFIX)
            .ok_or(StreamIdError::UnknownForm)?
    };
    if key.is_empty() {
        return Err(StreamIdError::NoKey);
    }
    // Also keeps a key from forging log lines or headers further on.
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(StreamIdError::BadKey);
    }
    Ok(PublishRequest { key })
}

fn standard_key(fields: &str) -> Result<&str, StreamIdError> {
    let mut resource = None;
    let mut mode = None;
    for field in fields.split(',').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').ok_or(StreamIdError::BadField)?;
        let (slot, letter) = match name {
            "r" => (&mut resource, 'r'),
            "m" => (&mut mode, 'm'),
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(StreamIdError::Repeated(letter));
        }
    }
    // The guidelines: `m` absent means `request`.
    if mode != Some("publish") {
        return Err(StreamIdError::NotPublish);
    }
    resource.ok_or(StreamIdError::NoKey)
}
