use super::{Effect, EndReason, FiveTuple, RelayId, Server, Stats};
use crate::stun::Family;
use crate::time::{Mono, Now};

/// Deadlines worked off in one call, so that ten thousand of them do not hold up the packets.
const EXPIRIES: usize = 256;

impl Server {
    /// A client's connection is gone, and with it its allocation (RFC 8656 §6: the 5-tuple).
    pub fn disconnected(&mut self, now: Now, tuple: &FiveTuple, stats: &Stats) {
        if let Some(slot) = self.find(tuple) {
            self.end(slot, EndReason::Disconnected, now.mono, stats);
        }
    }

    /// Ends every allocation.
    pub fn shutdown(&mut self, now: Now, stats: &Stats) {
        while let Some((slot, _)) = self.allocations.iter().next() {
            self.end(slot as u32, EndReason::Shutdown, now.mono, stats);
        }
    }

    /// Ends what is over. Some of it may be left for the next call, which
    /// [`Self::next_deadline`] then asks for at once.
    pub fn expire(&mut self, now: Now, stats: &Stats) {
        for _ in 0..EXPIRIES {
            let Some(slot) = self.wheel.pop(now.mono) else {
                break;
            };
            self.expire_slot(slot, now.mono, stats);
        }
        self.ledger.settle(now.mono);
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.wheel.next_deadline()
    }

    fn expire_slot(&mut self, slot: u32, now: Mono, stats: &Stats) {
        let Some(allocation) = self.allocations.get_mut(slot as usize) else {
            return;
        };
        if allocation.hard_end.is_some_and(|end| end <= now) {
            self.end(slot, EndReason::CredentialExpired, now, stats);
            return;
        }
        let over = |relay: &super::allocation::Relay| relay.expires <= now;
        if allocation.relays.iter().flatten().all(over) {
            self.end(slot, EndReason::Expired, now, stats);
            return;
        }
        for family in [Family::V4, Family::V6] {
            let relay = &mut allocation.relays[family as usize];
            if let Some(ended) = relay.take_if(|relay| over(relay)) {
                self.ledger
                    .release_port(ended.local.ip(), ended.local.port());
                self.effects
                    .push_back(Effect::Close(RelayId { slot, family }));
            }
        }
        if let Some(end) = allocation.next_end() {
            self.wheel.set(slot, end);
        }
    }

    /// Ends an allocation: its sockets, ports, quota and deadlines.
    pub(super) fn end(&mut self, slot: u32, reason: EndReason, now: Mono, stats: &Stats) {
        let Some(allocation) = self.remove(slot) else {
            return;
        };
        self.wheel.clear(slot);
        for family in [Family::V4, Family::V6] {
            if let Some(relay) = allocation.relay(family) {
                self.ledger
                    .release_port(relay.local.ip(), relay.local.port());
                self.effects
                    .push_back(Effect::Close(RelayId { slot, family }));
            }
        }
        self.ledger
            .dismiss(&allocation.owner, allocation.client.tuple.client.ip());
        stats.ended[reason as usize].add(1);
        let session = Box::new(allocation.session(reason, now));
        self.effects.push_back(Effect::Ended(session));
    }
}
