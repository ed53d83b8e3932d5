//! Random numbers for the core.

use crate::turn::Random;

/// Numbers fetched from the system at a time.
const COUNT: usize = 64;

/// The system's random numbers, fetched many at a time: an allocation needs one, and a system call
/// for each would be dearer than all of its look-ups.
pub(super) struct SystemRandom {
    numbers: [u64; COUNT],
    /// How many of them have not been given out.
    left: usize,
}

impl SystemRandom {
    pub(super) const fn new() -> Self {
        Self { numbers: [0; COUNT], left: 0 }
    }

    fn fetch(&mut self) {
        let mut bytes = [0; COUNT * 8];
        // unwrap: after the first success at start, Linux's getrandom does not fail. Without it
        // nothing that must be unpredictable would be.
        getrandom::fill(&mut bytes).expect("the system's random numbers");
        for (number, bytes) in self.numbers.iter_mut().zip(bytes.as_chunks().0) {
            *number = u64::from_ne_bytes(*bytes);
        }
        self.left = COUNT;
    }
}

impl Random for SystemRandom {
    fn next_u64(&mut self) -> u64 {
        if self.left == 0 {
            self.fetch();
        }
        self.left -= 1;
        // It may become a reservation's token: no copy is left behind.
        std::mem::take(&mut self.numbers[self.left])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_number_is_given_out_once() {
        let mut random = SystemRandom::new();
        let numbers: HashSet<u64> = (0..5 * COUNT).map(|_| random.next_u64()).collect();
        assert_eq!(numbers.len(), 5 * COUNT);
        assert!(!numbers.contains(&0));
    }
}
