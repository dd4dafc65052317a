//! The pure media code of Marquee: reading MPEG-TS, cutting it into segments that are aligned over
//! all rungs, naming them, and writing the playlists that list them. No I/O.

mod gops;
mod name;
mod rung;

pub mod h264;
pub mod playlist;
pub mod segmenter;
pub mod timeline;
pub mod ts;

pub use gops::RecentGops;
pub use name::{BroadcastTag, NameError, PartName, SegmentName};
pub use playlist::{
    Entry, LiveRendition, MasterPlaylist, MediaPlaylist, Part, PlaylistError, Position, Reload,
    Report, Variant,
};
pub use rung::{Rung, UnknownRung};
pub use segmenter::{
    CutPart, CutSegment, LadderSegmenter, PartTarget, RenditionParams, SegmentEvent,
    SegmenterConfig,
};
pub use timeline::RenditionTimeline;
