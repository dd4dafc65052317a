//! Stopping a stack: by its pid files, and by the marker for what they do not know.

use tokio::task::JoinSet;

use super::StackDir;
use crate::{
    error::Result,
    process::{Record, kill_marked},
    progress::Progress,
    state_file::{remove_dir, remove_file},
};

/// Stops every process of the stack and returns how many ran.
pub async fn stop_all(dir: &StackDir, progress: &Progress) -> Result<usize> {
    let records = dir.records()?;
    let mut stopped = 0;
    for rank in 0..=5 {
        let mut stopping = JoinSet::new();
        for record in records.iter().filter(|record| self::rank(record) == rank) {
            if record.alive() {
                stopped += 1;
                let record = record.clone();
                stopping.spawn(async move { record.stop().await });
            }
        }
        stopping.join_all().await;
    }
    for record in &records {
        dir.forget(&record.spec.name)?;
    }
    // A launcher that was killed between a start and its pid file, or children of a process that
    // was killed: they carry the stack's marker.
    stopped += kill_marked(dir.root());
    remove_file(&dir.stack_file())?;
    if stopped > 0 {
        progress.done(&format!("{stopped} processes stopped"));
    }
    Ok(stopped)
}

/// Removes what a stopped stack has left in its folder: data, logs, ports and secrets.
pub fn purge(dir: &StackDir) -> Result<()> {
    for folder in ["data", "log", "run"] {
        remove_dir(&dir.root().join(folder))?;
    }
    for file in ["ports.json", "secrets.json", "options.json"] {
        remove_file(&dir.root().join(file))?;
    }
    Ok(())
}

/// Who is stopped before whom: a transcoder finishes its broadcasts with the help of the stream
/// service and of S3, and services finish theirs with the help of the servers.
fn rank(record: &Record) -> u8 {
    match record.spec.name.as_str() {
        "broadcaster" => 0,
        name if name.starts_with("transcoder") => 1,
        "postgres" | "redis" | "kafka" | "minio" | "radosgw" => 3,
        "ceph-osd" => 4,
        "ceph-mon" => 5,
        _ => 2,
    }
}
