//! Where a client sits, behind the proxies that are ours.
//!
//! Anybody can send `X-Forwarded-For`. It is believed as far as it was written by the gateway and
//! the proxies before it: read from the right, the first address that is none of them is the client.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(std::sync::Arc<[IpNet]>);

impl TrustedProxies {
    /// Believes peers in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address of the client whose request came from `peer`.
    pub fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let told: Vec<&str> = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .flat_map(|line| line.to_str().unwrap_or_default().split(','))
            .collect();
        // A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
        let mut client = peer.to_canonical();
        for hop in told.into_iter().rev() {
            if !self.trusts(client) {
                break;
            }
            // What cannot be read was not written by a proxy of ours.
            let Ok(hop) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            client = hop.to_canonical();
        }
        client
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use http::{HeaderMap, HeaderValue};

    use super::TrustedProxies;

    fn client(peer: &str, lines: &[&'static str]) -> String {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        proxies.client(&headers, peer.parse().unwrap()).to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(client("198.51.100.7", &[]), "198.51.100.7");
    }

    #[test]
    fn the_first_address_from_the_right_that_is_no_proxy_is_the_client() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        let through_two = ["192.0.2.1, 203.0.113.9", "10.0.0.2"];
        assert_eq!(client("::ffff:10.0.0.1", &through_two), "203.0.113.9");
    }

    #[test]
    fn what_cannot_be_read_ends_the_search() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9, nonsense"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["unknown, 10.0.0.3"]), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }
}
