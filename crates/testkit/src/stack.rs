//! The local stack: everything the platform needs on one machine, private to one folder.

pub mod accounts;
pub mod broadcaster;
pub mod control;
pub mod demo;
pub mod dir;
pub mod down;
pub mod infra;
pub mod options;
pub mod report;
pub mod services;
pub mod up;

pub use dir::StackDir;
pub use options::Options;
