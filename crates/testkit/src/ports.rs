//! Ports for private servers: the documented one where it is free, else another, and the same one
//! again at the next start.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use rand::Rng;

use crate::{
    error::{Result, StackError},
    state_file::{read_json, write_json},
};

/// Chosen below Linux's ephemeral range (32768…), or an outgoing connection of anybody could take
/// the port between this check and the server's bind.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A TCP port on which nothing listens.
///
/// # Panics
/// When a thousand tries find none.
pub fn free_port() -> u16 {
    pick(is_free_tcp)
}

/// A UDP port to which nothing is bound.
///
/// # Panics
/// When a thousand tries find none.
pub fn free_udp_port() -> u16 {
    pick(is_free_udp)
}

fn pick(free: fn(u16) -> bool) -> u16 {
    let mut random = rand::rng();
    (0..1000)
        .map(|_| random.random_range(RANGE))
        .find(|port| free(*port))
        .unwrap_or_else(|| panic!("no free port in {RANGE:?}"))
}

/// Both families are asked: a server on `[::1]` alone would otherwise get what is meant for ours,
/// since `localhost` is tried as IPv6 first.
fn is_free_tcp(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && free_or_no_ipv6(TcpListener::bind((Ipv6Addr::LOCALHOST, port)))
}

fn is_free_udp(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && free_or_no_ipv6(UdpSocket::bind((Ipv6Addr::LOCALHOST, port)))
}

fn free_or_no_ipv6<T>(bound: std::io::Result<T>) -> bool {
    match bound {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::AddrInUse | ErrorKind::PermissionDenied
        ),
    }
}

/// The ports of one stack, remembered in a file; it is read at each question because the servers are
/// started concurrently.
#[derive(Clone, Debug)]
pub struct Ports {
    file: PathBuf,
}

impl Ports {
    /// The ports remembered in `file`, which need not be there yet.
    pub fn at(file: &Path) -> Self {
        Self { file: file.into() }
    }

    /// The TCP port of `name`: the remembered one, else `documented`, else any; each only if free.
    pub fn tcp(&self, name: &str, documented: Option<u16>) -> Result<u16> {
        self.choose(name, documented, is_free_tcp)
    }

    /// The same for UDP.
    pub fn udp(&self, name: &str, documented: Option<u16>) -> Result<u16> {
        self.choose(name, documented, is_free_udp)
    }

    /// What `name` was given before, whether it is free or not: for a server that still runs.
    pub fn remembered(&self, name: &str) -> Result<Option<u16>> {
        Ok(self.load()?.get(name).copied())
    }

    fn choose(&self, name: &str, documented: Option<u16>, free: fn(u16) -> bool) -> Result<u16> {
        let mut by_name = self.load()?;
        let suits = |port: &u16| {
            let ours = by_name.iter().any(|(other, p)| p == port && other != name);
            !ours && free(*port)
        };
        let port = [by_name.get(name).copied(), documented]
            .into_iter()
            .flatten()
            .chain((0..1000).map(|_| pick(free)))
            .find(suits)
            .ok_or_else(|| StackError::Refused(format!("no free port for {name}")))?;
        by_name.insert(name.to_owned(), port);
        write_json(&self.file, &by_name)?;
        Ok(port)
    }

    fn load(&self) -> Result<BTreeMap<String, u16>> {
        Ok(read_json(&self.file)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_port_is_kept_while_it_is_free_and_given_up_when_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ports.json");
        let first = Ports::at(&file).tcp("redis", None).unwrap();
        let again = Ports::at(&file).tcp("redis", Some(6379)).unwrap();
        assert_eq!(first, again);

        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let other = Ports::at(&file).tcp("redis", None).unwrap();
        assert_ne!(first, other);
    }

    #[test]
    fn two_names_never_share_a_documented_port() {
        let dir = tempfile::tempdir().unwrap();
        let ports = Ports::at(&dir.path().join("ports.json"));
        let documented = free_port();
        let one = ports.tcp("a", Some(documented)).unwrap();
        let two = ports.tcp("b", Some(documented)).unwrap();
        assert_ne!(one, two);
    }
}
