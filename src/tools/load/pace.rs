//! When the next packets are to be sent.

use std::collections::VecDeque;

use super::flow::REACH;
use super::options::Rate;

/// A sender that is so late skips what it has missed, and says so: it has no time to catch up.
const LATE: u64 = 100_000_000;
/// A packet that has not come back for so long makes room for another; should it still come, it counts.
const OVERDUE: u64 = 100_000_000;

/// When to send: by the clock, or by what has come back.
#[derive(Debug)]
pub(super) enum Pace {
    Fixed(Schedule),
    Max(Window),
}

impl Pace {
    /// Begins at `start`, in nanoseconds as all times here.
    pub(super) fn new(rate: Rate, window: u32, train: u32, start: u64) -> Self {
        match rate {
            Rate::Fixed(rate) => Self::Fixed(Schedule::new(rate, train, start)),
            Rate::Max => Self::Max(Window::new(window, train)),
        }
    }

    /// The time for which a train is due now, if one is.
    pub(super) fn take(&mut self, now: u64) -> Option<u64> {
        match self {
            Self::Fixed(schedule) => schedule.take(now),
            Self::Max(window) => window.admits().then_some(now),
        }
    }

    /// The stamp of a packet that is due: with a window, one that no other packet has.
    pub(super) fn stamp(&mut self, due: u64) -> u64 {
        match self {
            Self::Fixed(_) => due,
            Self::Max(window) => window.stamp(due),
        }
    }

    /// A packet was sent with such a stamp.
    pub(super) fn sent(&mut self, client: u32, number: u64, nanos: u64) {
        if let Self::Max(window) = self {
            window.sent(client, number, nanos);
        }
    }

    /// A packet has come for the first time.
    pub(super) fn came(&mut self, nanos: u64) {
        if let Self::Max(window) = self {
            window.came(nanos);
        }
    }

    /// Forgets what has come, and writes off what is lost. `has_come` knows by client and number.
    pub(super) fn settle(&mut self, now: u64, has_come: impl Fn(u32, u64) -> bool) {
        if let Self::Max(window) = self {
            window.settle(now, has_come);
        }
    }

    /// The train that was due is not sent: there is nobody left to send it.
    pub(super) const fn skip(&mut self) {
        if let Self::Fixed(schedule) = self {
            schedule.skipped += schedule.train;
        }
    }

    /// What is due by now will not be sent any more.
    pub(super) fn give_up(&mut self, now: u64) {
        if let Self::Fixed(schedule) = self {
            schedule.give_up(now);
        }
    }

    /// Packets that were never sent because the sender was too late, or because there was none.
    pub(super) const fn skipped(&self) -> u64 {
        match self {
            Self::Fixed(schedule) => schedule.skipped,
            Self::Max(_) => 0,
        }
    }
}

/// A fixed rate: train `i` is meant to be sent at `i * interval`, whatever became of those before it. Round trips
/// count from that time on, so that a stall costs every packet that it has held up (no coordinated omission).
#[derive(Debug)]
pub(super) struct Schedule {
    /// Packets per second.
    rate: u64,
    /// Packets of a train.
    train: u64,
    start: u64,
    next: u64,
    skipped: u64,
}

impl Schedule {
    const fn new(rate: u32, train: u32, start: u64) -> Self {
        Self { rate: rate as u64, train: train as u64, start, next: 0, skipped: 0 }
    }

    fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.due(self.next);
        if due > now {
            return None;
        }
        if now - due > LATE {
            self.give_up(now);
            return None;
        }
        self.next += 1;
        Some(due)
    }

    const fn give_up(&mut self, now: u64) {
        let missed = self.trains_until(now).saturating_sub(self.next);
        self.skipped += missed * self.train;
        self.next += missed;
    }

    const fn due(&self, train: u64) -> u64 {
        let nanos = train as u128 * self.train as u128 * 1_000_000_000 / self.rate as u128;
        self.start + nanos as u64
    }

    /// How many trains are due before `now`.
    const fn trains_until(&self, now: u64) -> u64 {
        let packets = (now - self.start) as u128 * self.rate as u128 / 1_000_000_000;
        (packets / self.train as u128) as u64 + 1
    }
}

/// As fast as packets come back: a number of them are on their way at any time.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    train: u64,
    in_flight: u64,
    /// Those that were sent and of which it is not yet known that they came, in the order of their stamps.
    sent: VecDeque<Sent>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    client: u32,
    number: u64,
    nanos: u64,
}

impl Window {
    fn new(size: u32, train: u32) -> Self {
        let (size, train) = (size.into(), train.into());
        let sent = VecDeque::with_capacity(Self::reach(size) + 64);
        Self { size, train, in_flight: 0, sent, last: 0 }
    }

