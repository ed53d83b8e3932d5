//! Whether a busy worker rests a little before it looks again.

use std::time::Duration;

use crate::time::Mono;

/// Packets that have to be expected in a rest for it to pay: to fall asleep and be woken by a timer costs as much
/// as being woken by about half as many packets.
const WORTH: u32 = 8;
/// Packets over which the rate is taken.
const WINDOW: usize = 32;
/// A shorter rest would only be a detour through the scheduler.
const SHORTEST: Duration = Duration::from_micros(10);

/// Decides whether a worker rests a little before it looks again, so that more is there to be taken at once.
///
/// At everyday rates a packet costs less than the wake-up for it. A worker that is woken often therefore begins
/// no wake-up sooner than the limit after the one before, and then takes all that has come meanwhile. A worker
/// that has little to do is woken by each packet at once, and one that has much needs no rest for its batches.
#[derive(Debug)]
pub(super) struct Gather {
    /// The longest time that a packet may have to wait here; zero switches it off.
    limit: Duration,
    /// When the counting of `packets` began.
    since: Mono,
    packets: usize,
    pays: bool,
}

impl Gather {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: Mono::default(), packets: 0, pays: false }
    }

    /// How long to rest after a wake-up that began at `began`, brought so many packets and has ended at what `now`
    /// tells.
    pub(super) fn rest(
        &mut self,
        began: Mono,
        packets: usize,
        now: impl FnOnce() -> Mono,
    ) -> Option<Duration> {
        // After a wake-up for nothing the next packet is waited for, however often they came before.
        if self.limit.is_zero() || packets == 0 {
            return None;
        }
        self.packets += packets;
        if self.packets >= WINDOW {
            let usual = began.since(self.since) / self.packets as u32;
            self.pays = usual * WORTH <= self.limit;
            self.packets = 0;
            self.since = began;
        }
        if !self.pays {
            return None;
        }
        self.limit.checked_sub(now().since(began)).filter(|rest| *rest >= SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(100);

    /// The rests after wake-ups that begin so many microseconds after each other and bring so many packets.
    fn rests(gather: &mut Gather, wakes: impl IntoIterator<Item = (u64, usize)>) -> Vec<u128> {
        let mut now = gather.since;
        let mut rest = |(micros, packets)| {
            now = now + Duration::from_micros(micros);
            let rest = gather.rest(now, packets, || now + Duration::from_micros(3));
            rest.map_or(0, |rest| rest.as_micros())
        };
        wakes.into_iter().map(&mut rest).collect()
    }

    #[test]
    fn a_worker_with_little_to_do_never_rests() {
        let mut gather = Gather::new(LIMIT);
        assert_eq!(rests(&mut gather, vec![(15, 1); 1000]), [0; 1000]);
        // Nor for a burst now and then.
        let bursts = [(2000, 1), (5, 1), (5, 1), (5, 1)].repeat(100);
        assert_eq!(rests(&mut gather, bursts), [0; 400]);
    }

    #[test]
    fn a_busy_worker_begins_no_sooner_than_the_limit_after_the_last_time() {
        let mut gather = Gather::new(LIMIT);
        let busy = rests(&mut gather, vec![(10, 1); 100]);
        assert_eq!(busy[WINDOW..], [97; 100 - WINDOW]);
        // What was on its way before the rest is over keeps it going.
        assert_eq!(rests(&mut gather, vec![(100, 10); 100]), [97; 100]);
    }

    #[test]
    fn it_stops_when_the_packets_become_few_and_at_once_when_there_are_none() {
        let mut gather = Gather::new(LIMIT);
        rests(&mut gather, vec![(10, 1); 100]);
        assert_eq!(rests(&mut gather, [(100, 0), (100, 0)]), [0, 0]);
        let few = rests(&mut gather, vec![(100, 6); 100]);
        assert!(few[..5].contains(&97) && !few[WINDOW..].contains(&97), "{few:?}");
    }

    #[test]
    fn a_long_wake_up_is_followed_by_no_rest() {
        let mut gather = Gather::new(LIMIT);
        rests(&mut gather, vec![(10, 1); 100]);
        let began = gather.since + Duration::from_millis(1);
        for (micros, expected) in [(0, Some(100)), (60, Some(40)), (91, None), (500, None)] {
            let rest = gather.rest(began, 1, || began + Duration::from_micros(micros));
            assert_eq!(rest, expected.map(Duration::from_micros));
        }
    }

    #[test]
    fn switched_off_it_never_rests() {
        let mut gather = Gather::new(Duration::ZERO);
        assert_eq!(rests(&mut gather, vec![(1, 1); 100]), [0; 100]);
    }
}
