//! How much is asked of a relay socket at a time. Only a guess: what it gets wrong is read at the next wake-up.

/// Most datagrams, or trains of them, read from one socket at a time.
pub(super) const BATCH: usize = 64;
/// How much more is asked for when there was as much as was asked for.
const GROWTH: u8 = 4;
/// The most single datagrams that are read before more is asked for again.
const MOST_PATIENT: u8 = 63;

/// How many datagrams the next read of a relay socket asks for.
///
/// Most sockets have one at a time, and a call that asks for one is cheaper than one that is told that
/// there is no second. So more is asked for only when it has come before, and seldom where it has not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appetite {
    most: u8,
    /// Reads of one since the last one of more.
    singles: u8,
    /// How many of them there are to be.
    patience: u8,
}

impl Appetite {
    pub(super) const fn new() -> Self {
        Self { most: 1, singles: 0, patience: 0 }
    }

    /// How many to ask for: 1 to [`BATCH`].
    pub(super) const fn most(&self) -> usize {
        self.most as usize
    }

    /// Learns how many there were.
    pub(super) fn fed(&mut self, received: usize) {
        if self.most == 1 {
            self.singles += 1;
            if received == 1 && self.singles > self.patience {
                self.most = GROWTH;
            }
            // A spurious wake-up teaches nothing.
            self.singles = self.singles.min(self.patience);
            return;
        }
        if received <= 1 {
            self.most = 1;
            self.singles = 0;
            self.patience = (2 * self.patience + 1).min(MOST_PATIENT);
            return;
        }
        self.patience = 0;
        if received >= self.most() {
            self.most = GROWTH.saturating_mul(self.most).min(BATCH as u8);
        }
    }

    /// Whether so much comes at a time that trains are to be expected.
    pub(super) const fn is_large(&self) -> bool {
        self.most > GROWTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for in turn, when so many are there each time.
    fn asked(there: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut appetite = Appetite::new();
        let mut asked = Vec::new();
        for there in there {
            asked.push(appetite.most());
            appetite.fed(there.min(appetite.most()));
        }
        asked
    }

    #[test]
    fn a_burst_is_taken_in_few_reads() {
        assert_eq!(asked([100, 99, 95, 79, 15]), [1, 4, 16, 64, 64]);
    }

    #[test]
    fn steady_pairs_are_read_together() {
        assert!(asked([2; 20])[1..].iter().all(|asked| *asked == 4));
    }

    #[test]
    fn single_datagrams_are_asked_for_singly_most_of_the_time() {
        let more = asked([1; 1000]).iter().filter(|asked| **asked > 1).count();
        assert!((10..=25).contains(&more), "{more} of 1000 reads asked for more");
    }

    #[test]
    fn a_burst_after_a_quiet_time_is_noticed() {
        let quiet_then_burst = asked([1; 500].into_iter().chain([64; 70]));
        assert!(quiet_then_burst.iter().rev().take(5).all(|asked| *asked == 64));
    }

    #[test]
    fn nothing_there_changes_nothing_for_the_worse() {
        let mut appetite = Appetite::new();
        (0..1000).for_each(|_| appetite.fed(0));
        assert_eq!(appetite.most(), 1);
        appetite.fed(1);
        assert_eq!(appetite.most(), 4);
    }
}