    /// Packets on their way before the oldest is taken for lost: so many have overtaken it by then.
    fn reach(size: u64) -> usize {
        (8 * size).clamp(256, REACH - 64) as usize
    }

    /// Whether a train may be sent. One may always, when nothing is on its way.
    const fn admits(&self) -> bool {
        self.in_flight == 0 || self.in_flight + self.train <= self.size
    }

    fn stamp(&mut self, now: u64) -> u64 {
        self.last = now.max(self.last + 1);
        self.last
    }

    fn sent(&mut self, client: u32, number: u64, nanos: u64) {
        self.in_flight += 1;
        self.sent.push_back(Sent { client, number, nanos });
    }

    fn came(&mut self, nanos: u64) {
        // Those before the oldest have been written off.
        if self.sent.front().is_some_and(|oldest| nanos >= oldest.nanos) {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    fn settle(&mut self, now: u64, has_come: impl Fn(u32, u64) -> bool) {
        let reach = Self::reach(self.size);
        while let Some(oldest) = self.sent.front() {
            if has_come(oldest.client, oldest.number) {
                self.sent.pop_front();
            } else if self.sent.len() > reach || now.saturating_sub(oldest.nanos) > OVERDUE {
                self.sent.pop_front();
                self.in_flight = self.in_flight.saturating_sub(1);
            } else {
                return;
            }
        }
        self.in_flight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_schedule_keeps_its_rate_to_the_packet() {
        for (rate, train) in [(1000, 1), (1000, 10), (3, 1), (7, 2), (999_983, 7)] {
            let mut schedule = Schedule::new(rate, train, 5);
            let mut sent = 0;
            // Steps of 10 ms, and the last nanosecond of the second.
            for now in (5..SECOND + 5).step_by(10_000_000).chain([SECOND + 4]) {
                while let Some(due) = schedule.take(now) {
                    assert!(due <= now);
                    sent += u64::from(train);
                }
            }
            let wanted = u64::from(rate);
            assert!((wanted..wanted + u64::from(train)).contains(&sent), "{rate} {train}: {sent}");
            assert_eq!(schedule.skipped, 0);
        }
    }

    #[test]
    fn a_late_train_keeps_the_time_it_was_meant_for_and_a_hopeless_one_is_skipped() {
        let mut schedule = Schedule::new(1000, 1, 0);
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(50_000_000), Some(1_000_000));
        // At 1 s, those of 2 ms to 1000 ms are missed.
        assert_eq!(schedule.take(SECOND), None);
        assert_eq!(schedule.skipped, 999);
        assert_eq!(schedule.take(SECOND), None);
        assert_eq!(schedule.take(SECOND + 1_000_000), Some(SECOND + 1_000_000));
    }

    fn window(size: u32, train: u32, sent: u64) -> (Window, Vec<u64>) {
        let mut window = Window::new(size, train);
        let stamps = (1..=sent).map(|number| {
            assert!(window.admits());
            let stamp = window.stamp(100);
            window.sent(0, number, stamp);
            stamp
        });
        let stamps = stamps.collect();
        (window, stamps)
    }

    #[test]
    fn the_window_opens_as_packets_come_back() {
        let (mut window, stamps) = window(4, 1, 4);
        assert_eq!(stamps, [100, 101, 102, 103]);
        assert!(!window.admits());
        window.came(stamps[1]);
        assert_eq!(window.in_flight, 3);
        window.settle(200, |_, number| number == 2);
        assert_eq!(window.in_flight, 3);
        window.came(stamps[0]);
        window.settle(200, |_, number| number <= 2);
        assert_eq!(window.in_flight, 2);
        assert!(window.admits());
    }

    #[test]
    fn what_is_overdue_makes_room_and_may_still_come() {
        let (mut window, stamps) = window(2, 1, 2);
        assert!(!window.admits());
        window.settle(stamps[0] + OVERDUE + 1, |_, _| false);
        assert_eq!(window.in_flight, 1);
        let late = window.stamp(stamps[0] + OVERDUE + 1);
        window.sent(0, 3, late);
        // The first one, after all: its place was given away already.
        window.came(stamps[0]);
        assert_eq!(window.in_flight, 2);
    }

    #[test]
    fn what_many_have_overtaken_is_lost() {
        let (mut window, stamps) = window(2, 1, 1);
        for number in 2..1000 {
            let stamp = window.stamp(100);
            window.sent(0, number, stamp);
            window.came(stamp);
            window.settle(200, |_, number| number != 1);
        }
        assert_eq!(window.in_flight, 0, "{stamps:?}");
    }

    #[test]
    fn a_train_longer_than_the_window_may_go_alone() {
        let (window, _) = window(2, 10, 1);
        assert!(!window.admits());
    }
}
