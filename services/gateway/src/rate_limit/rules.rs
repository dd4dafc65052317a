//! Which buckets a request falls under, and which figures they have.
//!
//! | request | buckets |
//! |---|---|
//! | any to the API, and for its documentation, wherever it leads | its address |
//! | a login | and logins from that address, and the account at that address |
//! | a registration | and registrations from that address |
//! | a new stream or key | and its user, by a token that is checked |
//! | a viewer's heartbeat that has its session | that session; instead of its address only a wide bucket |
//!
//! Media (`/stream`) falls under none: one viewer asks ten times a second for hours, and a school
//! watches from one address. A long download is one request, whatever passes; so is an event stream,
//! of which an address has so many at a time.

use std::net::IpAddr;

use http::Method;
use marquee_common::contract::UserId;

use super::{
    bucket::Bucket,
    who::{account, hash, place_of, session},
};

/// Longest body that is read to find out whom a request is about; what these requests have to say
/// fits in many times over.
pub const READ_BODY_BYTES: u64 = 16 * 1024;

/// How much of what may pass.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Requests an address.
    pub address: Bucket,
    /// Logins an account and address.
    pub login: Bucket,
    /// Logins an address, whatever accounts they name.
    pub login_address: Bucket,
    /// Registrations an address.
    pub register: Bucket,
    /// New streams and keys a user.
    pub generate_key: Bucket,
    /// Heartbeats a viewer's session.
    pub heartbeat: Bucket,
    /// Heartbeats with a session an address: it holds up those who make sessions up.
    pub heartbeat_address: Bucket,
    /// Open event streams an address.
    pub event_streams: usize,
}

/// A limit's name, in keys, metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitName {
    /// [`Figures::address`].
    Address,
    /// [`Figures::login`].
    Login,
    /// [`Figures::login_address`].
    LoginAddress,
    /// [`Figures::register`].
    Register,
    /// [`Figures::generate_key`].
    GenerateKey,
    /// [`Figures::heartbeat`].
    Heartbeat,
    /// [`Figures::heartbeat_address`].
    HeartbeatAddress,
    /// [`Figures::event_streams`].
    EventStreams,
}

impl LimitName {
    /// As it stands in keys and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Login => "login",
            Self::LoginAddress => "login_address",
            Self::Register => "register",
            Self::GenerateKey => "generate_key",
            Self::Heartbeat => "heartbeat",
            Self::HeartbeatAddress => "heartbeat_address",
            Self::EventStreams => "event_streams",
        }
    }

    /// What a client that is refused by it did too often.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Address | Self::HeartbeatAddress => "requests from this address",
            Self::Login => "attempts to sign in to this account",
            Self::LoginAddress => "attempts to sign in from this address",
            Self::Register => "registrations from this address",
            Self::GenerateKey => "new stream keys for this user",
            Self::Heartbeat => "heartbeats of this viewer",
            Self::EventStreams => "open event streams to this address",
        }
    }
}

/// What is to be known of a request before its buckets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its address says all.
    Plain,
    /// The account in its body.
    Login,
    /// A registration.
    Register,
    /// The user of its token.
    NewKey,
    /// The session in its body.
    Heartbeat,
    /// Its address, for as long as the answer lasts.
    Events,
}

impl Kind {
    /// By method and path as they stand. Services know their paths in no other spelling.
    pub fn of(method: &Method, path: &str) -> Self {
        match (method, path) {
            (&Method::GET, _) if is_of_a_stream(path, "/events") => Self::Events,
            (&Method::POST, "/api/auth/login") => Self::Login,
            (&Method::POST, "/api/auth/register") => Self::Register,
            (&Method::POST, "/api/streams" | "/api/streams/generate-key") => Self::NewKey,
            (&Method::POST, _) if is_of_a_stream(path, "/viewers") => Self::Heartbeat,
            _ => Self::Plain,
        }
    }

    /// Whether the request's body says whom it is about.
    pub const fn is_told_by_body(self) -> bool {
        matches!(self, Self::Login | Self::Heartbeat)
    }
}

