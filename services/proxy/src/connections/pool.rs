//! Idle connections of one worker.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Connection;

/// An idle connection is given up after this: most servers keep theirs longer, so that they are
/// rarely the first to close one just as a request sets out on it.
const IDLE: Duration = Duration::from_secs(15);
/// Idle connections kept to one address, and to all.
const MAX_EACH: usize = 256;
const MAX_ALL: usize = 1_024;

/// Idle connections by address; the one that was used last is used first.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    by_address: HashMap<SocketAddr, Vec<(Connection, Instant)>>,
    count: usize,
}

impl Pool {
    /// A connection that was still open a moment ago.
    pub fn take(&self, address: SocketAddr) -> Option<Connection> {
        loop {
            let mut connection = self.idle().pop(address)?;
            if connection.is_open() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that has answered its last request to the end.
    pub fn put(&self, connection: Connection) {
        let address = connection.address();
        let mut idle = self.idle();
        if idle.count >= MAX_ALL {
            return;
        }
        let connections = idle.by_address.entry(address).or_default();
        if connections.len() < MAX_EACH {
            connections.push((connection, Instant::now()));
            idle.count += 1;
        }
    }

    /// Gives up what has been idle for too long, and what its server has closed. Called every few
    /// seconds.
    pub fn sweep(&self) {
        let mut idle = self.idle();
        let mut count = 0;
        idle.by_address.retain(|_, connections| {
            connections
                .retain_mut(|(connection, since)| since.elapsed() < IDLE && connection.is_open());
            count += connections.len();
            !connections.is_empty()
        });
        idle.count = count;
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, address: SocketAddr) -> Option<Connection> {
        let connections = self.by_address.get_mut(&address)?;
        let (connection, since) = connections.pop()?;
        self.count -= 1;
        if since.elapsed() < IDLE {
            return Some(connection);
        }
        // The others are older still.
        self.count -= connections.len();
        connections.clear();
        None
    }
}
