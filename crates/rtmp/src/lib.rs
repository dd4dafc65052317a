//! A small RTMP server for publishers: encoders push H.264 or H.265 with AAC, the transcoder reads it
//! as MPEG-TS, as it reads what comes by SRT.
//!
//! Why our own: docs/adr/0019-own-rtmp-server.md.
//!
//! ```no_run
//! # use std::{net::SocketAddr, sync::Arc};
//! use marquee_rtmp::{Admission, Listener, ListenerConfig, Refusal};
//!
//! struct Anyone;
//! impl Admission for Anyone {
//!     fn knock(&self, _peer: SocketAddr) -> Result<(), Refusal> {
//!         Ok(())
//!     }
//!     fn check(&self, _key: &str, _peer: SocketAddr) -> Result<(), Refusal> {
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ListenerConfig::new("[::]:1935".parse()?);
//! let mut listener = Listener::bind(config, Arc::new(Anyone)).await?;
//! while let Ok(mut connection) = listener.accept().await {
//!     connection.admit();
//!     tokio::spawn(async move {
//!         while let Ok(Some(_mpeg_ts)) = connection.recv().await {}
//!     });
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//! [`Listener`] accepts and bounds; `wire` reads and writes with deadlines; `session` is the
//! conversation without a socket; under it `handshake`, `chunk` and `amf0` are the protocol, and
//! `remux` with `flv`, `nal` and `aac` makes a transport stream of the media. All but the first two
//! are pure.
//!
//! # What a stranger can cost
//! Until it asks to publish, a connection holds at most 128 KiB of unfinished messages in at most 64
//! chunk streams. From then to the verdict at most 64 KiB are read, and none of them is looked at; an
//! encoder that sends before it may is held back by TCP. It has ten seconds, all together, to ask to
//! publish, three of them for the handshake. Commands are at most 64 KiB, nested at most eight deep.
//! There are limits of connections that have not asked yet, for all and for each network; when all
//! places are taken, the network that holds most gives up its oldest.
//!
//! # What a publisher can cost
//! 10 MiB of unfinished messages, which is what the largest keyframe (8 MiB) needs, and that keyframe
//! as MPEG-TS. Of frames that are cheap to send, no more than 256 KiB are made before they are handed
//! over.
//!
//! # What is done without
//! Tracks beside the first, damaged frames and commands that cannot be read do not end a live that has
//! a usable track of that kind: they are dropped, counted ([`Connection::messages_dropped`]) and
//! logged twice a minute at most. A hundred in a row of one kind do end it.
//!
//! # When the reader lags
//! At most 16 pieces of 256 KiB wait. Nothing more is read from the socket, and TCP holds the publisher
//! back; no bytes are lost.
//!
//! # Secrets
//! The key is part of what a publisher sends as a path. No `Debug`, error or log line here contains it.

mod aac;
mod amf0;
mod chunk;
mod config;
mod connection;
mod error;
mod flv;
mod handshake;
mod listener;
mod nal;
mod places;
mod publication;
mod publish;
mod remux;
mod session;
mod wire;

pub use amf0::Amf0Error;
pub use chunk::ChunkError;
pub use config::ListenerConfig;
pub use connection::{Closer, Connection};
pub use error::{RecvError, RtmpError};
pub use flv::MediaError;
pub use handshake::NotRtmp;
pub use listener::Listener;
pub use publish::{Admission, PathError, Refusal};
pub use session::SessionError;
