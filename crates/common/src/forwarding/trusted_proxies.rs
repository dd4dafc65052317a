//! Who the client is, as told to whom a request is passed on to.
//!
//! Anybody can send `X-Forwarded-For`. It is believed as far as it was written by proxies that are
//! ours (`TRUSTED_PROXIES`): read from the right, the first address that is not one of them is the
//! client, and whatever stands left of it is the client's own invention.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};
use ipnet::IpNet;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Every header by which one is told of the hops before; none passes unless it is rewritten here.
static FORWARDED: [HeaderName; 8] = [
    FOR,
    PROTO,
    FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("forwarded"),
];

/// The proxies in front that are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    is_trusted: bool,
    text: HeaderValue,
}

impl Peer {
    /// Its address; of an IPv4 peer of a dual-stack socket, the IPv4 one.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl TrustedProxies {
    /// Believes peers in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// What is to be known of a connection's other end, for all requests that come from there.
    pub fn peer(&self, address: IpAddr) -> Peer {
        // A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
        let address = address.to_canonical();
        Peer {
            address,
            is_trusted: self.trusts(address),
            // Digits, dots and colons are a legal header value.
            text: HeaderValue::try_from(address.to_string())
                .unwrap_or(HeaderValue::from_static("unknown")),
        }
    }

    /// Rewrites the forwarded headers of a request that came from `peer`, and says which address
    /// the client has.
    pub fn rewrite(&self, headers: &mut HeaderMap, peer: IpAddr) -> IpAddr {
        self.rewrite_of(headers, &self.peer(peer))
    }

    /// [`Self::rewrite`] for a peer that was looked at before.
    pub fn rewrite_of(&self, headers: &mut HeaderMap, peer: &Peer) -> IpAddr {
        if !FORWARDED.iter().any(|name| headers.contains_key(name)) {
            let asked_for = headers.remove(HOST);
            headers.insert(FOR, peer.text.clone());
            headers.insert(PROTO, HeaderValue::from_static("http"));
            if let Some(host) = asked_for {
                headers.insert(FORWARDED_HOST, host);
            }
            return peer.address;
        }
        let believed = peer.is_trusted;
        let peer = peer.address;
        let hops = if believed {
            self.hops(headers, peer)
        } else {
            vec![peer]
        };
        let proto = headers
            .get(PROTO)
            .filter(|proto| believed && (*proto == "http" || *proto == "https"))
            .cloned()
            .unwrap_or(HeaderValue::from_static("http"));
        // The service's own host takes the place of the one that was asked for.
        let asked_for = headers.remove(HOST);
        let host = headers
            .get(FORWARDED_HOST)
            .filter(|_| believed)
            .cloned()
            .or(asked_for);
        for name in &FORWARDED {
            headers.remove(name);
        }
        let line = hops
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        if let Ok(line) = HeaderValue::try_from(line) {
            headers.insert(FOR, line);
        }
        headers.insert(PROTO, proto);
        if let Some(host) = host {
            headers.insert(FORWARDED_HOST, host);
        }
        hops.first().copied().unwrap_or(peer)
    }

    /// The client and the proxies after it, in the order of their hops.
    fn hops(&self, headers: &HeaderMap, peer: IpAddr) -> Vec<IpAddr> {
        let told: Vec<&str> = headers
            .get_all(FOR)
            .iter()
            .flat_map(|line| line.to_str().unwrap_or_default().split(','))
            .collect();
        let mut hops = vec![peer];
        for hop in told.into_iter().rev() {
            // What cannot be read was not written by a proxy of ours: the hop after it is the last
            // that is known.
            let Ok(hop) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            let hop = hop.to_canonical();
            hops.push(hop);
            if !self.trusts(hop) {
                break;
            }
        }
        hops.reverse();
        hops
    }
}

/// A network, or a single address: one of `TRUSTED_PROXIES`.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "must be like 10.0.0.0/8, ::1/128 or 10.0.0.1".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::IpAddr;

    use http::{HeaderMap, HeaderValue};

    use super::TrustedProxies;

    const PROXY: &str = "10.0.0.1";
    const STRANGER: &str = "203.0.113.9";

    fn told(peer: &str, chain: &str) -> (IpAddr, HeaderMap) {
        let networks = ["10.0.0.0/8", "fd00::/8"];
        let networks = networks.map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("inner"));
        headers.insert("x-forwarded-for", HeaderValue::try_from(chain).unwrap());
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        headers.insert(
            "x-forwarded-host",
            HeaderValue::from_static("video.example"),
        );
        headers.insert("x-real-ip", HeaderValue::from_static("1.1.1.1"));
        headers.insert("forwarded", HeaderValue::from_static("for=1.1.1.1"));
        let client =
            TrustedProxies::new(networks.into()).rewrite(&mut headers, peer.parse().unwrap());
        (client, headers)
    }

    #[test]
    fn a_stranger_is_believed_nothing() {
        let (client, headers) = told(STRANGER, "198.51.100.7");
        assert_eq!(client.to_string(), STRANGER);
        assert_eq!(headers["x-forwarded-for"], STRANGER);
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "inner");
        assert!(!headers.contains_key("host"));
        assert!(!headers.contains_key("x-real-ip"));
        assert!(!headers.contains_key("forwarded"));
    }

    #[test]
    fn our_proxy_is_believed_about_the_client_scheme_and_host() {
        let (client, headers) = told(PROXY, "198.51.100.7");
        assert_eq!(client.to_string(), "198.51.100.7");
        assert_eq!(headers["x-forwarded-for"], "198.51.100.7, 10.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "video.example");
        assert!(!headers.contains_key("x-real-ip"));
    }

    #[test]
    fn what_a_client_invents_in_front_of_its_address_is_dropped() {
        let (client, headers) = told(PROXY, "1.2.3.4, 10.9.9.9, 198.51.100.7, 10.0.0.2");
        assert_eq!(client.to_string(), "198.51.100.7");
        assert_eq!(
            headers["x-forwarded-for"],
            "198.51.100.7, 10.0.0.2, 10.0.0.1"
        );
    }

    #[test]
    fn an_unreadable_hop_ends_what_is_believed() {
        let (client, headers) = told(PROXY, "198.51.100.7, nonsense, 10.0.0.2");
        assert_eq!(client.to_string(), "10.0.0.2");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.2, 10.0.0.1");
    }

    #[test]
    fn a_request_that_tells_of_no_hop_is_told_of_this_one() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("video.example"));
        let peer = STRANGER.parse().unwrap();
        let client = TrustedProxies::default().rewrite(&mut headers, peer);
        assert_eq!(client, peer);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["x-forwarded-for"], STRANGER);
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "video.example");
    }

    #[test]
    fn an_ipv4_peer_of_a_dual_stack_socket_is_its_ipv4_address() {
        let (client, _) = told("::ffff:10.0.0.1", "::ffff:198.51.100.7");
        assert_eq!(client.to_string(), "198.51.100.7");
    }
}
