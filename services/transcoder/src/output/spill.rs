//! Segments that storage did not take within a minute wait on disk, within one bound for all
//! streams, and survive a restart of the transcoder.
//!
//! A folder belongs to one process: what another one left there is stored at the start and removed,
//! which must not happen to one that runs.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

/// The spill folder. Files lie under the same relative path as their object key.
#[derive(Clone, Debug)]
pub struct Spill {
    shared: Arc<Shared>,
}

/// Locked by the process that uses the folder; freed by the system when it ends, however it ends.
const LOCK_FILE: &str = "in-use.lock";

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    _lock: File,
    max_bytes: u64,
    used_bytes: AtomicU64,
}

/// A segment on disk. Dropping it frees its bytes but leaves the file, which the next start stores.
#[derive(Debug)]
pub struct SpilledSegment {
    path: PathBuf,
    bytes: u64,
    spill: Spill,
}

/// A segment cannot be spilled.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// `SPILL_MAX_BYTES` wait already.
    #[error("the spill folder holds all it may")]
    Full,
    /// The file system refuses.
    #[error("the spill folder cannot be written")]
    Io(#[from] std::io::Error),
}

/// The folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process has it.
    #[error("another transcoder uses {}: give each its own", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The file system refuses.
    #[error("{} cannot be used", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Spill {
    /// Claims the folder `dir`, bounded by `max_bytes`, for this process; it is made if need be.
    pub fn claim(dir: PathBuf, max_bytes: u64) -> Result<Self, ClaimError> {
        let lock = std::fs::create_dir_all(&dir).and_then(|()| File::create(dir.join(LOCK_FILE)));
        let lock = match lock {
            Ok(lock) => lock,
            Err(source) => return Err(ClaimError::Io { dir, source }),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ClaimError::InUse { dir }),
            Err(TryLockError::Error(source)) => return Err(ClaimError::Io { dir, source }),
        }
        Ok(Self {
            shared: Arc::new(Shared {
                dir,
                _lock: lock,
                max_bytes,
                used_bytes: AtomicU64::new(0),
            }),
        })
    }

    /// Writes a segment under its object key: a temporary name first, so that no half file is ever
    /// taken for a segment.
    pub async fn store(&self, key: &str, bytes: &Bytes) -> Result<SpilledSegment, SpillError> {
        let reservation = self.reserve(key, bytes.len() as u64)?;
        let path = &reservation.path;
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        let unfinished = path.with_extension("part");
        let written = async {
            tokio::fs::write(&unfinished, bytes).await?;
            tokio::fs::rename(&unfinished, path).await
        }
        .await;
        if let Err(error) = written {
            // What could not be written whole must not fill the disk; failing that too changes nothing.
            let _ = tokio::fs::remove_file(&unfinished).await;
            return Err(error.into());
        }
        Ok(reservation)
    }

    /// Files left by a process that died, as `(object key, file)`.
    pub async fn leftovers(&self) -> std::io::Result<Vec<(String, SpilledSegment)>> {
        let dir = self.shared.dir.clone();
        let files = tokio::task::spawn_blocking(move || files_below(&dir))
            .await
            .map_err(std::io::Error::other)??;
        Ok(files
            .into_iter()
            .filter_map(|(path, bytes)| {
                let key = path
                    .strip_prefix(&self.shared.dir)
                    .ok()?
                    .to_str()?
                    .to_owned();
                self.shared.used_bytes.fetch_add(bytes, Ordering::Relaxed);
                Some((
                    key,
                    SpilledSegment {
                        path,
                        bytes,
                        spill: self.clone(),
                    },
                ))
            })
            .collect())
    }

    fn reserve(&self, key: &str, bytes: u64) -> Result<SpilledSegment, SpillError> {
        let shared = &self.shared;
        shared
            .used_bytes
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let after = used.checked_add(bytes)?;
                (after <= shared.max_bytes).then_some(after)
            })
            .map_err(|_| SpillError::Full)?;
        Ok(SpilledSegment {
            path: shared.dir.join(key),
            bytes,
            spill: self.clone(),
        })
    }
}

impl SpilledSegment {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, because the segment is stored, or given up.
    pub fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a spilled segment cannot be removed; the next start stores it again"
            );
        }
    }
}

impl Drop for SpilledSegment {
    fn drop(&mut self) {
        self.spill
            .shared
            .used_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn files_below(dir: &Path) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let path = entry.path();
            if metadata.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "ts") {
                found.push((path, metadata.len()));
            } else if path.file_name().is_none_or(|name| name != LOCK_FILE) {
                std::fs::remove_file(&path)?;
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bound_holds_over_all_streams_and_is_freed_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let spill = Spill::claim(dir.path().into(), 10).unwrap();
        let first = spill
            .store("a/1.ts", &Bytes::from_static(b"123456"))
            .await
            .unwrap();
        let refused = spill.store("b/1.ts", &Bytes::from_static(b"12345")).await;
        assert!(matches!(refused, Err(SpillError::Full)));
        first.remove();
        assert!(!dir.path().join("a/1.ts").exists());
        spill
            .store("b/1.ts", &Bytes::from_static(b"12345"))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_found_under_its_key_and_half_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let spill = Spill::claim(dir.path().into(), 100).unwrap();
        drop(
            spill
                .store("s/720p/1.ts", &Bytes::from_static(b"x"))
                .await
                .unwrap(),
        );
        std::fs::write(dir.path().join("s/720p/2.part"), b"half").unwrap();
        drop(spill);
        let after_restart = Spill::claim(dir.path().into(), 100).unwrap();
        let found = after_restart.leftovers().await.unwrap();
        let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["s/720p/1.ts"]);
        assert!(!dir.path().join("s/720p/2.part").exists());
    }

    #[test]
    fn a_folder_that_another_process_uses_is_refused_until_that_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Spill::claim(dir.path().into(), 100).unwrap();
        let second = Spill::claim(dir.path().into(), 100);
        assert!(matches!(second, Err(ClaimError::InUse { .. })));
        drop(first);
        Spill::claim(dir.path().into(), 100).unwrap();
    }
}
