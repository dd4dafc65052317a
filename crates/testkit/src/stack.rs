//! The local stack: everything the platform needs on one machine, private to one folder.

pub mod dir;
pub mod down;
pub mod infra;

pub use dir::StackDir;