/// Whether a path is `/api/streams/{id}` with this behind it.
fn is_of_a_stream(path: &str, what: &str) -> bool {
    let id = path
        .strip_prefix("/api/streams/")
        .and_then(|rest| rest.strip_suffix(what));
    id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

/// A token to be taken from a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// By which limit.
    pub limit: LimitName,
    /// The bucket's key in Redis.
    pub key: String,
    /// What it holds.
    pub bucket: Bucket,
}

impl Charge {
    /// One that nobody is refused by.
    pub fn probe() -> Self {
        let bucket = Bucket {
            interval_us: 1,
            depth_us: 1000,
        };
        Self::new(LimitName::Address, "probe", bucket)
    }

    fn new(limit: LimitName, who: &str, bucket: Bucket) -> Self {
        Self {
            limit,
            key: format!("gateway:limit:{}:{who}", limit.as_str()),
            bucket,
        }
    }
}

impl Figures {
    /// The buckets of a request from `client`; `body` is its body where that tells, `user` whose
    /// token it has.
    pub fn charges(
        &self,
        kind: Kind,
        client: IpAddr,
        body: &[u8],
        user: Option<UserId>,
    ) -> Vec<Charge> {
        let place = place_of(client);
        let address = Charge::new(LimitName::Address, &place, self.address);
        match kind {
            Kind::Plain | Kind::Events => vec![address],
            Kind::Login => {
                let who = hash(&[&account(body), &place]);
                vec![
                    address,
                    Charge::new(LimitName::LoginAddress, &place, self.login_address),
                    Charge::new(LimitName::Login, &who, self.login),
                ]
            }
            Kind::Register => {
                let register = Charge::new(LimitName::Register, &place, self.register);
                vec![address, register]
            }
            Kind::NewKey => {
                let new_key = user.map(|user| {
                    Charge::new(LimitName::GenerateKey, &user.to_string(), self.generate_key)
                });
                std::iter::once(address).chain(new_key).collect()
            }
            Kind::Heartbeat => match session(body) {
                None => vec![address],
                Some(session) => vec![
                    Charge::new(LimitName::HeartbeatAddress, &place, self.heartbeat_address),
                    Charge::new(LimitName::Heartbeat, &hash(&[&session]), self.heartbeat),
                ],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::IpAddr;

    use http::Method;
    use marquee_common::contract::UserId;
    use proptest::prelude::*;

    use super::{Bucket, Figures, Kind, LimitName};

    const HOME: &str = "203.0.113.9";

    const FIGURES: Figures = {
        let bucket = Bucket {
            interval_us: 1,
            depth_us: 1,
        };
        Figures {
            address: bucket,
            login: bucket,
            login_address: bucket,
            register: bucket,
            generate_key: bucket,
            heartbeat: bucket,
            heartbeat_address: bucket,
            event_streams: 1,
        }
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn keys(kind: Kind, client: &str, body: &str) -> Vec<String> {
        FIGURES
            .charges(kind, ip(client), body.as_bytes(), None)
            .into_iter()
            .map(|charge| charge.key)
            .collect()
    }

    #[test]
    fn a_request_is_what_its_method_and_path_say() {
        for (method, path, kind) in [
            (Method::POST, "/api/auth/login", Kind::Login),
            (Method::GET, "/api/auth/login", Kind::Plain),
            (Method::POST, "/api/auth/login/", Kind::Plain),
            (Method::POST, "/api/auth/register", Kind::Register),
            (Method::POST, "/api/streams", Kind::NewKey),
            (Method::GET, "/api/streams", Kind::Plain),
            (Method::POST, "/api/streams/generate-key", Kind::NewKey),
            (Method::POST, "/api/streams/1/viewers", Kind::Heartbeat),
            (Method::POST, "/api/streams//viewers", Kind::Plain),
            (Method::POST, "/api/streams/1/2/viewers", Kind::Plain),
            (Method::POST, "/api/streams/viewers", Kind::Plain),
            (Method::POST, "/api/streams/1/stop", Kind::Plain),
            (Method::GET, "/api/streams/1/events", Kind::Events),
            (Method::HEAD, "/api/streams/1/events", Kind::Plain),
            (Method::GET, "/api/streams/1/2/events", Kind::Plain),
        ] {
            assert_eq!(Kind::of(&method, path), kind, "{method} {path}");
        }
    }

    #[test]
    fn an_address_is_one_of_ipv4_or_a_network_of_ipv6() {
        let key = |client| keys(Kind::Plain, client, "").remove(0);
        assert_eq!(key(HOME), "gateway:limit:address:203.0.113.9");
        assert_eq!(key("::ffff:203.0.113.9"), key(HOME));
        assert_eq!(
            key("2001:db8:1:2:3::4"),
            "gateway:limit:address:2001:db8:1:2::/64"
        );
        assert_eq!(key("2001:db8:1:2:ffff::"), key("2001:db8:1:2::1"));
        assert_ne!(key("2001:db8:1:3::1"), key("2001:db8:1:2::1"));
    }

    #[test]
    fn a_login_is_counted_by_account_and_address_however_the_account_is_spelled() {
        let key = |client, body| keys(Kind::Login, client, body).remove(2);
        let ada = key(HOME, r#"{"login": "Ada", "password": "x"}"#);
        assert!(!ada.to_lowercase().contains("ada"), "{ada}");
        for same in [
            r#"{"password": "another", "login": " ada "}"#,
            r#"{"username": "ADA"}"#,
            r#"{"email": "ada", "more": [1, {"login": "eve"}]}"#,
        ] {
            assert_eq!(key(HOME, same), ada, "{same}");
        }
        assert_ne!(key(HOME, r#"{"login": "eve"}"#), ada);
        assert_ne!(key("203.0.113.10", r#"{"login": "ada"}"#), ada);
    }

    #[test]
    fn logins_from_an_address_have_a_bucket_whatever_they_name() {
        let key = |body| keys(Kind::Login, HOME, body).remove(1);
        for body in [r#"{"login": "ada"}"#, r#"{"login": "eve"}"#, "{"] {
            assert_eq!(key(body), format!("gateway:limit:login_address:{HOME}"));
        }
    }

    #[test]
    fn logins_that_name_no_account_are_counted_together() {
        let key = |body| keys(Kind::Login, HOME, body).remove(2);
        let nobody = key("");
        for body in [
            "{}",
            "[",
            "null",
            r#"{"login": 1}"#,
            r#"{"login": "a", "username": "b"}"#,
        ] {
            assert_eq!(key(body), nobody, "{body}");
        }
    }

    #[test]
    fn a_heartbeat_is_counted_by_its_session_and_without_one_by_its_address() {
        let limits = |body: &str| -> Vec<_> {
            FIGURES
                .charges(Kind::Heartbeat, ip(HOME), body.as_bytes(), None)
                .into_iter()
                .map(|charge| charge.limit)
                .collect()
        };
        for first in [
            "",
            "{}",
            r#"{"session_id": null}"#,
            r#"{"session_id": ""}"#,
            "{",
        ] {
            assert_eq!(limits(first), [LimitName::Address], "{first}");
        }
        let later = r#"{"session_id": "0198.abc"}"#;
        assert_eq!(
            limits(later),
            [LimitName::HeartbeatAddress, LimitName::Heartbeat]
        );
        let key = |body: &str| keys(Kind::Heartbeat, HOME, body).remove(1);
        assert_ne!(key(later), key(r#"{"session_id": "0199.abc"}"#));
        let long = format!(r#"{{"session_id": "{}"}}"#, "x".repeat(10_000));
        assert!(key(&long).len() < 80);
    }

    #[test]
    fn a_new_key_is_counted_by_user_where_there_is_one() {
        let user = UserId::new();
        let charges = FIGURES.charges(Kind::NewKey, ip(HOME), b"", Some(user));
        assert_eq!(charges[1].key, format!("gateway:limit:generate_key:{user}"));
        assert_eq!(keys(Kind::NewKey, HOME, "").len(), 1);
    }

    proptest! {
        #[test]
        fn no_body_whatever_makes_it_panic_or_a_key_long(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for kind in [Kind::Login, Kind::Heartbeat] {
                for charge in FIGURES.charges(kind, ip(HOME), &body, None) {
                    prop_assert!(charge.key.len() < 80);
                }
            }
        }
    }
}
