//! A secret that cannot be printed, and that refuses to be a bad one.

use std::{fmt, str::FromStr};

/// Shortest accepted secret: HS256 wants a key as long as its hash (RFC 7518 section 3.2).
const MIN_BYTES: usize = 32;

/// What the documents this platform grew from show as examples: everybody knows them.
const PUBLISHED_EXAMPLES: [&str; 4] = [
    "your_secret_key",
    "your-secret-key-change-in-production",
    "minioadmin",
    "password",
];

/// A key or password. `Debug` and `Display` show `***`; [`Self::expose`] is the one way out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a text is no [`Secret`]. Never shows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short to resist guessing.
    #[error(
        "{0} bytes are too short, a secret has at least {MIN_BYTES} (try: openssl rand -base64 48)"
    )]
    TooShort(usize),
    /// Printed in public documents.
    #[error(
        "this is an example from public documents, make your own (try: openssl rand -base64 48)"
    )]
    PublishedExample,
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if PUBLISHED_EXAMPLES
            .iter()
            .any(|example| text.eq_ignore_ascii_case(example))
        {
            return Err(SecretError::PublishedExample);
        }
        if text.len() < MIN_BYTES {
            return Err(SecretError::TooShort(text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret: Secret = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.expose().len(), 32);
    }

    #[test]
    fn a_short_secret_is_refused_with_its_length() {
        let refused = "0123456789abcdef0123456789abcde".parse::<Secret>();
        assert_eq!(refused, Err(SecretError::TooShort(31)));
    }

    #[test]
    fn every_published_example_is_refused_as_one() {
        for example in PUBLISHED_EXAMPLES {
            assert_eq!(
                format!(" {} ", example.to_uppercase()).parse::<Secret>(),
                Err(SecretError::PublishedExample)
            );
        }
    }
}
