//! When which client prolongs what it has.

/// The longest time between two prolongations, in nanoseconds: a permission lives 300 s (RFC 8656 §9).
const LONGEST: u64 = 120_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// Clients prolong their allocation, permission and channel one after the other, each once in a period, so that it is
/// no burst beside the load.
#[derive(Debug)]
pub(super) struct KeepUp {
    period: u64,
    clients: u32,
    due: u64,
    next: u32,
}

impl KeepUp {
    /// For so many clients (0 to 65,000) from `start` on, whose allocations were granted `lifetime` seconds at least.
    pub(super) fn new(clients: u32, lifetime: u32, start: u64) -> Self {
        // The last client's turn comes when nearly two periods are over.
        let period = (u64::from(lifetime) * SECOND / 3).clamp(SECOND / 10, LONGEST);
        Self { period, clients, due: start + period, next: 0 }
    }

    /// The client whose turn it is now, if it is anybody's.
    pub(super) fn take(&mut self, now: u64) -> Option<u32> {
        if now < self.due || self.clients == 0 {
            return None;
        }
        let client = self.next;
        self.due += self.period / u64::from(self.clients);
        self.next = (client + 1) % self.clients;
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps through an hour and finds the longest time that any client was left alone.
    fn longest_wait(clients: u32, lifetime: u32) -> u64 {
        let start = 17;
        let mut keep_up = KeepUp::new(clients, lifetime, start);
        let mut last = vec![start; clients as usize];
        let mut longest = 0;
        for now in (start..start + 3600 * SECOND).step_by(SECOND as usize / 20) {
            while let Some(client) = keep_up.take(now) {
                let last = &mut last[client as usize];
                longest = longest.max(now - *last);
                *last = now;
            }
        }
        let unseen = last.iter().map(|last| start + 3600 * SECOND - last).max();
        longest.max(unseen.unwrap_or(0)) / 1_000_000
    }

    #[test]
    fn nobody_waits_as_long_as_anything_lives() {
        for (clients, lifetime) in [(1, 600), (7, 600), (1000, 600), (65_000, 3600), (50, 30)] {
            let longest = longest_wait(clients, lifetime);
            let lives = 1000 * u64::from(lifetime.min(300));
            assert!(longest < lives * 9 / 10, "{clients} for {lifetime} s: {longest} ms");
        }
    }

    #[test]
    fn a_period_is_one_turn_of_each() {
        let mut keep_up = KeepUp::new(3, 600, 0);
        assert_eq!(keep_up.take(LONGEST - 1), None);
        let turns: Vec<u32> = (3..9)
            .map(|third| {
                let turn = keep_up.take(third * LONGEST / 3);
                assert_eq!(keep_up.take(third * LONGEST / 3), None);
                turn.unwrap()
            })
            .collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
        assert_eq!(KeepUp::new(0, 600, 0).take(u64::MAX), None);
    }
}
