//! The line that moves, for somebody who watches.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

/// How often the line changes, in nanoseconds.
const STEP: u64 = 200_000_000;

/// A line on standard error, when that is a terminal.
pub(super) struct Progress {
    shown: bool,
    next: u64,
    /// When the line was last shown, and what had been counted by then.
    before: (u64, u64),
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self { shown: !quiet && stderr().is_terminal(), next: 0, before: (0, 0) }
    }

    /// Something new begins, and is counted from 0 on.
    pub(super) const fn begin(&mut self, nanos: u64) {
        self.next = nanos + STEP;
        self.before = (nanos, 0);
    }

    /// Shows the line if it is time to; `line` is told how many a second were counted since the last one.
    pub(super) fn tick<L: Display>(
        &mut self,
        nanos: u64,
        count: impl FnOnce() -> u64,
        line: impl FnOnce(f64) -> L,
    ) {
        if !self.shown || nanos < self.next {
            return;
        }
        let (count, (then, before)) = (count(), self.before);
        let per_second = count.saturating_sub(before) as f64 * 1e9 / (nanos - then) as f64;
        self.next = nanos + STEP;
        self.before = (nanos, count);
        // Without wrapping: what does not fit is cut, and would else stay. Nobody may be reading any more.
        let _ = write!(stderr(), "\r\x1b[K\x1b[?7l{}\x1b[?7h", line(per_second));
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.shown {
            // As above.
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// The time until `end`, such as `2:05 to go`; a second that has begun counts.
pub(super) fn to_go(end: u64, now: u64) -> String {
    let left = Duration::from_nanos(end.saturating_sub(now)).as_millis().div_ceil(1000);
    match (left / 3600, left / 60 % 60, left % 60) {
        (0, 0, seconds) => format!("{seconds} s to go"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02} to go"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02} to go"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_in_whole_seconds_that_have_begun() {
        for (millis, words) in [
            (1, "1 s to go"),
            (1000, "1 s to go"),
            (59_001, "1:00 to go"),
            (125_000, "2:05 to go"),
            (3_600_000, "1:00:00 to go"),
            (86_399_000, "23:59:59 to go"),
        ] {
            assert_eq!(to_go(7 + millis * 1_000_000, 7), words);
        }
        assert_eq!(to_go(5, 9), "0 s to go");
    }
}
