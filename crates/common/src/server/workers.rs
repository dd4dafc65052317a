//! Threads that serve connections, each with a runtime of its own.
//!
//! For a service that passes requests on, or answers from memory, and computes next to nothing: a request
//! is read and answered by one thread. In a runtime of many threads every wake-up of a task also wakes an idle
//! thread to look for work, which costs such a service more than the request does
//! (bench/RESULTS.md, gateway).

use std::{io, num::NonZeroUsize, thread};

use tokio::{net::TcpListener, runtime, sync::oneshot};
use tokio_util::task::TaskTracker;

use super::{Lifecycle, express::Answers, listen::accept};

/// Tasks that are ready run before new bytes are looked for, up to so many: when one event makes
/// thousands of answers ready, as the next part does for all who wait for it, the last of them does not
/// wait for what the first ones ask next.
const ANSWERS_BEFORE_REQUESTS: u32 = 4096;

/// Starts `count` of them on one listening socket: a connection goes to whichever is free first.
pub(super) fn start(
    count: NonZeroUsize,
    listener: &std::net::TcpListener,
    answers: &Answers,
    lifecycle: &Lifecycle,
) -> io::Result<()> {
    for number in 0..count.get() {
        let ended = start_one(
            number,
            listener.try_clone()?,
            answers.clone(),
            lifecycle.clone(),
        )?;
        lifecycle.spawn("worker", async move {
            // Said by an end as well as by a panic: the sender is dropped.
            let _ = ended.await;
        });
    }
    Ok(())
}

fn start_one(
    number: usize,
    listener: std::net::TcpListener,
    answers: Answers,
    lifecycle: Lifecycle,
) -> io::Result<oneshot::Receiver<()>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(ANSWERS_BEFORE_REQUESTS)
        .build()?;
    let (alive, ended) = oneshot::channel::<()>();
    thread::Builder::new()
        .name(format!("worker {number}"))
        .spawn(move || {
            let _alive = alive;
            runtime.block_on(work(listener, &answers, &lifecycle));
            // Names that are still being looked up are nobody's any more.
            runtime.shutdown_background();
        })?;
    Ok(ended)
}

/// Accepts until the drain begins, then waits for its connections, at most until the grace is over.
async fn work(listener: std::net::TcpListener, answers: &Answers, lifecycle: &Lifecycle) {
    let connections = TaskTracker::new();
    match TcpListener::from_std(listener) {
        Ok(listener) => accept(listener, answers, lifecycle, &connections).await,
        Err(error) => return tracing::error!(%error, "cannot accept connections"),
    }
    connections.close();
    let hard = lifecycle.hard_token();
    tokio::select! {
        () = connections.wait() => {}
        () = hard.cancelled() => {}
    }
}
