//! The only module that speaks with the C library, and the only one with `unsafe`.
//!
//! What leaves it is safe: [`Socket`] closes itself, errors are values, and no panic crosses into C.

mod fault;
mod hook;
mod library;
mod raw;
mod socket;

pub use fault::Fault;
pub use socket::{Counters, MAX_PAYLOAD, Numeric, Socket};
