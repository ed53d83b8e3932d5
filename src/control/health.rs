//! What the process is doing, for everybody who asks.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Mono;

/// Where the process stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// It takes everybody.
    Running,
    /// It takes no new allocations and waits for the last ones to end.
    Draining,
    /// It ends.
    Stopping,
}

impl Phase {
    /// As the endpoints call it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Running => "ok",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// What is known about the process, readable at any time.
#[derive(Debug)]
pub(super) struct Health {
    phase: AtomicU8,
    /// When a drain is over, in microseconds of the process's clock.
    deadline: AtomicU64,
}

impl Health {
    /// A process that runs.
    pub(super) const fn new() -> Self {
        Self { phase: AtomicU8::new(Phase::Running as u8), deadline: AtomicU64::new(0) }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            phase if phase == Phase::Running as u8 => Phase::Running,
            phase if phase == Phase::Draining as u8 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// It drains, until then at most.
    pub(super) fn drain_until(&self, deadline: Mono) {
        self.deadline.store(deadline.as_micros(), Ordering::Relaxed);
        self.phase.store(Phase::Draining as u8, Ordering::Release);
    }

    /// It ends.
    pub(super) fn stop(&self) {
        self.phase.store(Phase::Stopping as u8, Ordering::Relaxed);
    }

    /// What is left of a drain's time; nothing while there is no drain.
    pub(super) fn drain_left(&self, now: Mono) -> Option<Duration> {
        let deadline = Mono::from_micros(self.deadline.load(Ordering::Relaxed));
        (self.phase() == Phase::Draining).then(|| deadline.since(now))
    }
}
