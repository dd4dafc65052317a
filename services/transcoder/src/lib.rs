//! The transcoder: takes publishers in by SRT and RTMP, makes the ladder with ffmpeg, cuts it into HLS
//! segments and stores them and their playlists in S3.
//!
//! - Owns: the objects `{stream_id}/…` of the `live-segments` bucket, while the stream service
//!   says so. No database.
//! - Consumes: publishers by SRT and RTMP; `POST /internal/streams/{id}/disconnect` and `…/finalize`.
//! - Emits: webhooks (`live`, `health`, `interrupted`, `ended`) and renewals to the stream service.
//!
//! One [`session`] an admitted stream runs the whole path: [`source`] looks at what comes in,
//! [`encode`] runs ffmpeg, `marquee_hls` cuts, [`output`] stores. [`lease`] decides at each moment
//! whether this process may still write playlists.

pub mod admission;
pub mod app;
pub mod authority;
pub mod config;
pub mod edge;
pub mod encode;
pub mod events;
pub mod finalize;
pub mod ingest;
pub mod ladder;
pub mod lease;
pub mod output;
pub mod registry;
pub mod renewal;
pub mod routes;
pub mod session;
pub mod source;
