//! Watches one ffmpeg process to its end.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::log::LogTail;

/// What is still in the pipes of a dead process is read in a moment.
const PIPES_DEADLINE: Duration = Duration::from_secs(5);

/// How an encoder ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderExit {
    /// It came to the end of its input and wrote everything.
    pub success: bool,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its exit code, when it ended by itself.
    pub code: Option<i32>,
    /// Its last log lines, oldest first.
    pub log: Vec<String>,
}

impl EncoderExit {
    fn of(status: Option<ExitStatus>, log: &LogTail) -> Self {
        Self {
            success: status.is_some_and(|status| status.success()),
            signal: status.and_then(|status| status.signal()),
            code: status.and_then(|status| status.code()),
            log: log.lines(),
        }
    }
}

/// How hard the process is asked to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// Waits for the process and then for the tasks that read its pipes; carries out orders meanwhile.
/// When the orders' sender is dropped the process is killed.
pub(super) async fn supervise(
    mut child: Child,
    mut readers: JoinSet<()>,
    log: LogTail,
    mut orders: mpsc::Receiver<Order>,
    exit: watch::Sender<Option<EncoderExit>>,
) {
    let mut owned = true;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            order = orders.recv(), if owned => {
                owned = order.is_some();
                signal(&mut child, order.unwrap_or(Order::Kill));
            }
        }
    };
    let status = status
        .inspect_err(|error| tracing::error!(%error, "an encoder cannot be waited for"))
        .ok();
    let all_read = async { while readers.join_next().await.is_some() {} };
    if timeout(PIPES_DEADLINE, all_read).await.is_err() {
        tracing::warn!("an encoder's pipes stay open after its end");
        readers.shutdown().await;
    }
    exit.send_replace(Some(EncoderExit::of(status, &log)));
}

fn signal(child: &mut Child, order: Order) {
    let sent = match order {
        Order::Kill => child.start_kill(),
        // The id is ours until `wait` has answered, so nobody else can have it.
        Order::Terminate => match child.id().and_then(|id| i32::try_from(id).ok()) {
            Some(id) => kill(Pid::from_raw(id), Signal::SIGTERM).map_err(Into::into),
            None => Ok(()),
        },
    };
    if let Err(error) = sent {
        tracing::warn!(%error, ?order, "an encoder cannot be signalled");
    }
}
