//! Files that tell a later launcher what an earlier one did: never half written, whatever ends the
//! writer.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::ErrorKind,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use crate::error::{Result, StackError};

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StackError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder that may be gone already.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StackError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Reads a file, if it is there.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| StackError::Json {
                path: path.into(),
                source,
            }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StackError::io(path)(error)),
    }
}

/// Writes a file that only its owner reads, whole or not at all.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_vec_pretty(value).map_err(|source| StackError::Json {
        path: path.into(),
        source,
    })?;
    // Renamed into place, so that a reader or a kill in between never finds half a file.
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&part)
        .map_err(StackError::io(&part))?;
    fs::set_permissions(&part, fs::Permissions::from_mode(0o600)).map_err(StackError::io(&part))?;
    std::io::Write::write_all(&mut file, &json).map_err(StackError::io(&part))?;
    fs::rename(&part, path).map_err(StackError::io(path))
}

/// Waits until nobody else holds the lock on this file; it ends with the returned value, or with the
/// process.
pub(crate) async fn wait_for_lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(StackError::io(path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(TryLockError::Error(error)) => return Err(StackError::io(path)(error)),
        }
    }
}
