//! What has become of the packets.

use hdrhistogram::Histogram;

use super::flow::Arrival;

/// The longest time that is told apart, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// Packets that have come to one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leg {
    /// Whole, at the right place, and for the first time.
    pub(super) received: u64,
    /// Of these, the ones that a later packet has overtaken.
    pub(super) reordered: u64,
    pub(super) duplicated: u64,
    /// Not what was sent.
    pub(super) corrupted: u64,
    /// Whole, at the wrong client or from the wrong relay.
    pub(super) misrouted: u64,
}

impl Leg {
    /// Takes in a whole packet at its right place; whether it is new.
    pub(super) const fn count(&mut self, arrival: Arrival) -> bool {
        match arrival {
            Arrival::Duplicate => {
                self.duplicated += 1;
                return false;
            }
            Arrival::Overtaken => self.reordered += 1,
            Arrival::InOrder => {}
        }
        self.received += 1;
        true
    }

    /// Packets that a sound relay does not deliver.
    pub(super) const fn bad(&self) -> u64 {
        self.corrupted + self.misrouted
    }
}

/// All that is counted, at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sent: u64,
    /// At the end of their way, whole and for the first time.
    pub(super) finished: u64,
    pub(super) to_peer: Leg,
    pub(super) to_client: Leg,
    /// Whole packets of an earlier run.
    pub(super) stray: u64,
}

impl Tally {
    /// Packets that have passed the server: relayed ones, or answered ones.
    pub(super) const fn passed(&self) -> u64 {
        self.to_peer.received + self.to_client.received
    }

    /// Packets that a sound relay does not deliver.
    pub(super) const fn bad(&self) -> u64 {
        self.to_peer.bad() + self.to_client.bad()
    }

    /// Packets that have been sent and have not come to their end.
    pub(super) const fn outstanding(&self) -> u64 {
        self.sent.saturating_sub(self.finished)
    }
}

/// A histogram of nanoseconds, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    // unwrap: these bounds and digits are among those allowed.
    Histogram::new_with_bounds(100, LONGEST, 3).expect("constants")
}
