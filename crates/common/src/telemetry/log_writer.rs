//! Writes the log beside the work.
//!
//! A thread of its own writes what came within [`GATHER`] at once: a line costs its request neither a
//! system call nor a thread to wake, and whoever reads the log slowly, a container's log driver say,
//! holds up nobody. What it is too slow for is counted and dropped, so that memory stays bounded.
//! (tracing-appender wakes its thread, and writes, once a line; both were a fifth of what a request
//! cost the gateway.)

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);
/// Most that waits to be written, in bytes.
const MOST_WAITING: usize = 4 * 1024 * 1024;

/// Takes lines; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// The first line after a silence came, or the end.
    changed: Condvar,
    lost_lines: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    ending: bool,
}

/// The thread that writes.
#[derive(Debug)]
pub(super) struct LogThread {
    writer: LogWriter,
    /// Nothing is ever sent; it is closed when the thread has ended.
    ended: mpsc::Receiver<()>,
}

impl LogWriter {
    /// Starts the thread, which writes to `output`.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Self, LogThread)> {
        let writer = Self::default();
        let (alive, ended) = mpsc::channel();
        let shared = Arc::clone(&writer.0);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                shared.write_to(output);
                drop(alive);
            })?;
        let thread = LogThread {
            writer: writer.clone(),
            ended,
        };
        Ok((writer, thread))
    }

    /// Lines dropped so far.
    pub(super) fn lost_lines(&self) -> u64 {
        self.0.lost_lines.load(Ordering::Relaxed)
    }
}

impl LogThread {
    /// Has everything written, and waits for that at most `patience`. Later lines are lost.
    pub(super) fn end(self, patience: Duration) {
        self.writer.0.waiting().ending = true;
        self.writer.0.changed.notify_one();
        let _ = self.ended.recv_timeout(patience);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let is_last = self.gather(&mut batch);
            // Nobody is left to be told that the log itself cannot be written.
            let _ = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            if is_last {
                return;
            }
        }
    }

    /// Waits for lines, and takes them; whether they are the last.
    fn gather(&self, batch: &mut Vec<u8>) -> bool {
        let is_silent = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.ending;
        let waiting = self
            .changed
            .wait_while(self.waiting(), is_silent)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) = self
            .changed
            .wait_timeout_while(waiting, GATHER, |waiting| !waiting.ending)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.bytes, batch);
        waiting.ending
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &LogWriter {
    /// Takes a whole line, or drops it whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.waiting();
        if waiting.ending || waiting.bytes.len() + line.len() > MOST_WAITING {
            self.0.lost_lines.fetch_add(1, Ordering::Relaxed);
            return Ok(line.len());
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.changed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    /// Hands over what is written; blocks while nobody takes it.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (Pipe, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::sync_channel(0);
        (Pipe(sender), receiver)
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn lines_of_many_threads_come_out_whole_each_threads_in_order() {
        let (pipe, output) = pipe();
        let (writer, thread) = LogWriter::start(pipe).unwrap();
        let reader = thread::spawn(move || output.iter().collect::<Vec<_>>().concat());
        thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let writer = &writer;
                scope.spawn(move || {
                    for number in 0..500 {
                        (&mut &*writer)
                            .write_all(format!("{name} {number}\n").as_bytes())
                            .unwrap();
                    }
                });
            }
        });
        thread.end(PATIENCE);
        let text = String::from_utf8(reader.join().unwrap()).unwrap();
        for name in ["a", "b", "c"] {
            let numbers: Vec<_> = text
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok())
                .collect();
            assert_eq!(numbers, (0..500).collect::<Vec<_>>());
        }
        assert_eq!(writer.lost_lines(), 0);
    }

    #[test]
    fn a_line_is_written_without_another_one_behind_it() {
        let (pipe, output) = pipe();
        let (writer, _thread) = LogWriter::start(pipe).unwrap();
        for line in ["one\n", "two\n"] {
            (&mut &writer).write_all(line.as_bytes()).unwrap();
            assert_eq!(output.recv_timeout(PATIENCE).unwrap(), line.as_bytes());
        }
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody_and_costs_so_much_memory() {
        let (pipe, output) = pipe();
        let (writer, thread) = LogWriter::start(pipe).unwrap();
        let line = vec![b'x'; 64 * 1024];
        let written = 3 * MOST_WAITING / line.len();
        for _ in 0..written {
            (&mut &writer).write_all(&line).unwrap();
        }
        let lost = usize::try_from(writer.lost_lines()).unwrap();
        assert!(lost > 0);
        assert!(writer.0.waiting().bytes.len() <= MOST_WAITING);
        // What was not lost comes out as soon as somebody reads again.
        let reader = thread::spawn(move || output.iter().map(|bytes| bytes.len()).sum::<usize>());
        thread.end(PATIENCE);
        assert_eq!(reader.join().unwrap(), (written - lost) * line.len());
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_stands_still() {
        let (pipe, _output) = pipe();
        let (writer, thread) = LogWriter::start(pipe).unwrap();
        (&mut &writer).write_all(b"line\n").unwrap();
        thread.end(Duration::from_millis(1));
    }
}
