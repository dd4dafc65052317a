//! Whom a request is counted for.

use std::net::{IpAddr, Ipv6Addr};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// An IPv4 address, or the /64 of an IPv6 one: whoever has one address of it has them all.
pub fn place_of(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            format!("{network}/64")
        }
    }
}

/// The account that a login names, in the one spelling of all that mean it; empty where the body
/// cannot be read, which the service refuses.
pub fn account(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Login {
        #[serde(alias = "username", alias = "email")]
        login: String,
    }
    serde_json::from_slice(body)
        .map(|Login { login }| login.trim().to_lowercase())
        .unwrap_or_default()
}

/// The session that a heartbeat names.
pub fn session(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Heartbeat {
        session_id: Option<String>,
    }
    let heartbeat: Heartbeat = serde_json::from_slice(body).ok()?;
    heartbeat.session_id.filter(|session| !session.is_empty())
}

/// Short whatever the client sends, and no account's name in Redis.
pub fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    hex::encode(&digest.finalize()[..16])
}
