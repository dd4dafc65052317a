//! Where a stream is: the `host:port` that an operator, or a transcoder, wrote into Redis.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use http::HeaderValue;

const DEFAULT_PORT: u16 = 80;
/// Longest name of a host (RFC 1035 section 2.3.4, without the dot at its end).
const MAX_HOST_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// `host:port`, `host` (port 80), `[v6]:port` or `[v6]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    host: Box<str>,
    port: u16,
    /// As `Host` says it: the port only where it is not 80.
    header: HeaderValue,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// A URL, or several colons, or something behind the brackets.
    #[error("must be like 10.0.0.5:8000, backend.local or [fd00::5]:8000")]
    Shape,
    /// The host is none.
    #[error("must have a host of letters, digits, hyphens and dots, an IPv4 or an [IPv6] address")]
    Host,
    /// The port is none.
    #[error("must have a port between 1 and 65535, or none for 80")]
    Port,
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        let (host, port) = split(text)?;
        let port = port.map_or(Ok(DEFAULT_PORT), parse_port)?;
        let is_v6 = host.starts_with('[');
        let header = match port {
            DEFAULT_PORT => host.to_owned(),
            port => format!("{host}:{port}"),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = if is_v6 {
            bare.parse::<Ipv6Addr>().is_ok()
        } else {
            is_name(bare)
        };
        if !is_host {
            return Err(UpstreamError::Host);
        }
        Ok(Self {
            host: bare.into(),
            port,
            header: HeaderValue::try_from(header).map_err(|_| UpstreamError::Host)?,
        })
    }
}

/// The host, an IPv6 one with its brackets, and the port's digits.
fn split(text: &str) -> Result<(&str, Option<&str>), UpstreamError> {
    if text.is_empty() {
        return Err(UpstreamError::Empty);
    }
    if text.starts_with('[') {
        let end = text.find(']').ok_or(UpstreamError::Shape)? + 1;
        let (host, rest) = text.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(UpstreamError::Shape),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, port)) if port.contains(':') => Err(UpstreamError::Shape),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn parse_port(digits: &str) -> Result<u16, UpstreamError> {
    let is_number = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let port = is_number.then(|| digits.parse().ok()).flatten();
    port.filter(|port| *port > 0).ok_or(UpstreamError::Port)
}

/// A name of DNS, or of a container, which may have underscores; IPv4 addresses look like one.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let relative = host.strip_suffix('.').unwrap_or(host);
    relative.len() <= MAX_HOST_BYTES && relative.split('.').all(is_label)
}

impl Upstream {
    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `Host` says to it.
    pub fn host_header(&self) -> &HeaderValue {
        &self.header
    }
}

/// Always with its port.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::{Upstream, UpstreamError};

    fn parse(text: &str) -> Result<Upstream, UpstreamError> {
        text.parse()
    }

    fn parts(text: &str) -> (String, u16, String) {
        let upstream = parse(text).unwrap();
        let header = upstream.host_header().to_str().unwrap().to_owned();
        (upstream.host().to_owned(), upstream.port(), header)
    }

    #[test]
    fn the_seeds_examples_are_understood() {
        let told = |host: &str, port, header: &str| (host.to_owned(), port, header.to_owned());
        assert_eq!(
            parts("192.168.1.50:8080"),
            told("192.168.1.50", 8080, "192.168.1.50:8080")
        );
        assert_eq!(
            parts("172.16.0.5"),
            told("172.16.0.5", 80, "172.16.0.5"),
            "port 80 by default"
        );
        assert_eq!(
            parts("backend.local:8080"),
            told("backend.local", 8080, "backend.local:8080")
        );
        assert_eq!(parts("my_box:80"), told("my_box", 80, "my_box"));
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(
            parts("[fd00::5]:8000"),
            ("fd00::5".into(), 8000, "[fd00::5]:8000".into())
        );
        assert_eq!(parts("[::1]"), ("::1".into(), 80, "[::1]".into()));
        assert_eq!(parse("[::1]:9").unwrap().to_string(), "[::1]:9");
        assert_eq!(parse("::1"), Err(UpstreamError::Shape));
        assert_eq!(parse("[::1]9"), Err(UpstreamError::Shape));
        assert_eq!(parse("[::1"), Err(UpstreamError::Shape));
        assert_eq!(parse("[127.0.0.1]:80"), Err(UpstreamError::Host));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(parse("invalid:format:here"), Err(UpstreamError::Shape));
        assert_eq!(parse("http://10.0.0.5:8000"), Err(UpstreamError::Shape));
        assert_eq!(parse(""), Err(UpstreamError::Empty));
        for text in ["10.0.0.5:", "a:0", "a:65536", "a:+80", "a:8o", "a:080000"] {
            assert_eq!(parse(text), Err(UpstreamError::Port), "{text}");
        }
        for text in [":80", "a b:80", "a\n", "a..b", "a/b", "user@a:80", "é:80"] {
            assert_eq!(parse(text), Err(UpstreamError::Host), "{text:?}");
        }
        assert_eq!(parse("a:80 "), Err(UpstreamError::Port));
        assert_eq!(parse(&"a".repeat(64)), Err(UpstreamError::Host));
        assert_eq!(parse(&"a.".repeat(128)), Err(UpstreamError::Host));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(text in "[ -~]{0,30}|[a-z0-9.-]{1,20}(:[0-9]{1,5})?") {
            if let Ok(upstream) = parse(&text) {
                prop_assert_eq!(parse(&upstream.to_string()), Ok(upstream));
            }
        }
    }
}
