//! What is told of an allocation's traffic while it lives, and with its end: records that add up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::allocation::{Allocation, Traffic};
use super::{Effect, FiveTuple, Protocol, Server, SessionId};
use crate::time::Mono;

/// Records made in one call, so that ten thousand of them do not hold up the packets.
const REPORTS: usize = 64;

/// What has been told of an allocation so far.
#[derive(Debug)]
pub(super) struct Account {
    told: Traffic,
    at: Mono,
    records: u32,
}

/// A record's part of an allocation's traffic. The parts of all its records add up to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The record's number in its allocation: 0 is its beginning, and none is left out.
    pub sequence: u32,
    /// The time since the record before.
    pub span: Duration,
    /// What was relayed in that time.
    pub traffic: Traffic,
}

/// A record of an allocation that lives.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Names the allocation.
    pub id: SessionId,
    /// The realm of its user.
    pub realm: Arc<str>,
    /// The username of its Allocate.
    pub username: String,
    /// The 5-tuple that it has now.
    pub client: FiveTuple,
    /// The relayed transport addresses as clients know them: IPv4, IPv6.
    pub relayed: [Option<SocketAddr>; 2],
    /// What it relays.
    pub protocol: Protocol,
    /// The lifetime that its Allocate was granted, in seconds.
    pub lifetime: u32,
    /// How long it has lived.
    pub age: Duration,
    /// How much it has relayed since its beginning.
    pub traffic: Traffic,
    /// How much of that since the record before.
    pub usage: Usage,
}

impl Account {
    pub(super) fn new(now: Mono) -> Self {
        Self { told: Traffic::default(), at: now, records: 0 }
    }

    /// What would be told now.
    pub(super) fn usage(&self, traffic: Traffic, now: Mono) -> Usage {
        let (sequence, span) = (self.records, now.since(self.at));
        Usage { sequence, span, traffic: traffic.since(self.told) }
    }
}

impl Traffic {
    /// What has come since it was `earlier`.
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            to_peer_packets: self.to_peer_packets - earlier.to_peer_packets,
            to_peer_bytes: self.to_peer_bytes - earlier.to_peer_bytes,
            to_client_packets: self.to_client_packets - earlier.to_client_packets,
            to_client_bytes: self.to_client_bytes - earlier.to_client_bytes,
        }
    }
}

impl Allocation {
    /// A record of what it is now.
    pub(super) fn progress(&mut self, now: Mono) -> Progress {
        let usage = self.account.usage(self.traffic, now);
        self.account = Account { told: self.traffic, at: now, records: usage.sequence + 1 };
        Progress {
            id: self.id,
            realm: Arc::clone(self.credential.realm()),
            username: self.credential.username().to_owned(),
            client: self.client.tuple,
            relayed: self.relays.map(|relay| relay.map(|relay| relay.advertised)),
            protocol: self.protocol(),
            lifetime: self.birth.lifetime,
            age: now.since(self.birth.at),
            traffic: self.traffic,
            usage,
        }
    }
}

impl Server {
    /// When [`Self::report`] has something to tell.
    pub fn next_report(&self) -> Option<Mono> {
        self.reports.next_deadline()
    }

    /// Tells what allocations have relayed whose interval is over, as effects. Some may be left for the next call. Not to
    /// call it loses nothing: the next record has it all.
    pub fn report(&mut self, now: Mono) {
        for _ in 0..REPORTS {
            let Some(slot) = self.reports.pop(now) else {
                break;
            };
            let Some(allocation) = self.allocations.get_mut(slot as usize) else {
                continue;
            };
            let progress = Box::new(allocation.progress(now));
            self.effects.push_back(Effect::Usage(progress));
            self.file_report(slot);
        }
    }

    /// Tells of an allocation that has been made.
    pub(super) fn tell_birth(&mut self, slot: u32, now: Mono) {
        let progress = Box::new(self.allocations[slot as usize].progress(now));
        self.effects.push_back(Effect::Began(progress));
        self.file_report(slot);
    }

    /// Files the next record of an allocation: one interval behind its last.
    pub(super) fn file_report(&mut self, slot: u32) {
        let (Some(interval), Some(allocation)) =
            (self.settings.usage_interval, self.allocations.get(slot as usize))
        else {
            return;
        };
        self.reports.set(slot, allocation.account.at + interval);
    }

    /// Files all of them anew, for another interval: spread, so that they do not come at once.
    pub(super) fn file_all_reports(&mut self, now: Mono) {
        let told = self.allocations.iter().filter(|(_, allocation)| !allocation.own);
        let slots = told.map(|(slot, _)| slot as u32);
        for slot in slots {
            self.reports.clear(slot);
            if let Some(interval) = self.settings.usage_interval {
                // Fibonacci hashing: neighbours are far apart.
                let share = slot.wrapping_mul(0x9E37_79B9) >> 16;
                self.reports.set(slot, now + interval * share / (1 << 16));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_add_up() {
        let mut account = Account::new(Mono::from_secs(5));
        let mut traffic = Traffic::default();
        let mut sum = 0;
        for step in 0..5 {
            traffic.to_peer_bytes += step * 7;
            traffic.to_client_packets += step;
            let now = Mono::from_secs(5 + 2 * (step + 1));
            let usage = account.usage(traffic, now);
            assert_eq!((usage.sequence, usage.span.as_secs()), (step as u32, 2));
            assert_eq!(usage.traffic.to_client_packets, step);
            sum += usage.traffic.to_peer_bytes;
            account = Account { told: traffic, at: now, records: usage.sequence + 1 };
        }
        assert_eq!(sum, traffic.to_peer_bytes);
    }
}
