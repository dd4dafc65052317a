//! What the gateway and the proxy both do to the headers of a request that they pass on.

mod hop_by_hop;
mod trusted_proxies;

pub use hop_by_hop::{name_one_host, strip_hop_by_hop};
pub use trusted_proxies::{Peer, TrustedProxies, parse_network};
