use super::PortRange;

/// The relay ports of one address: which are taken.
#[derive(Debug)]
pub(super) struct PortPool {
    range: PortRange,
    /// One bit for each port from `range.first`; set when taken.
    taken: Vec<u64>,
    free: usize,
}

impl PortPool {
    pub(super) fn new(range: PortRange) -> Self {
        let mut taken = vec![0_u64; range.len().div_ceil(64)];
        let tail = range.len() % 64;
        if tail != 0
            && let Some(last) = taken.last_mut()
        {
            *last = u64::MAX << tail;
        }
        Self { range, taken, free: range.len() }
    }

    pub(super) const fn free(&self) -> usize {
        self.free
    }

    pub(super) const fn size(&self) -> usize {
        self.range.len()
    }

    /// Takes a free port: the first one from a random place on (RFC 6056).
    pub(super) fn take(&mut self, random: u64) -> Option<u16> {
        self.scan(random, |_, free| free)
    }

    /// Takes a free even port (RFC 8656 §7.2).
    pub(super) fn take_even(&mut self, random: u64) -> Option<u16> {
        let even = self.even_mask();
        self.scan(random, |_, free| free & even)
    }

    /// Takes an even port and the odd one behind it; returns the even one.
    pub(super) fn take_pair(&mut self, random: u64) -> Option<u16> {
        let even = self.even_mask();
        let beyond = |pool: &Self, word: usize| pool.taken.get(word + 1).map_or(0, |next| !*next);
        let port = self.scan(random, |(pool, word), free| {
            free & even & (free >> 1 | beyond(pool, word) << 63)
        })?;
        let index = usize::from(port - self.range.first) + 1;
        self.taken[index / 64] |= 1 << (index % 64);
        self.free -= 1;
        Some(port)
    }

    /// The bits of even ports: the range may begin at an odd one.
    const fn even_mask(&self) -> u64 {
        if self.range.first.is_multiple_of(2) {
            0x5555_5555_5555_5555
        } else {
            0xAAAA_AAAA_AAAA_AAAA
        }
    }

    fn scan(&mut self, random: u64, wanted: impl Fn((&Self, usize), u64) -> u64) -> Option<u16> {
        let words = self.taken.len();
        let start = (random % self.range.len().max(1) as u64) as usize;
        for step in 0..=words {
            let word = (start / 64 + step) % words.max(1);
            let mut bits = wanted((self, word), !*self.taken.get(word)?);
            // The first word is gone through in two halves: from the start, and at the end.
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            }
            if bits != 0 {
                let bit = bits.trailing_zeros();
                self.taken[word] |= 1 << bit;
                self.free -= 1;
                return Some(self.range.first + (word * 64) as u16 + bit as u16);
            }
        }
        None
    }

    pub(super) fn release(&mut self, port: u16) {
        if !self.range.contains(port) {
            return;
        }
        let index = usize::from(port - self.range.first);
        let bit = 1 << (index % 64);
        if self.taken[index / 64] & bit != 0 {
            self.taken[index / 64] &= !bit;
            self.free += 1;
        }
    }
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
