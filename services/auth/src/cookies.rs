//! The two cookies of a signed-in browser, and the one that it keeps.
//!
//! `HttpOnly`, so that no script reads them; `SameSite=Lax`, so that no other site's form sends
//! them with a write.

use time::Duration;

/// Cookie with the access token; sent with every request, so that media elements, which cannot set
/// a header, are signed in too.
pub const ACCESS_TOKEN: &str = "access_token";
/// Cookie with the refresh token; sent to this service only.
pub const REFRESH_TOKEN: &str = "refresh_token";

/// Cookie by which a browser is known as the account's after it has signed out; sent to this service
/// only.
pub const DEVICE: &str = "device";

/// How cookies are written.
#[derive(Clone, Copy, Debug)]
pub struct Cookies {
    /// Whether browsers may send them over HTTPS only.
    pub secure: bool,
}

impl Cookies {
    /// `Set-Cookie` values that sign a browser in.
    pub fn sign_in(
        self,
        (access_token, access_ttl): (&str, Duration),
        (refresh_token, refresh_ttl): (&str, Duration),
    ) -> [String; 2] {
        [
            self.cookie(ACCESS_TOKEN, access_token, access_ttl),
            self.cookie(REFRESH_TOKEN, refresh_token, refresh_ttl),
        ]
    }

    /// The `Set-Cookie` value that has a browser known.
    pub fn device(self, token: &str, ttl: Duration) -> String {
        self.cookie(DEVICE, token, ttl)
    }

    /// `Set-Cookie` values that sign a browser out.
    pub fn sign_out(self) -> [String; 2] {
        [ACCESS_TOKEN, REFRESH_TOKEN].map(|name| self.cookie(name, "", Duration::ZERO))
    }

    fn cookie(self, name: &str, value: &str, ttl: Duration) -> String {
        let path = if name == ACCESS_TOKEN {
            "/"
        } else {
            "/api/auth"
        };
        let secure = if self.secure { "; Secure" } else { "" };
        let max_age = ttl.whole_seconds();
        format!("{name}={value}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}")
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::Cookies;

    #[test]
    fn cookies_are_hidden_from_scripts_and_other_sites() {
        let [access, refresh] = Cookies { secure: true }
            .sign_in(("A", Duration::minutes(15)), ("R", Duration::days(30)));
        assert_eq!(
            access,
            "access_token=A; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            refresh,
            "refresh_token=R; Path=/api/auth; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure",
        );
    }

    #[test]
    fn signing_out_replaces_them_by_empty_ones_that_expire_at_once() {
        let [access, refresh] = Cookies { secure: false }.sign_out();
        assert_eq!(
            access,
            "access_token=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            refresh,
            "refresh_token=; Path=/api/auth; Max-Age=0; HttpOnly; SameSite=Lax"
        );
    }
}
