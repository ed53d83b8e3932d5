use std::collections::HashMap;
use std::time::Duration;

use foldhash::quality::RandomState;

use super::rate::Bucket;
use super::{Client, Dropped, Effect, FiveTuple, Server, Transport, Verdict};
use crate::time::{Mono, Now};

/// Guests of one worker. Each is a client that has moved and has not sent data yet.
const MOST: usize = 16 << 10;
/// How long an allocation that was sent for is waited for before it is sent for again.
const PATIENCE: Duration = Duration::from_millis(100);
/// How soon those whose time is over are looked for again.
const SWEEP: Duration = Duration::from_secs(1);
/// Requests per second that are passed on for one guest: setting up a call takes a few.
const REQUESTS: u64 = 200;

/// The 5-tuples whose packets arrive at this worker, while their allocations are at another one: a
/// mobile client has come here (RFC 8016), and its allocation follows when it sends data.
#[derive(Default)]
pub(super) struct Guests {
    of: HashMap<FiveTuple, Guest, RandomState>,
    /// When to look for those whose time is over; none is before that.
    sweep: Option<Mono>,
}

struct Guest {
    /// Where its packets arrive.
    leg: u32,
    /// The worker that holds the allocation.
    holder: u32,
    /// When the allocation ends unless it is refreshed; guests do not outlive it.
    until: Mono,
    /// When data were passed on to send for the allocation.
    asked: Option<Mono>,
    requests: Bucket,
}

impl Guest {
    /// Whether the allocation has been sent for and may be on its way.
    fn is_waiting(&self, now: Mono) -> bool {
        self.asked.is_some_and(|asked| now < asked + PATIENCE)
    }
}

impl Guests {
    pub(super) fn has(&self, now: Mono, tuple: &FiveTuple) -> bool {
        !self.of.is_empty() && self.of.get(tuple).is_some_and(|guest| now < guest.until)
    }

    /// Whether one comes from a UDP listener.
    pub(super) fn is_on(&self, leg: u32) -> bool {
        let udp = |tuple: &FiveTuple| tuple.transport == Transport::Udp;
        self.of.iter().any(|(tuple, guest)| guest.leg == leg && udp(tuple))
    }

    /// When [`Server::expire_guests`] has something to do.
    pub(super) const fn next_due(&self) -> Option<Mono> {
        self.sweep
    }

    /// Sees to it that one that lives until then ends.
    fn plan(&mut self, now: Mono, until: Mono) {
        let at = until.max(now + SWEEP);
        self.sweep = Some(self.sweep.map_or(at, |before| before.min(at)));
    }
}

impl Server {
    /// Takes a client's 5-tuple as a guest until its allocation, which another worker holds, ends
    /// or comes here. False when it cannot be one: it has an allocation here, or there are too many.
    pub fn host(&mut self, now: Now, client: &Client, holder: u32, until: Mono) -> bool {
        let Client { tuple, leg } = *client;
        if self.find(&tuple).is_some() {
            return false;
        }
        if self.guests.of.len() >= MOST && !self.guests.of.contains_key(&tuple) {
            return false;
        }
        let fresh = || Guest { leg, holder, until, asked: None, requests: Bucket::default() };
        let guest = self.guests.of.entry(tuple).or_insert_with(fresh);
        (guest.leg, guest.holder, guest.until) = (leg, holder, until);
        self.guests.plan(now.mono, until);
        true
    }

    /// A guest's data have not brought its allocation: the next ones are to send for it at once.
    pub fn ask_again(&mut self, tuple: &FiveTuple) {
        if let Some(guest) = self.guests.of.get_mut(tuple) {
            guest.asked = None;
        }
    }

    /// A guest's allocation has been refreshed where it is, and ends at another time.
    pub fn prolong_guest(&mut self, now: Now, tuple: &FiveTuple, until: Mono) {
        if let Some(guest) = self.live_guest(now, tuple) {
            guest.until = until;
            self.guests.plan(now.mono, until);
        }
    }

    /// Ends guests whose time is over: they have not been told that their allocations are gone.
    pub(super) fn expire_guests(&mut self, now: Mono) {
        if self.guests.sweep.is_none_or(|sweep| now < sweep) {
            return;
        }
        let (worker, mut next) = (self.seat.number, None::<Mono>);
        let effects = &mut self.effects;
        self.guests.of.retain(|tuple, Guest { leg, until, .. }| {
            if now < *until {
                next = Some(next.map_or(*until, |next| next.min(*until)));
                return true;
            }
            let client = Client { tuple: *tuple, leg: *leg };
            effects.push_back(Effect::Released { client, worker });
            false
        });
        self.guests.sweep = next.map(|until| until.max(now + SWEEP));
    }

    /// Forgets a guest whose 5-tuple has no allocation any more. False when it has one here: that
    /// has come before the word that it is gone from there.
    pub fn forget_guest(&mut self, tuple: &FiveTuple) -> bool {
        self.guests.of.remove(tuple);
        self.find(tuple).is_none()
    }

    /// What becomes of a guest's request, if it is one.
    pub(super) fn guest_request(
        &mut self,
        now: Now,
        tuple: &FiveTuple,
    ) -> Option<Result<Verdict, Dropped>> {
        let guest = self.live_guest(now, tuple)?;
        // They are neither authenticated here nor bounded as a stranger's.
        if !guest.requests.take(now.mono, 1, REQUESTS) {
            return Some(Err(Dropped::RateLimited));
        }
        // Sent after the data, it would find the allocation gone on its way here.
        if guest.is_waiting(now.mono) {
            return Some(Ok(Verdict::Hold));
        }
        Some(Ok(Verdict::Elsewhere(guest.holder)))
    }

    /// What becomes of a guest's data. The first go to the allocation, which then comes here; the
    /// others wait for it.
    pub(super) fn guest_data(&mut self, now: Now, tuple: &FiveTuple) -> Option<Verdict> {
        let guest = self.live_guest(now, tuple)?;
        if guest.is_waiting(now.mono) {
            return Some(Verdict::Hold);
        }
        guest.asked = Some(now.mono);
        Some(Verdict::Elsewhere(guest.holder))
    }

    fn live_guest(&mut self, now: Now, tuple: &FiveTuple) -> Option<&mut Guest> {
        if self.guests.of.is_empty() {
            return None;
        }
        let Guest { leg, until, .. } = *self.guests.of.get(tuple)?;
        if until <= now.mono {
            // It may become a client with an allocation of its own.
            self.guests.of.remove(tuple);
            let (client, worker) = (Client { tuple: *tuple, leg }, self.seat.number);
            self.effects.push_back(Effect::Released { client, worker });
        }
        self.guests.of.get_mut(tuple)
    }

    /// A guest's connection is gone.
    pub(super) fn part(&mut self, client: &Client) {
        if let Some(Guest { holder, .. }) = self.guests.of.remove(&client.tuple) {
            self.effects.push_back(Effect::Parted { client: *client, holder });
        }
    }
}
