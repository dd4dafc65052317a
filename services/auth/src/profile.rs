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
    if name.chars().any(|c| c.is_control() || turns_or_breaks(c)) {
        return Err("must not hold control characters");
    }
    if name.chars().all(|c| c.is_whitespace() || has_no_width(c)) {
        return Err("must hold something that can be seen");
    }
    Ok(name.to_owned())
}

/// Characters that turn the direction of the text around the name, or break its line (Unicode
/// Standard Annex 9, section 2): they would let a name pose as another, or garble a page.
fn turns_or_breaks(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Characters that show nothing by themselves; between others, emoji need some of them.
fn has_no_width(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' | '\u{fe0f}')
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
        assert!(
            display_name("👩\u{200d}🚀").is_ok(),
            "an emoji of three characters"
        );
        let long = "x".repeat(65);
        for bad in [
            "",
            "   ",
            "a\nb",
            "a\0b",
            "a\u{202e}b",
            "a\u{2028}b",
            "\u{200b}\u{feff}",
            &long,
        ] {
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
