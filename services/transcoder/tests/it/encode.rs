//! Sources of every kind through inspector, copy rule, a real ffmpeg and the segmenter, driven as a
//! session drives them: all rungs have to be cut at the same frames.

mod audio;
pub mod clips;
mod gops;
mod parts;
mod process;
mod rig;
mod sizes;
mod trouble;
