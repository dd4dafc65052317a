//! The thread that reads one connection.
//!
//! It asks libsrt for what is due, and sleeps [`POLL`] when nothing is. libsrt's blocking receive would
//! need no polling, but 1.5.1 loses a packet with it: woken by the publisher's SHUTDOWN it takes the
//! next packet out of its buffer, sees that the connection is broken, and answers with that error
//! instead of the packet. (One that ends by its time limit gives a packet out before its time.) Its
//! epoll wakes every waiter of the process for every packet. Polled, four packets of a 10 Mbit/s stream
//! are fetched at a time.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::connection::{End, Link};
use crate::sys::{Fault, MAX_PAYLOAD, Numeric, Socket};

/// Packets between a connection's thread and its reader: 1.3 MB, 1 s of 10 Mbit/s.
pub const HANDOVER_PACKETS: usize = 1024;

/// How long the thread sleeps when nothing is due: what this adds to the latency at most.
const POLL: Duration = Duration::from_millis(4);

/// Packets are cut from blocks of this size, so that there is no allocation for each.
const BLOCK: usize = 64 * 1024;

/// Past the agreed latency every packet is due. Longer than that it waits only behind a hole that
/// nobody fills any more; libsrt gives out nothing behind it and would keep it for a minute.
const DRAIN_MARGIN: Duration = Duration::from_millis(250);

/// How often libsrt's counters are read.
const COUNT_EVERY: Duration = Duration::from_millis(250);

const STACK: usize = 256 * 1024;

pub(crate) fn spawn(
    socket: Arc<Socket>,
    packets: mpsc::Sender<Bytes>,
    link: Link,
    no_data_timeout: Duration,
) -> io::Result<()> {
    let reader = Reader {
        socket,
        packets,
        link,
        block: BytesMut::new(),
        idle: Idle::new(no_data_timeout),
    };
    thread::Builder::new()
        .name("srt-read".to_owned())
        .stack_size(STACK)
        .spawn(move || reader.run())
        .map(drop)
}

struct Reader {
    socket: Arc<Socket>,
    packets: mpsc::Sender<Bytes>,
    link: Link,
    block: BytesMut,
    idle: Idle,
}

impl Reader {
    fn run(mut self) {
        let end = self.read_to_the_end();
        // Before the channel closes, so that who sees it closed also sees why.
        let _ = self.link.end.set(end);
        drop(self.packets);
        self.socket.close();
    }

    fn read_to_the_end(&mut self) -> End {
        // Set when the publisher is gone: by then the rest was given out.
        let mut drained_by = None;
        loop {
            self.idle.look(&self.link);
            match self.receive() {
                // Waits while the channel is full; see "When the reader lags" at the crate.
                Ok(packet) => match self.packets.blocking_send(packet) {
                    Ok(()) => self.idle.since = Instant::now(),
                    Err(_) => return End::Closed,
                },
                Err(_) if self.link.closed.is_cancelled() => return End::Closed,
                Err(fault) if fault.is_not_yet() && self.idle.is_over() => {
                    return End::NoData(self.idle.limit);
                }
                Err(fault) if fault.is_not_yet() => thread::sleep(POLL),
                Err(fault) if fault.is_broken() => {
                    let deadline = *drained_by.get_or_insert_with(|| self.drain_deadline());
                    if self.is_empty() || Instant::now() > deadline {
                        return End::Peer;
                    }
                    thread::sleep(POLL);
                }
                Err(fault) => {
                    tracing::debug!(error = %fault, "the connection ended");
                    return End::Peer;
                }
            }
        }
    }

    fn receive(&mut self) -> Result<Bytes, Fault> {
        if self.block.capacity() < MAX_PAYLOAD {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        self.socket.receive(&mut self.block)?;
        Ok(self.block.split().freeze())
    }

    fn drain_deadline(&self) -> Instant {
        Instant::now() + self.link.latency + DRAIN_MARGIN
    }

    fn is_empty(&self) -> bool {
        self.socket
            .get(Numeric::Buffered)
            .map_or(true, |packets| packets == 0)
    }
}

/// Since when nothing came. Packets count when they arrive, for with a latency of 8 s the first is
/// given out after 8 s; and when they are given out, so that nothing is thrown away that did arrive.
struct Idle {
    limit: Duration,
    since: Instant,
    counted: u64,
    counted_at: Instant,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: Instant::now(),
            counted: 0,
            counted_at: Instant::now(),
        }
    }

    /// Looks at libsrt's counters now and then; this also keeps them for the time after the end, when
    /// libsrt has none.
    fn look(&mut self, link: &Link) {
        if self.counted_at.elapsed() < COUNT_EVERY {
            return;
        }
        self.counted_at = Instant::now();
        let counted = link.stats().packets_received;
        if counted > self.counted {
            self.counted = counted;
            self.since = self.counted_at;
        }
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() >= self.limit
    }
}
