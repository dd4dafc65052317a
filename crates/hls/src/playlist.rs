//! Playlists as data: what we write, and a strict reader for exactly that.
//!
//! RFC 8216 with the tags of section 4.3; `EXT-X-GAP` is from RFC 8216bis section 4.4.4.7. The
//! reader exists for our own playlists (a successor reads what its predecessor published), so it
//! refuses what we never write instead of guessing.

mod low_latency;
mod master;
mod media;

pub use low_latency::{LiveRendition, Part, Position, Reload, Report};
pub use master::{MasterPlaylist, Variant};
pub use media::{Entry, MediaPlaylist, TARGET_DURATION_S};

/// The text is no playlist of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PlaylistError {
    /// Line number from 1; 0 for the text as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Longest text that is read: above any playlist of ours.
const TEXT_LIMIT: usize = 4 << 20;
/// `EXT-X-GAP` needs version 8 (RFC 8216bis section 8).
const VERSION: u32 = 8;

fn check_length(text: &str) -> Result<(), PlaylistError> {
    if text.len() > TEXT_LIMIT {
        return Err(PlaylistError {
            line: 0,
            problem: "longer than any playlist of ours",
        });
    }
    Ok(())
}
