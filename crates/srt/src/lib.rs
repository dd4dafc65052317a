//! A safe, asynchronous SRT listener over the system's libsrt: publishers push MPEG-TS, the
//! transcoder reads it as [`bytes::Bytes`].
//!
//! Why thin bindings of our own to this library: Debian's libsrt gets security fixes with the system,
//! costs 2 % of a core for a 10 Mbit/s stream, survives garbage from the network, and is already there
//! because ffmpeg needs it. The bindings need neither clang nor libsrt's sources.
//!
//! ```no_run
//! # use std::{net::SocketAddr, sync::Arc, time::Duration};
//! use marquee_srt::{Admission, Listener, ListenerConfig, Reject, parse_stream_id};
//!
//! struct Anyone;
//! impl Admission for Anyone {
//!     fn check(&self, stream_id: &str, _peer: SocketAddr) -> Result<(), Reject> {
//!         parse_stream_id(stream_id)?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ListenerConfig::new("[::]:8890".parse()?);
//! let mut listener = Listener::bind(&config, Arc::new(Anyone))?;
//! while let Ok(mut connection) = listener.accept().await {
//!     tokio::spawn(async move {
//!         while let Ok(Some(_mpeg_ts)) = connection.recv().await {}
//!     });
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//! libsrt has three of its own for a port, and one for each connection. Here one thread accepts, and
//! each connection has one that fetches packets and hands them to a bounded channel. They poll and
//! never wait inside libsrt (why: `reader.rs`, `sys/library.rs`). All of them end by themselves when their socket is closed, which [`Connection`] and
//! [`Listener`] do on drop; if one should die otherwise, [`Connection::recv`] or
//! [`Listener::accept`] says so. With the last socket of the process libsrt itself is shut down.
//!
//! # When the reader lags
//! A connection's channel holds [`HANDOVER_PACKETS`] packets (1 s of 10 Mbit/s). When it is full, its
//! thread stops taking from libsrt, whose receive buffer then fills (at least 11 MB, 9 s of
//! 10 Mbit/s; [`ListenerConfig::latency`]). When that is full too, new packets are dropped, the
//! sender repeats them until they are too late, and they count as dropped in [`Stats`]: what is lost
//! is the newest, in whole packets, and the connection stands. The other connections do not notice.
//!
//! # The end of a connection
//! A publisher's SHUTDOWN arrives while the last `latency` of its data still waits for its time.
//! libsrt says "connection lost" from then on, but goes on giving out what becomes due; so the
//! reader asks until the buffer is empty ([`Connection::recv`] then answers `None`). A publisher
//! that vanished is given up by a timer of our own ([`ListenerConfig::no_data_timeout`]).
//!
//! SRT repeats only what the receiver asks for, and that learns of a loss by the next packet: the very
//! last packet of a stream, if lost, stays lost.
//!
//! # The end of the process
//! `main` may return at any time, with connections open: libsrt is shut down on the way out.
//!
//! # Kernel buffers
//! libsrt asks for 12 MB of UDP receive buffer for the port; the system grants at most
//! `net.core.rmem_max`.
//!
//! # Secrets
//! A stream id holds the publisher's key. No `Debug`, error or log line here contains it, and
//! [`Passphrase`] shows as `***`.

mod admission;
mod config;
mod connection;
mod error;
mod listener;
mod reader;
mod stats;
mod stream_id;
#[expect(unsafe_code, reason = "libsrt is a C library; see the module")]
mod sys;

pub use admission::{Admission, Reject};
pub use config::{KeyLength, ListenerConfig, Passphrase, PassphraseError};
pub use connection::{Closer, Connection};
pub use error::{RecvError, SrtError};
pub use listener::Listener;
pub use reader::HANDOVER_PACKETS;
pub use stats::Stats;
pub use stream_id::{PublishRequest, StreamIdError, parse_stream_id};
pub use sys::Fault;
