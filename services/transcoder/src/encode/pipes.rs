//! The pipes ffmpeg writes to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use marquee_hls::Rung;
use nix::fcntl::{FcntlArg, fcntl};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::silence::SilenceFiller;

/// Room in a pipe: at the default 64 KiB (0.1 s of 1080p) a reader that is late for a moment holds
/// every rung.
const PIPE_BYTES: i32 = 1 << 20;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// A pipe's two ends: ours, and the one that is handed to the child. Both are closed on exec.
pub(super) fn open() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    if let Err(error) = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)) {
        // Beyond the user's share of pipe memory (`fs.pipe-user-pages-soft`); it works without.
        tracing::debug!(%error, "a pipe stays at its default size");
    }
    Ok((
        pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?,
        OwnedFd::from(writer),
    ))
}

/// Gives all that comes out of a pipe to `sink`, for each of `rungs`, and `None` at its end.
///
/// It awaits nothing but the pipe: a rung that is read late holds all others, since ffmpeg writes
/// them in turn.
pub(super) async fn drain<S>(
    mut pipe: pipe::Receiver,
    rungs: Vec<Rung>,
    mut silence: Option<SilenceFiller>,
    sink: Arc<S>,
) where
    S: Fn(Rung, Option<&[u8]>) + Send + Sync + 'static,
{
    let mut buffer = vec![0; READ_BYTES];
    let mut with_silence = Vec::new();
    loop {
        let read = match pipe.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(error) => {
                tracing::warn!(%error, "an encoder's pipe cannot be read");
                break;
            }
        };
        let bytes = match &mut silence {
            None => read,
            Some(filler) => {
                with_silence.clear();
                filler.push(read, &mut with_silence);
                with_silence.as_slice()
            }
        };
        if bytes.is_empty() {
            continue;
        }
        for rung in &rungs {
            sink(*rung, Some(bytes));
        }
    }
    for rung in rungs {
        sink(rung, None);
    }
}
