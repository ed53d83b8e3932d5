use std::time::Duration;

use crate::time::Mono;

/// When a request is sent again, and when it is given up (RFC 8489 §6.2.1, §6.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// RTO: the time to the first retransmission; it doubles with each.
    pub rto: Duration,
    /// Rc: how often a request is sent over UDP, the first time included.
    pub requests: u32,
    /// Rm: how many RTOs after the last transmission it is given up.
    pub last: u32,
}

impl Default for Timing {
    /// The RFC's values: given up after 39.5 s.
    fn default() -> Self {
        Self { rto: Duration::from_millis(500), requests: 7, last: 16 }
    }
}

impl Timing {
    /// After how long a request is given up. Over TCP this is all there is (Ti, RFC 8489 §6.2.2).
    pub fn limit(&self) -> Duration {
        let doublings = self.requests.clamp(1, 16) - 1;
        self.rto * ((1 << doublings) - 1) + self.rto * self.last.min(1 << 16)
    }
}

/// The timer of one transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    /// How often the request has been sent.
    sent: u32,
    deadline: Mono,
}

/// What a deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Retransmit,
    GiveUp,
}

impl Timer {
    /// Starts with the first transmission.
    pub(super) fn start(timing: &Timing, stream: bool, now: Mono) -> Self {
        let wait = match stream {
            true => timing.limit(),
            false => Self::wait(timing, 1),
        };
        Self { sent: if stream { timing.requests } else { 1 }, deadline: now + wait }
    }

    pub(super) const fn deadline(&self) -> Mono {
        self.deadline
    }

    pub(super) fn expire(&mut self, timing: &Timing, now: Mono) -> Due {
        if now < self.deadline {
            return Due::Nothing;
        }
        if self.sent >= timing.requests {
            return Due::GiveUp;
        }
        self.sent += 1;
        self.deadline = now + Self::wait(timing, self.sent);
        Due::Retransmit
    }

    /// The time from transmission number `sent` to the next, or to giving up.
    fn wait(timing: &Timing, sent: u32) -> Duration {
        if sent >= timing.requests {
            timing.rto * timing.last.min(1 << 16)
        } else {
            timing.rto * (1 << (sent - 1).min(15))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times, in milliseconds, at which a request that nobody answers is sent, and the end.
    fn history(timing: &Timing, stream: bool) -> (Vec<u64>, u64) {
        let mut timer = Timer::start(timing, stream, Mono::default());
        let mut sent = vec![0];
        loop {
            let now = timer.deadline();
            match timer.expire(timing, now) {
                Due::Retransmit => sent.push(now.as_micros() / 1000),
                Due::GiveUp => return (sent, now.as_micros() / 1000),
                Due::Nothing => panic!("its own deadline"),
            }
        }
    }

    /// The example of RFC 8489 §6.2.1.
    #[test]
    fn requests_are_sent_when_the_rfc_says() {
        let timing = Timing::default();
        let times = vec![0, 500, 1500, 3500, 7500, 15_500, 31_500];
        assert_eq!(history(&timing, false), (times, 39_500));
        assert_eq!(timing.limit(), Duration::from_millis(39_500));
    }

    /// RFC 8489 §6.2.2: the stream repeats what it must by itself.
    #[test]
    fn over_a_stream_a_request_is_sent_once() {
        assert_eq!(history(&Timing::default(), true), (vec![0], 39_500));
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let timing = Timing::default();
        let mut timer = Timer::start(&timing, false, Mono::default());
        let early = Mono::from_micros(499_999);
        assert_eq!(timer.expire(&timing, early), Due::Nothing);
    }
}
