//! The end that waits: no new allocations, and calls that go on until they end or the time is over.
//!
//! [`Drain::begin`] refuses what is new from then on (508, or 300 where another server is alive) and takes readiness
//! down. What belongs to a live call is served as before: refreshes, permissions, channels, moves to another address,
//! the answer to an Allocate that is sent again, and the second port of a pair that was reserved before.
//! [`Drain::is_over`], asked now and then, says how it goes.

use std::time::Duration;

use super::ready;
use super::start::Running;
use super::watch::live;
use crate::time::Mono;

/// How soon its progress is told first; each time after that takes twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// How often it is told at least.
const LONGEST: Duration = Duration::from_secs(60);
/// How often the service manager is told that the end takes longer than usual, and how much longer.
const EXTENDED: Duration = Duration::from_secs(10);
const EXTENSION: Duration = Duration::from_secs(60);

/// A drain that is under way.
#[derive(Debug)]
pub(super) struct Drain {
    deadline: Mono,
    progress: Progress,
    quiet: Quiet,
    /// When the service manager is told next.
    extend: Mono,
}

impl Drain {
    /// Takes no new allocations from now on, and lets those that live go on for so long.
    pub(super) fn begin(running: &Running, limit: Duration) -> Self {
        let sources = &running.sources;
        let now = sources.clock.now().mono;
        let deadline = now + limit;
        sources.ledger.set_draining(true);
        sources.health.drain_until(deadline);
        tracing::info!(
            event = "draining",
            allocations = live(&sources.stats),
            seconds_left = limit.as_secs(),
            "draining: waiting up to {} s for live allocations to end; new ones are refused, or sent to another \
             server where one is alive; SIGTERM or SIGINT stops at once",
            limit.as_secs(),
        );
        Self { deadline, progress: Progress::new(now), quiet: Quiet::default(), extend: now }
    }

    /// Whether no allocation is left, or the time is over.
    pub(super) fn is_over(&mut self, running: &Running) -> bool {
        let sources = &running.sources;
        let (now, allocations) = (sources.clock.now().mono, live(&sources.stats));
        let left = self.deadline.since(now);
        let over = self.quiet.is_there(allocations) || left.is_zero();
        if over {
            tracing::info!(
                event = "drained",
                allocations,
                "drained: {}",
                if allocations == 0 { "no allocation is left" } else { "the time is over" },
            );
        } else if self.progress.is_due(now) {
            let seconds_left = left.as_secs();
            tracing::info!(
                event = "drain_progress",
                allocations,
                seconds_left,
                "draining: {allocations} allocations are left, and {seconds_left} s",
            );
        }
        if self.extend <= now {
            // Without this a stop that takes longer than TimeoutStopSec is a kill (sd_notify(3)).
            let (seconds, micros) = (left.as_secs(), EXTENSION.as_micros());
            ready::notify(&format!(
                "STATUS=draining: {allocations} allocations, {seconds} s left\nEXTEND_TIMEOUT_USEC={micros}"
            ));
            self.extend = now + EXTENDED;
        }
        over
    }
}

/// Whether nobody is left: seen twice, for an allocation on its way from one worker to another is with neither.
#[derive(Debug, Default)]
struct Quiet {
    seen: bool,
}

impl Quiet {
    /// With so many at this moment.
    const fn is_there(&mut self, allocations: u64) -> bool {
        let before = self.seen;
        self.seen = allocations == 0;
        before && self.seen
    }
}

/// When something that goes on for hours is worth a line: often at first, and then less.
#[derive(Debug)]
struct Progress {
    next: Mono,
    step: Duration,
}

impl Progress {
    fn new(now: Mono) -> Self {
        Self { next: now + FIRST, step: FIRST }
    }

    fn is_due(&mut self, now: Mono) -> bool {
        if now < self.next {
            return false;
        }
        self.step = (self.step * 2).min(LONGEST);
        self.next = now + self.step;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_on_its_way_between_workers_is_not_over() {
        let mut quiet = Quiet::default();
        let seen = [1, 0, 1, 0, 2, 0, 0].map(|allocations| quiet.is_there(allocations));
        assert_eq!(seen, [false, false, false, false, false, false, true]);
    }

    #[test]
    fn progress_is_told_often_at_first_and_each_minute_later() {
        let mut progress = Progress::new(Mono::from_secs(100));
        let due: Vec<_> = (100..400).filter(|it| progress.is_due(Mono::from_secs(*it))).collect();
        assert_eq!(due, [101, 103, 107, 115, 131, 163, 223, 283, 343]);
    }
}
