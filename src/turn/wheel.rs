use crate::time::Mono;

/// Seconds that the wheel spans; later deadlines wait in its last slot and are filed again.
const SLOTS: u64 = 4096;
/// As many as there are bits in one.
const WORDS: usize = SLOTS as usize / 64;
const NONE: u32 = u32::MAX;

/// A timing wheel of one-second slots: the deadlines of keys that are small numbers.
///
/// Setting and clearing a deadline costs the same however many there are. A key comes out in the
/// second after its deadline; the next deadline is found by two words of bits.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Box<[u32]>,
    occupied: [u64; WORDS],
    /// One bit for each word of `occupied` that is not 0.
    words: u64,
    links: Vec<Link>,
    /// The first second not yet turned past.
    second: u64,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
    /// The second the key is filed under; `u64::MAX` when it is not.
    filed: u64,
    due: u64,
}

const UNFILED: Link = Link { next: NONE, previous: NONE, filed: u64::MAX, due: 0 };

impl Wheel {
    pub(super) fn new(now: Mono) -> Self {
        Self {
            slots: vec![NONE; SLOTS as usize].into(),
            occupied: [0; WORDS],
            words: 0,
            links: Vec::new(),
            second: now.as_secs(),
        }
    }

    /// Sets or moves the deadline of a key.
    pub(super) fn set(&mut self, key: u32, deadline: Mono) {
        self.clear(key);
        if self.links.len() <= key as usize {
            self.links.resize(key as usize + 1, UNFILED);
        }
        // Rounded up: never early.
        let due = deadline.as_micros().div_ceil(1_000_000).max(self.second);
        self.file(key, due);
    }

    fn file(&mut self, key: u32, due: u64) {
        let filed = due.min(self.second + SLOTS - 1);
        let slot = (filed % SLOTS) as usize;
        let next = self.slots[slot];
        if next != NONE {
            self.links[next as usize].previous = key;
        }
        self.links[key as usize] = Link { next, previous: NONE, filed, due };
        self.slots[slot] = key;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.words |= 1 << (slot / 64);
    }

    /// Forgets the deadline of a key, if it has one.
    pub(super) fn clear(&mut self, key: u32) {
        let Some(link) = self.links.get_mut(key as usize) else {
            return;
        };
        let Link { next, previous, filed, .. } = std::mem::replace(link, UNFILED);
        if filed == u64::MAX {
            return;
        }
        let slot = (filed % SLOTS) as usize;
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if previous == NONE {
            self.slots[slot] = next;
            if next == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
                if self.occupied[slot / 64] == 0 {
                    self.words &= !(1 << (slot / 64));
                }
            }
        } else {
            self.links[previous as usize].next = next;
        }
    }

    /// Takes out one key whose deadline has come. `None` when there is no other.
    pub(super) fn pop(&mut self, now: Mono) -> Option<u32> {
        let now = now.as_secs();
        while let Some(second) = self.next_second()
            && second <= now
        {
            self.second = second;
            let key = self.slots[(second % SLOTS) as usize];
            let due = self.links[key as usize].due;
            self.clear(key);
            if due <= now {
                return Some(key);
            }
            self.file(key, due);
        }
        self.second = self.second.max(now);
        None
    }

    /// When to ask [`Self::pop`] again.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.next_second().map(Mono::from_secs)
    }

    /// The earliest second with a key in it.
    fn next_second(&self) -> Option<u64> {
        let start = (self.second % SLOTS) as usize;
        let ahead_in_word = self.occupied[start / 64] & (u64::MAX << (start % 64));
        let (word, bits) = if ahead_in_word != 0 {
            (start / 64, ahead_in_word)
        } else if self.words != 0 {
            // The words behind the first one, in turn; last of all the first one, from its start.
            let turned = self.words.rotate_right((start / 64 + 1) as u32 % 64);
            let word = (start / 64 + 1 + turned.trailing_zeros() as usize) % WORDS;
            (word, self.occupied[word])
        } else {
            return None;
        };
        let slot = word * 64 + bits.trailing_zeros() as usize;
        let ahead = (slot + SLOTS as usize - start) % SLOTS as usize;
        Some(self.second + ahead as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    proptest! {
        /// Against a sorted map: nothing early, nothing later than a second, nothing lost.
        #[test]
        fn agrees_with_a_sorted_map(
            steps in prop::collection::vec((0_u8..4, 0_u32..40, 0_u64..20_000_000_000), 1..400)
        ) {
            let mut now = Mono::from_secs(17);
            let mut wheel = Wheel::new(now);
            let mut model = BTreeMap::new();
            for (action, key, micros) in steps {
                match action {
                    0 | 1 => {
                        let deadline = now + Duration::from_micros(micros);
                        wheel.set(key, deadline);
                        model.insert(key, deadline);
                    }
                    2 => {
                        wheel.clear(key);
                        model.remove(&key);
                    }
                    _ => {
                        now = now + Duration::from_micros(micros / 4);
                        while let Some(key) = wheel.pop(now) {
                            let deadline = model.remove(&key).expect("known");
                            prop_assert!(deadline <= now, "early");
                        }
                        let late = now.as_secs();
                        prop_assert!(
                            model.values().all(|d| d.as_micros().div_ceil(1_000_000) > late)
                        );
                    }
                }
                prop_assert_eq!(wheel.next_deadline().is_some(), !model.is_empty());
            }
        }
    }
}
