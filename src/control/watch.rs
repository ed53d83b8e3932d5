//! Looks at the counters now and then and says in one line what the operator should know.
//!
//! What strangers and ordinary calls cause all day (challenges, old nonces, private peers) is not
//! said here; the metrics have it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::log;
use crate::turn::{Cause, Counter};
use crate::worker::{Events, Stats};

/// How often the counters are looked at, and so how often a trouble is named at most.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// The sum of one counter over all workers.
pub(super) fn sum(stats: &[Arc<Stats>], pick: impl Fn(&Stats) -> &Counter) -> u64 {
    stats.iter().map(|stats| pick(stats).get()).fold(0, u64::wrapping_add)
}

/// Allocations alive on all workers.
pub(super) fn live(stats: &[Arc<Stats>]) -> u64 {
    stats.iter().map(|stats| stats.turn.live()).sum()
}

/// Counts the events and lines that found no place in a queue to the log.
///
/// It holds an end of that queue, so it has to let go for the log's thread to see the end.
pub(super) struct Lost(Mutex<Result<Events, u64>>);

impl Lost {
    pub(super) const fn of(events: Events) -> Self {
        Self(Mutex::new(Ok(events)))
    }

    /// The count so far.
    pub(super) fn get(&self) -> u64 {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Ok(events) => events.lost() + log::lost(),
            Err(last) => *last,
        }
    }

    /// Lets go of the queue; the count stays what it is.
    pub(super) fn close(&self) {
        let last = self.get();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Err(last);
    }
}

/// Remembers what was counted the last time.
pub(super) struct Watch {
    refused: [u64; Cause::COUNT],
    lost: u64,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self { refused: [0; Cause::COUNT], lost: 0 }
    }

    /// Logs what has come since the last time; `lost` counts the events that found no place in
    /// the queue to the log.
    pub(super) fn look(&mut self, stats: &[Arc<Stats>], lost: u64) {
        let refused = std::array::from_fn(|i| sum(stats, |stats| &stats.turn.refused[i]));
        let since = |(i, label): (usize, _)| (label, refused[i].wrapping_sub(self.refused[i]));
        let of = |some| Counts(places(some).map(since).filter(|(_, count)| *count > 0).collect());
        let full = of(&FULL);
        if !full.0.is_empty() {
            tracing::warn!(
                event = "capacity_refusals",
                "allocations were refused for want of room: {full}; \
                 see [limits], the relay ports and the descriptor limit",
            );
        }
        let doubted = of(&DOUBTED);
        if !doubted.0.is_empty() {
            tracing::info!(
                event = "credential_refusals",
                "credentials were refused: {doubted}; --log-level debug tells each",
            );
        }
        let missing = lost.wrapping_sub(self.lost);
        if missing > 0 {
            tracing::warn!(
                event = "log_lines_lost",
                lines = missing,
                "{missing} lines are missing in this log: it is read too slowly",
            );
        }
        (self.refused, self.lost) = (refused, lost);
    }
}

/// `name=count` of each.
struct Counts(Vec<(&'static str, u64)>);

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (label, count)) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{label}={count}")?;
        }
        Ok(())
    }
}

/// Refusals that more room would have spared.
const FULL: [&str; 3] = ["total_quota", "no_port", "no_socket"];

/// Refusals behind which a wrong or old credential stands: an application's mistake, a clock that
/// is wrong, or somebody who guesses.
const DOUBTED: [&str; 6] = [
    "wrong_realm",
    "unknown_user",
    "wrong_password",
    "wrong_secret",
    "expired_credential",
    "bid_down",
];

/// Some of the causes, with their places among all.
fn places(some: &[&'static str]) -> impl Iterator<Item = (usize, &'static str)> {
    let labels = Cause::labels().map(|(label, _)| label).enumerate();
    labels.filter(|(_, label)| some.contains(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_workers() {
        let stats = [Arc::new(Stats::default()), Arc::new(Stats::default())];
        stats[0].turn.bindings.add(3);
        stats[1].turn.bindings.add(4);
        stats[1].turn.allocations.add(2);
        stats[1].turn.ended[0].add(1);
        assert_eq!(sum(&stats, |stats| &stats.turn.bindings), 7);
        assert_eq!(live(&stats), 1);
    }

    #[test]
    fn what_is_named_has_the_words_of_the_metrics() {
        let counts = Counts(vec![(FULL[1], 3), (DOUBTED[2], 1)]);
        assert_eq!(counts.to_string(), "no_port=3 wrong_password=1");
        assert_eq!(places(&FULL).count() + places(&DOUBTED).count(), FULL.len() + DOUBTED.len());
    }
}
