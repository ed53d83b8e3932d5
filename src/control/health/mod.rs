//! What the process is doing, for everybody who asks: where it stands in its life, whether all of it is alive, and
//! whether it relays.

mod readiness;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::metrics::Sources;
use super::ready;
use crate::time::Mono;
use crate::worker::Workers;

pub(super) use readiness::{Checked, Echoes, Itself, Readiness};

/// A worker that has not looked for work for so long is stuck: it is asked to every second.
const WORKER: Duration = Duration::from_secs(10);
/// The same for the main loop, which a reload may hold up.
const MAIN_LOOP: Duration = Duration::from_secs(30);

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
    beats: Box<[Beat]>,
    /// When the main loop has looked last.
    looked: AtomicU64,
}

/// What was seen of a worker.
#[derive(Debug, Default)]
struct Beat {
    wake_ups: AtomicU64,
    /// When that was another number, in microseconds of the process's clock.
    at: AtomicU64,
}

/// Whether all of the process is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    Beats,
    /// A worker is stuck.
    Worker {
        number: usize,
        silent: Duration,
    },
    /// The main loop is.
    MainLoop {
        silent: Duration,
    },
}

impl Health {
    /// A process that runs, with so many workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Running as u8),
            deadline: AtomicU64::new(0),
            beats: (0..workers).map(|_| Beat::default()).collect(),
            looked: AtomicU64::new(0),
        }
    }

    /// Notes how often each worker has looked for work, and tells whether one has not since the last time.
    fn note(&self, wake_ups: impl IntoIterator<Item = u64>, now: Mono) -> bool {
        self.looked.store(now.as_micros(), Ordering::Relaxed);
        let mut idle = false;
        for (beat, count) in self.beats.iter().zip(wake_ups) {
            if beat.wake_ups.swap(count, Ordering::Relaxed) == count {
                idle = true;
            } else {
                beat.at.store(now.as_micros(), Ordering::Relaxed);
            }
        }
        idle
    }

    /// Who is stuck, if somebody is.
    pub(super) fn pulse(&self, now: Mono) -> Pulse {
        let since = |at: &AtomicU64| now.since(Mono::from_micros(at.load(Ordering::Relaxed)));
        let main = since(&self.looked);
        if main > MAIN_LOOP {
            return Pulse::MainLoop { silent: main };
        }
        let workers = self.beats.iter().map(|beat| since(&beat.at)).enumerate();
        match workers.max_by_key(|(_, silent)| *silent) {
            // What the main loop has not looked at it cannot tell.
            Some((number, silent)) if silent > WORKER + main => Pulse::Worker { number, silent },
            _ => Pulse::Beats,
        }
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

impl Sources {
    /// To be called every second: sees whether all workers are alive, and tells the service manager so.
    pub(super) fn feel_pulse(&self, workers: &Workers) {
        let now = self.clock.now().mono;
        let wake_ups = self.stats.iter().map(|stats| stats.wake_ups.get());
        if self.health.note(wake_ups, now) {
            workers.wake();
        }
        if self.health.pulse(now) == Pulse::Beats {
            ready::watchdog();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_look_for_work_although_it_is_asked_to_is_stuck() {
        let health = Health::new(2);
        for second in 0..=30_u64 {
            // The second one hangs after five seconds.
            let idle = health.note([second + 1, second.min(5) + 1], Mono::from_secs(second));
            assert_eq!(idle, second > 5);
        }
        let silent = Duration::from_secs(25);
        assert_eq!(health.pulse(Mono::from_secs(30)), Pulse::Worker { number: 1, silent });
        health.note([40, 7], Mono::from_secs(31));
        assert_eq!(health.pulse(Mono::from_secs(31)), Pulse::Beats);
    }

    #[test]
    fn a_main_loop_that_hangs_is_to_blame_for_what_it_has_not_seen() {
        let health = Health::new(1);
        health.note([1], Mono::from_secs(10));
        assert_eq!(health.pulse(Mono::from_secs(39)), Pulse::Beats);
        let silent = Duration::from_secs(31);
        assert_eq!(health.pulse(Mono::from_secs(41)), Pulse::MainLoop { silent });
    }
}
