//! Which packets of one flow have come: finds duplicates and overtaking.

/// How many numbers back a packet can still be told from a duplicate.
pub(super) const REACH: u64 = 4096;
const WORDS: usize = REACH as usize / 64;

/// The packets of one client in one direction, numbered from 1 on.
pub(super) struct Flow {
    highest: u64,
    /// Bit `number % REACH` of the last [`REACH`] numbers.
    seen: [u64; WORDS],
}

/// What an arrival is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Later than all before it.
    InOrder,
    /// Missing until now: a later one has overtaken it.
    Overtaken,
    /// It was here before, or it is so old that nobody knows any more.
    Duplicate,
}

impl Flow {
    pub(super) const fn new() -> Self {
        Self { highest: 0, seen: [0; WORDS] }
    }

    /// Takes the packet `number` in.
    pub(super) fn arrive(&mut self, number: u64) -> Arrival {
        if number > self.highest {
            self.advance(number);
            self.mark(number);
            return Arrival::InOrder;
        }
        if self.has(number) {
            return Arrival::Duplicate;
        }
        self.mark(number);
        Arrival::Overtaken
    }

    /// Whether the packet has come; yes for those out of reach.
    pub(super) fn has(&self, number: u64) -> bool {
        if number > self.highest {
            return false;
        }
        number + REACH <= self.highest || self.seen[word(number)] & bit(number) != 0
    }

    fn advance(&mut self, number: u64) {
        if number - self.highest >= REACH {
            self.seen = [0; WORDS];
        } else {
            for skipped in self.highest + 1..=number {
                self.seen[word(skipped)] &= !bit(skipped);
            }
        }
        self.highest = number;
    }

    fn mark(&mut self, number: u64) {
        self.seen[word(number)] |= bit(number);
    }
}

const fn word(number: u64) -> usize {
    (number % REACH / 64) as usize
}

const fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn order_duplicates_and_overtaking_are_told_apart() {
        let mut flow = Flow::new();
        let arrivals = [1, 2, 4, 4, 3, 3, 5, 1].map(|number| flow.arrive(number));
        use Arrival::{Duplicate, InOrder, Overtaken};
        assert_eq!(
            arrivals,
            [InOrder, InOrder, InOrder, Duplicate, Overtaken, Duplicate, InOrder, Duplicate]
        );
        assert!(flow.has(5) && !flow.has(6));
    }

    #[test]
    fn what_is_out_of_reach_counts_as_a_duplicate() {
        let mut flow = Flow::new();
        flow.arrive(REACH + 10);
        assert_eq!(flow.arrive(10), Arrival::Duplicate);
        assert_eq!(flow.arrive(11), Arrival::Overtaken);
        flow.arrive(100 * REACH);
        assert!(!flow.has(100 * REACH - 1));
    }

    /// Against a set that remembers everything, over a jumping walk.
    #[test]
    fn it_agrees_with_a_set() {
        let (mut flow, mut set) = (Flow::new(), HashSet::new());
        let (mut state, mut place) = (1_u64, 5000_u64);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            place += state >> 62;
            let number = place - (state >> 33) % 60;
            let fresh = set.insert(number);
            assert_eq!(flow.arrive(number) != Arrival::Duplicate, fresh, "{number}");
        }
    }
}
