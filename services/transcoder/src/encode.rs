//! Runs ffmpeg: the publisher's transport stream in, one MPEG-TS pipe a rendition out.
//!
//! One [`Encoder`] is one ffmpeg process. It is started with an [`EncodePlan`], fed with
//! [`Encoder::write`], and hands what comes out of each pipe to a sink. Pipes and a segmenter of our
//! own rather than ffmpeg's HLS output, which loses segments silently when the store is slow and
//! cannot make low-latency parts (DESIGN.md section 3).
//!
//! ```text
//! let mut encoder = Encoder::start(&plan, sink)?;        // sink(rung, Some(bytes)), …, sink(rung, None)
//! loop {
//!     select! {
//!         exit = encoder.exited() => …,                  // it fell: exit.log says why
//!         chunk = input.recv() => encoder.write(chunk).await?,
//!     }
//! }
//! let exit = encoder.finish().await;                     // flushes to the last frame
//! ```
//!
//! The sink is called on the runtime's threads, one call at a time a rung, and must not block: while
//! it does, all rungs wait. When `finish` or `exited` has answered, no call follows.
//!
//! Where a plan takes its sound from the source, a hole in it of more than a second is filled with
//! silence in every rung until it is back, so that players do not wait for a track that stopped.
//! Where the source has no sound and the broadcast has, all of it is silence.

use std::collections::VecDeque;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use command_fds::{CommandFdExt, FdMapping};
use marquee_hls::Rung;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ladder::{EncodePlan, Picture, Sound};

mod arguments;
mod log;
mod pipes;
pub(crate) mod program;
mod progress;
mod silence;
mod supervise;
mod thumbnail;

pub use arguments::{THUMBNAIL_SECONDS, ffmpeg_arguments};
pub use progress::Progress;
pub use supervise::EncoderExit;

use log::LogTail;
use progress::ProgressReader;
use silence::SilenceFiller;
use supervise::{Order, supervise};

/// Input that may wait here while a caller gives up waiting for it again and again.
const MAX_UNWRITTEN_BYTES: usize = 16 << 20;

/// How long an encoder is waited for.
#[derive(Clone, Copy, Debug)]
pub struct EncoderLimits {
    /// For it to take input.
    pub write: Duration,
    /// For it to end by itself after the end of its input.
    pub flush: Duration,
    /// For it to end after SIGTERM, and again after SIGKILL.
    pub kill: Duration,
}

impl Default for EncoderLimits {
    fn default() -> Self {
        Self {
            write: Duration::from_secs(10),
            flush: Duration::from_secs(5),
            kill: Duration::from_secs(2),
        }
    }
}

