//! The thread that writes the access log to standard output.

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
};

/// Pieces of some 32 KiB that wait to be written.
const WAITING: usize = 128;

/// Writes whole lines, in the order in which each worker hands them over; ends when all who hand
/// over are gone.
#[derive(Debug)]
pub struct LogWriter {
    sender: SyncSender<Vec<u8>>,
    thread: JoinHandle<()>,
}

impl LogWriter {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("access log".to_owned())
            .spawn(move || write_all(&receiver))?;
        Ok(Self { sender, thread })
    }

    pub(super) fn sender(&self) -> SyncSender<Vec<u8>> {
        self.sender.clone()
    }

    /// Ends when the last worker's lines are written, or whoever reads them does not. To be called
    /// when the workers have ended.
    pub fn end(self) -> JoinHandle<()> {
        self.thread
    }
}

fn write_all(lines: &Receiver<Vec<u8>>) {
    for text in lines {
        // Nobody reads it any more: nothing that could be done here.
        let _ = io::stdout().write_all(&text);
    }
}
