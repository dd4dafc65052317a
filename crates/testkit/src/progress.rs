//! Progress on the terminal: what is being done and for how long, in colour where a person reads it.

use std::{
    io::{IsTerminal, Write},
    time::Instant,
};

/// Prints one line an event, with the time since the start.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    start: Instant,
    colour: bool,
}

impl Progress {
    /// Starts the clock.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Something is being waited for.
    pub fn working(&self, what: &str) {
        self.line("33", "…", what);
    }

    /// Something is done.
    pub fn done(&self, what: &str) {
        self.line("32", "✓", what);
    }

    /// Something is not as it should be, and it goes on.
    pub fn warn(&self, what: &str) {
        self.line("31", "!", what);
    }

    /// A plain line.
    pub fn say(&self, what: &str) {
        let mut out = std::io::stdout().lock();
        // A closed pipe is no reason to stop.
        let _ = writeln!(out, "{what}").and_then(|()| out.flush());
    }

    /// The text in bold, where there is colour.
    pub fn bold(&self, text: &str) -> String {
        if self.colour {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn line(&self, colour: &str, mark: &str, what: &str) {
        let elapsed = self.start.elapsed().as_secs_f64();
        if self.colour {
            self.say(&format!(
                "\x1b[2m{elapsed:>7.1} s\x1b[0m \x1b[{colour}m{mark}\x1b[0m {what}"
            ));
        } else {
            self.say(&format!("{elapsed:>7.1} s {mark} {what}"));
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