/// Why an encoder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A pipe cannot be made.
    #[error("a pipe to the encoder cannot be opened")]
    Pipe(#[source] io::Error),
    /// ffmpeg cannot be started. (That it is not installed shows as an exit with code 127.)
    #[error("ffmpeg cannot be started")]
    Start(#[source] io::Error),
    /// It takes no more input because it ended; [`Encoder::exited`] says why.
    #[error("the encoder has ended")]
    Closed(#[source] io::Error),
    /// It has taken no input for too long.
    #[error("the encoder has taken no input for too long")]
    Stalled,
}

/// One running ffmpeg. Dropping it kills the process.
pub struct Encoder {
    stdin: Option<ChildStdin>,
    unwritten: VecDeque<Bytes>,
    unwritten_bytes: usize,
    limits: EncoderLimits,
    process_id: Option<u32>,
    orders: mpsc::Sender<Order>,
    exit: watch::Receiver<Option<EncoderExit>>,
    progress: watch::Receiver<Progress>,
    thumbnails: watch::Receiver<Option<Bytes>>,
}

impl Encoder {
    /// Starts ffmpeg for a plan. Needs a tokio runtime.
    pub fn start<S>(plan: &EncodePlan, sink: S) -> Result<Self, EncodeError>
    where
        S: Fn(Rung, Option<&[u8]>) + Send + Sync + 'static,
    {
        Self::start_with(plan, EncoderLimits::default(), sink)
    }

    /// As [`Encoder::start`], with other limits.
    pub fn start_with<S>(
        plan: &EncodePlan,
        limits: EncoderLimits,
        sink: S,
    ) -> Result<Self, EncodeError>
    where
        S: Fn(Rung, Option<&[u8]>) + Send + Sync + 'static,
    {
        let sink = Arc::new(sink);
        let mut readers = JoinSet::new();
        let mut mappings = Vec::with_capacity(plan.outputs.len() + 2);
        for (fd, output) in (arguments::FIRST_FD..).zip(&plan.outputs) {
            let (pipe, child_end) = pipes::open().map_err(EncodeError::Pipe)?;
            mappings.push(FdMapping {
                parent_fd: child_end,
                child_fd: fd,
            });
            let silence = silence_filler(plan);
            let rungs = output.rungs.clone();
            readers.spawn(pipes::drain(pipe, rungs, silence, Arc::clone(&sink)));
        }
        let (progress_pipe, child_end) = pipes::open().map_err(EncodeError::Pipe)?;
        mappings.push(FdMapping {
            parent_fd: child_end,
            child_fd: arguments::progress_fd(plan),
        });
        let mut thumbnail_pipe = None;
        if plan.thumbnail.is_some() {
            let (pipe, child_end) = pipes::open().map_err(EncodeError::Pipe)?;
            mappings.push(FdMapping {
                parent_fd: child_end,
                child_fd: arguments::thumbnail_fd(plan),
            });
            thumbnail_pipe = Some(pipe);
        }

        // Niced, so that under load the box falls behind in encoding and not in receiving.
        let mut command = program::media_program("nice");
        command
            .args(["-n", "5", "ffmpeg"])
            .args(ffmpeg_arguments(plan))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .fd_mappings(mappings)
            .map_err(|collision| EncodeError::Start(io::Error::other(collision)))?;
        let mut child = command.spawn().map_err(EncodeError::Start)?;
        // The pipes' write ends live in the command: with them open we would never see an end.
        drop(command);

        let (pictures, thumbnails) = watch::channel(None);
        if let Some(pipe) = thumbnail_pipe {
            readers.spawn(thumbnail::follow(pipe, pictures));
        }
        let (progress_out, progress) = watch::channel(Progress::default());
        readers.spawn(ProgressReader::new(Instant::now()).follow(progress_pipe, progress_out));
        let log = LogTail::default();
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(log.clone().follow(stderr));
        }
        let stdin = child.stdin.take();
        let process_id = child.id();
        let (orders, order_in) = mpsc::channel(2);
        let (exit_out, exit) = watch::channel(None);
        tokio::spawn(supervise(child, readers, log, order_in, exit_out));
        Ok(Self {
            stdin,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            limits,
            process_id,
            orders,
            exit,
            progress,
            thumbnails,
        })
    }

    /// Feeds it, waiting while it is busy.
    ///
    /// The bytes are taken at the call: a caller that gives up waiting (`select!`) loses nothing,
    /// they go out before those of the next call. After an error the encoder is of no more use;
    /// `finish` it for its log.
    pub fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), EncodeError>> {
        self.unwritten_bytes += bytes.len();
        self.unwritten.push_back(bytes);
        async move {
            if self.unwritten_bytes > MAX_UNWRITTEN_BYTES {
                return Err(EncodeError::Stalled);
            }
            match timeout(self.limits.write, self.write_all()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(EncodeError::Closed(error)),
                Err(_) => Err(EncodeError::Stalled),
            }
        }
    }

    async fn write_all(&mut self) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        while let Some(next) = self.unwritten.front_mut() {
            if next.is_empty() {
                self.unwritten.pop_front();
                continue;
            }
            let written = stdin.write(next).await?;
            next.advance(written);
            self.unwritten_bytes -= written;
        }
        Ok(())
    }

    /// Ends it in order: closes its input, so that it writes all it has, and waits for it and for
    /// the sink's last call; then SIGTERM, then SIGKILL.
    pub async fn finish(mut self) -> EncoderExit {
        // What a cancelled `write` left is part of the input.
        if timeout(self.limits.flush, self.write_all()).await.is_err() {
            tracing::warn!("an encoder takes no more input; ending it");
        }
        self.stdin = None;
        let steps = [
            (self.limits.flush, Order::Terminate),
            (self.limits.kill, Order::Kill),
        ];
        for (patience, order) in steps {
            if let Ok(exit) = timeout(patience, self.exited()).await {
                return exit;
            }
            tracing::warn!(?order, "an encoder does not end by itself");
            // The supervisor is only gone when the process is.
            let _ = self.orders.try_send(order);
        }
        self.killed().await
    }

    /// Ends it at once; what it has not written is lost.
    pub async fn abort(self) -> EncoderExit {
        // The supervisor is only gone when the process is.
        let _ = self.orders.try_send(Order::Kill);
        self.killed().await
    }

    async fn killed(&self) -> EncoderExit {
        timeout(self.limits.kill, self.exited())
            .await
            .unwrap_or_else(|_| {
                tracing::error!(process = self.process_id, "an encoder survives SIGKILL");
                unknown_exit()
            })
    }

    /// Resolves when the process has ended and everything it wrote went through the sink. Borrows
    /// nothing, so that it can stand in a `select!` beside [`Encoder::write`].
    pub fn exited(&self) -> impl Future<Output = EncoderExit> + Send + 'static {
        let mut exit = self.exit.clone();
        async move {
            match exit.wait_for(Option::is_some).await {
                Ok(exit) => exit.clone().unwrap_or_else(unknown_exit),
                // The runtime is going down.
                Err(_) => unknown_exit(),
            }
        }
    }

    /// How fast it works.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Its newest live thumbnail, a whole JPEG; a new one each [`THUMBNAIL_SECONDS`] of media where
    /// the plan has one.
    pub fn thumbnails(&self) -> watch::Receiver<Option<Bytes>> {
        self.thumbnails.clone()
    }

    /// The id of the process, for the operator.
    pub fn process_id(&self) -> Option<u32> {
        self.process_id
    }
}

fn unknown_exit() -> EncoderExit {
    EncoderExit {
        success: false,
        signal: None,
        code: None,
        log: Vec::new(),
    }
}

/// Silence follows the picture's clock; sound alone has none to follow.
fn silence_filler(plan: &EncodePlan) -> Option<SilenceFiller> {
    match (plan.sound, plan.picture) {
        (Sound::Silence, _) => Some(SilenceFiller::of_all()),
        (Sound::Source, Picture::Source) => Some(SilenceFiller::of_holes()),
        _ => None,
    }
}
