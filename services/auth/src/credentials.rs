//! What may be a username, an e-mail address and a password, with the words to say when it may not.

use std::fmt;

/// What is wrong with a value, as told to the user.
pub type Complaint = &'static str;

/// 3 to 32 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
///
/// No `@`, so that a login is never both a username and an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// Checks a username.
    pub fn parse(given: &str) -> Result<Self, Complaint> {
        if !(3..=32).contains(&given.len()) {
            return Err("must be 3 to 32 characters long");
        }
        if !given
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        {
            return Err("may only hold ASCII letters, digits, '.', '_' and '-'");
        }
        if !given.as_bytes()[0].is_ascii_alphanumeric() {
            return Err("must begin with a letter or a digit");
        }
        Ok(Self(given.to_owned()))
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address: enough of RFC 5321 to refuse slips of the hand; whether it exists only a
/// message to it can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Checks an address; surrounding blanks are dropped.
    pub fn parse(given: &str) -> Result<Self, Complaint> {
        const COMPLAINT: Complaint = "must be an e-mail address like ann@example.org";
        let given = given.trim();
        // RFC 5321 section 4.5.3.1: 64 octets before the @, 254 in all (with erratum 1690).
        if given.len() > 254 {
            return Err("must be at most 254 characters long");
        }
        let (local, domain) = given.rsplit_once('@').ok_or(COMPLAINT)?;
        let local_is_sane = (1..=64).contains(&local.len())
            && local
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'@' | b'"' | b'<' | b'>' | b'\\'));
        let domain_is_sane = domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        if local_is_sane && domain_is_sane {
            Ok(Self(given.to_owned()))
        } else {
            Err(COMPLAINT)
        }
    }

    /// The address as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password on its way to bcrypt. Never shown, logged or stored.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// bcrypt silently ignores what comes after so many bytes: such a password would not be what
    /// the user believes, so it is refused.
    pub const MAX_BYTES: usize = 72;

    /// Checks a new password: 8 characters to 72 bytes.
    pub fn parse_new(given: String) -> Result<Self, Complaint> {
        if given.chars().count() < 8 {
            return Err("must be at least 8 characters long");
        }
        if given.len() > Self::MAX_BYTES {
            return Err("must be at most 72 bytes long");
        }
        Self::parse_attempt(given).ok_or("must not hold a NUL character")
    }

    /// A password to compare; `None` if it cannot be anybody's.
    pub fn parse_attempt(given: String) -> Option<Self> {
        // bcrypt repeats a key with a NUL behind it, so "abc" and "abc\0abc" would be one password.
        (given.len() <= Self::MAX_BYTES && !given.contains('\0')).then_some(Self(given))
    }

    /// The secret itself, for bcrypt.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::{Email, Password, Username};

    #[test]
    fn a_username_is_short_plain_and_no_address() {
        for good in ["ann", "Ann-Marie.2", "0cool", &"a".repeat(32)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            &"a".repeat(33),
            "-ann",
            ".ann",
            "ann@x",
            "a nn",
            "änn",
            "ann\0",
            "ann\n",
        ] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_has_one_at_and_a_host() {
        for good in [
            "a@b.c",
            " ann@example.org ",
            "o'neil+x@mail.example.org",
            "root@localhost",
        ] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        let long = format!("{}@b.c", "a".repeat(65));
        for bad in [
            "",
            "ann",
            "@b.c",
            "a@",
            "a@b@c.d",
            "a b@c.d",
            "a@b..c",
            "a@-b.c",
            "a@b.c\n.d",
            "ä@b.c",
            &long,
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_fits_into_bcrypt_whole() {
        let password = |text: String| Password::parse_new(text);
        assert!(password("seven77".into()).is_err());
        assert!(password("eight888".into()).is_ok());
        assert!(password("a".repeat(72)).is_ok());
        assert!(password("a".repeat(73)).is_err());
        assert!(
            password("ä".repeat(36)).is_ok(),
            "72 bytes in 36 characters"
        );
        assert!(
            password("ä".repeat(37)).is_err(),
            "74 bytes in 37 characters"
        );
        assert!(password("secret00\0secret00".into()).is_err());
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let password = Password::parse_attempt("correct horse".into());
        assert_eq!(format!("{password:?}"), "Some(***)");
    }
}
