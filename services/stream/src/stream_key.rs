//! The stream key: the secret by which a publisher opens a stream.

use std::{fmt, str::FromStr};

use rand::{TryRngCore as _, rngs::OsRng};

/// Characters of a key: 32 random bytes in base64url without padding.
pub const KEY_LEN: usize = 43;

/// A stream key. Its `Debug` shows nothing; [`StreamKey::expose`] is the one way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey(String);

/// Not 43 characters of base64url.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a stream key")]
pub struct NotAKey;

impl StreamKey {
    /// A new key from the system's random source.
    pub fn generate() -> Result<Self, rand::rand_core::OsError> {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let mut bytes = [0; 32];
        OsRng.try_fill_bytes(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The key's text: for its owner, for ingest, for the database.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(***)")
    }
}

impl FromStr for StreamKey {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.len() == KEY_LEN && text.bytes().all(base64url) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAKey)
        }
    }
}

impl TryFrom<String> for StreamKey {
    type Error = NotAKey;
    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_is_43_base64url_characters_and_never_the_same_twice() {
        let keys: HashSet<String> = (0..1_000)
            .map(|_| StreamKey::generate().unwrap().expose().to_owned())
            .collect();
        assert_eq!(keys.len(), 1_000);
        for key in keys {
            assert_eq!(key.len(), KEY_LEN);
            assert!(key.parse::<StreamKey>().is_ok(), "{key}");
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused_without_a_look_up() {
        let uuid = uuid::Uuid::now_v7().to_string();
        let almost = "a".repeat(42);
        for text in [
            "",
            "abc",
            &uuid,
            &almost,
            &format!("{almost}="),
            &format!("{almost}é"),
        ] {
            assert_eq!(text.parse::<StreamKey>(), Err(NotAKey), "{text}");
        }
    }

    #[test]
    fn debug_output_hides_the_key() {
        let key = StreamKey::generate().unwrap();
        assert!(!format!("{key:?}").contains(key.expose()));
    }
}
