//! What a user may tell about themself.

use crate::credentials::Complaint;

/// What to do with a field that may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Fill it.
    Set(String),
    /// Empty it.
    Clear,
}

impl Edit {
    /// Whether the field changes, and what it then holds.
    pub fn into_parts(self) -> (bool, Option<String>) {
        match self {
            Self::Keep => (false, None),
            Self::Set(value) => (true, Some(value)),
            Self::Clear => (true, None),
        }
    }
}

/// Longest display name, in characters.
const DISPLAY_NAME_MAX: usize = 64;
/// Longest bio, in characters.
const BIO_MAX: usize = 500;

/// A name to show: one line, 1 to 64 characters.
pub fn display_name(given: &str) -> Result<String, Complaint> {
    let name = given.trim();
    if name.is_empty() || name.chars().count() > DISPLAY_NAME_MAX {
        return Err("must be 1 to 64 characters long, or null");
    }
    if name.chars().any(char::is_control) {
        return Err("must not hold control characters");
    }
    Ok(name.to_owned())
}

/// A text about oneself: up to 500 characters in as many lines as one likes.
pub fn bio(given: &str) -> Result<String, Complaint> {
    if given.chars().count() > BIO_MAX {
        return Err("must be at most 500 characters long");
    }
    // Postgres cannot store a NUL in text, and the others only serve to deceive.
    if given
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\r' && c != '\t')
    {
        return Err("must not hold control characters but line breaks and tabs");
    }
    Ok(given.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{bio, display_name};

    #[test]
    fn a_display_name_is_one_visible_line() {
        assert_eq!(display_name("  Ann Ünal 🎬 ").as_deref(), Ok("Ann Ünal 🎬"));
        for bad in ["", "   ", "a\nb", "a\0b", &"x".repeat(65)] {
            assert!(display_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bio_may_have_lines_but_no_other_control_characters() {
        assert!(bio("").is_ok());
        assert!(bio("two\nlines").is_ok());
        assert!(bio("a\0b").is_err());
        assert!(bio("a\u{1b}[31mb").is_err());
        assert!(bio(&"ü".repeat(500)).is_ok());
        assert!(bio(&"ü".repeat(501)).is_err());
    }
}
