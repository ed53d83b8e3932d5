use super::PortRange;

/// Words of 64 ports.
const WORDS: usize = 1 << 10;
/// The even ports of a word.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// Ports of one address.
pub(super) type PortSet = Box<[u64; WORDS]>;

/// The relay ports of one address: which are taken. Ports outside of the range stay taken until they are released,
/// when the range was another one when they were given out.
#[derive(Debug)]
pub(super) struct PortPool {
    range: PortRange,
    /// One bit for each port; set when taken.
    taken: PortSet,
    /// Ports in the range that are not taken.
    free: usize,
}

impl PortPool {
    pub(super) fn new(range: PortRange) -> Self {
        Self { range, taken: Box::new([0; WORDS]), free: range.len() }
    }

    /// From now on ports are given out of another range.
    pub(super) fn set_range(&mut self, range: PortRange) {
        self.range = range;
        let taken = |word: usize| (self.taken[word] & self.within(word)).count_ones() as usize;
        self.free = range.len() - self.words().map(taken).sum::<usize>();
    }

    pub(super) const fn range(&self) -> PortRange {
        self.range
    }

    /// The ports in the range that are taken.
    pub(super) fn taken_in_range(&self) -> PortSet {
        let mut set = Box::new([0; WORDS]);
        for word in self.words() {
            set[word] = self.taken[word] & self.within(word);
        }
        set
    }

    pub(super) fn is_unused(&self) -> bool {
        self.taken.iter().all(|word| *word == 0)
    }

    pub(super) const fn free(&self) -> usize {
        self.free
    }

    pub(super) const fn size(&self) -> usize {
        self.range.len()
    }

    /// Takes a free port: the first one from a random place on (RFC 6056).
    pub(super) fn take(&mut self, random: u64) -> Option<u16> {
        self.scan(random, |free| free)
    }

    /// Takes a free even port (RFC 8656 §7.2).
    pub(super) fn take_even(&mut self, random: u64) -> Option<u16> {
        self.scan(random, |free| free & EVEN)
    }

    /// Takes an even port and the odd one behind it, which stands in the same word; returns the even one.
    pub(super) fn take_pair(&mut self, random: u64) -> Option<u16> {
        let port = self.scan(random, |free| free & EVEN & free >> 1)?;
        self.take_one(port + 1);
        Some(port)
    }

    /// The words in which the range lies.
    fn words(&self) -> std::ops::Range<usize> {
        if self.range.is_empty() {
            return 0..0;
        }
        usize::from(self.range.first) / 64..usize::from(self.range.last) / 64 + 1
    }

    /// The bits of a word that are in the range.
    fn within(&self, word: usize) -> u64 {
        let PortRange { first, last } = self.range;
        let mut bits = u64::MAX;
        if usize::from(first) / 64 == word {
            bits &= u64::MAX << (first % 64);
        }
        if usize::from(last) / 64 == word {
            bits &= u64::MAX >> (63 - last % 64);
        }
        bits
    }

    fn scan(&mut self, random: u64, wanted: impl Fn(u64) -> u64) -> Option<u16> {
        let words = self.words();
        let start =
            usize::from(self.range.first) + (random % self.range.len().max(1) as u64) as usize;
        for step in 0..=words.len() {
            let word = words.start + (start / 64 - words.start + step) % words.len().max(1);
            let mut bits = wanted(!*self.taken.get(word)? & self.within(word));
            // The first word is gone through in two halves: from the start, and at the end.
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            }
            if bits != 0 {
                let port = (word * 64) as u16 + bits.trailing_zeros() as u16;
                self.take_one(port);
                return Some(port);
            }
        }
        None
    }

    fn take_one(&mut self, port: u16) {
        self.taken[usize::from(port) / 64] |= 1 << (port % 64);
        self.free -= 1;
    }

    pub(super) fn release(&mut self, port: u16) {
        if forget(&mut self.taken, port) {
            self.free += usize::from(self.range.contains(port));
        }
    }
}

/// Takes a port out of a set; whether it was there.
pub(super) fn forget(set: &mut PortSet, port: u16) -> bool {
    let (word, bit) = (&mut set[usize::from(port) / 64], 1 << (port % 64));
    let was = *word & bit != 0;
    *word &= !bit;
    was
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn every_port_of_any_range_is_given_once_and_again_after_release(
            first in 1024_u16..60_000, length in 1_u16..300, seed: u64
        ) {
            let range = PortRange { first, last: first + length - 1 };
            let mut pool = PortPool::new(range);
            for round in 0..3_u64 {
                let mut given = HashSet::new();
                for turn in 0..u64::from(length) {
                    let port = pool.take(seed.wrapping_mul(turn + round + 1)).expect("one is left");
                    prop_assert!(range.contains(port) && given.insert(port));
                }
                prop_assert_eq!(pool.free(), 0);
                prop_assert_eq!(pool.take(seed), None);
                given.into_iter().for_each(|port| pool.release(port));
                prop_assert_eq!(pool.free(), usize::from(length));
            }
        }

        #[test]
        fn pairs_are_even_and_whole(first in 1024_u16..60_000, length in 1_u16..300, seed: u64) {
            let range = PortRange { first, last: first + length - 1 };
            let mut pool = PortPool::new(range);
            let mut given = HashSet::new();
            while let Some(port) = pool.take_pair(seed.wrapping_add(given.len() as u64)) {
                prop_assert!(port % 2 == 0 && range.contains(port + 1));
                prop_assert!(given.insert(port) && given.insert(port + 1));
            }
            let pairs = (first.next_multiple_of(2)..=range.last).step_by(2);
            let whole = pairs.filter(|port| range.contains(port.saturating_add(1))).count();
            prop_assert_eq!(given.len(), whole * 2);
            if let Some(port) = pool.take_even(seed) {
                prop_assert!(port % 2 == 0 && port == range.last);
            }
        }
    }
}
