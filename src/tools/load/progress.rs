//! The line that moves, for somebody who watches.

use std::io::{IsTerminal, Write, stderr};

/// How often the line changes, in nanoseconds.
const STEP: u64 = 200_000_000;

/// A line on standard error, when that is a terminal.
pub(super) struct Progress {
    shown: bool,
    next: u64,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self { shown: !quiet && stderr().is_terminal(), next: 0 }
    }

    /// Shows the line if it is time to.
    pub(super) fn tick(&mut self, nanos: u64, line: impl FnOnce() -> String) {
        if self.shown && nanos >= self.next {
            self.next = nanos + STEP;
            // Nobody may be reading any more.
            let _ = write!(stderr(), "\r\x1b[K{}", line());
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
