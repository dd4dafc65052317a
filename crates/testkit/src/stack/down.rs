//! Stopping a stack: by its pid files, and by the marker for what they do not know.

use super::{StackDir, dir::remove_file};
use crate::{error::Result, process::kill_marked, progress::Progress};

/// Stops every process of the stack, the last started first, and returns how many ran.
pub async fn stop_all(dir: &StackDir, progress: &Progress) -> Result<usize> {
    let mut stopped = 0;
    for record in dir.records()?.into_iter().rev() {
        if record.alive() {
            record.stop().await;
            stopped += 1;
        }
        dir.forget(&record.spec.name)?;
    }
    // A launcher that was killed between a start and its pid file, or children of a process that
    // was killed: they carry the stack's marker.
    stopped += kill_marked(dir.root());
    remove_file(&dir.stack_file())?;
    progress.done(&format!("{stopped} processes stopped"));
    Ok(stopped)
}
