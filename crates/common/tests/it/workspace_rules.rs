//! The dependency rules of the workspace (docs/ARCHITECTURE.md), kept by reading its manifests and
//! sources.

mod manifests;
mod source;
mod sources;
