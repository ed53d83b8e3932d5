//! What a store was asked, what came of it and how long that took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bounds of the classes in which the time for an answer is counted, in milliseconds; one more class is beyond.
pub const CLASSES: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1000, 2500];

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The user is there.
    Found,
    /// There is no such user.
    Unknown,
    /// No answer in time.
    TimedOut,
    /// It cannot say.
    Failed,
}

impl Outcome {
    /// All of them, with the words of the metrics.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Found, "found"),
        (Self::Unknown, "unknown"),
        (Self::TimedOut, "timed_out"),
        (Self::Failed, "failed"),
    ];
}

/// What one store has been asked.
#[derive(Debug, Default)]
pub struct StoreStats {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    classes: [AtomicU64; CLASSES.len() + 1],
    micros: AtomicU64,
}

impl StoreStats {
    pub(super) fn count(&self, outcome: Outcome, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = CLASSES.iter().position(|bound| micros <= bound * 1000);
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.classes[class.unwrap_or(CLASSES.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Questions with this outcome.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// Questions by the time that their answers took: as [`CLASSES`], and those beyond.
    pub fn classes(&self) -> [u64; CLASSES.len() + 1] {
        std::array::from_fn(|class| self.classes[class].load(Ordering::Relaxed))
    }

    /// The time of all of them together.
    pub fn took(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_one_class() {
        let stats = StoreStats::default();
        for micros in [0, 1000, 1001, 2_500_000, 2_500_001, u64::MAX] {
            stats.count(Outcome::Found, Duration::from_micros(micros));
        }
        assert_eq!(stats.classes(), [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((stats.get(Outcome::Found), stats.get(Outcome::Failed)), (6, 0));
    }
}
