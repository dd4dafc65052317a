//! What at least two Marquee services need, so that it is written once.
//!
//! [`contract`] is pure data and always there; everything else is behind a feature, so that a
//! service builds only what it uses.

pub mod contract;
