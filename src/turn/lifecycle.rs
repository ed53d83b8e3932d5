use super::allocation::Relay;
use super::{
    Client, Effect, EndReason, FiveTuple, RelayId, RelaySockets, Server, Stats, Transport,
};
use crate::stun::Family;
use crate::time::{Mono, Now};

/// Deadlines worked off in one call, so that ten thousand of them do not hold up the packets.
const EXPIRIES: usize = 256;

impl Server {
    /// A client's connection is gone, and with it its allocation, unless it is a mobile one.
    pub fn disconnected(
        &mut self,
        now: Now,
        client: &Client,
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) {
        self.forget_parked(client, stats);
        let Some(place) = self.find_place(&client.tuple) else {
            return self.part(client);
        };
        let (slot, next) = (place.slot(), place.is_next());
        let allocation = &self.allocations[slot as usize];
        if allocation.client_at(next).leg != client.leg {
            return;
        }
        match allocation.mobility {
            Some(_) => self.disconnect_mobile(slot, next, stats),
            None => self.end(slot, EndReason::Disconnected, now.mono, sockets, stats),
        }
    }

    /// Ends an allocation whose relay's socket cannot be served.
    pub fn give_up(
        &mut self,
        now: Now,
        relay: RelayId,
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) {
        self.end(relay.slot, EndReason::NoSocket, now.mono, sockets, stats);
    }

    /// The first slot, from one on, whose client is at a UDP listener, or comes from there as a guest or with a request
    /// that waits for the stores.
    pub fn client_on(&self, leg: u32, from: usize) -> Option<usize> {
        let there = |client: &Client| client.leg == leg && client.tuple.transport == Transport::Udp;
        let has = |slot: &usize| {
            let allocation = self.allocations.get(*slot);
            allocation.is_some_and(|it| there(it.client_at(false)) || there(it.client_at(true)))
        };
        let found = (from..self.allocations.capacity()).find(has);
        let waits = || self.guests.is_on(leg) || self.parked.is_on(leg);
        found.or_else(|| waits().then_some(from))
    }

    /// Ends every allocation.
    pub fn shutdown(&mut self, now: Now, sockets: &mut dyn RelaySockets, stats: &Stats) {
        // By number: an iterator would begin anew behind all that have been ended before.
        for slot in 0..self.allocations.capacity() {
            self.end(slot as u32, EndReason::Shutdown, now.mono, sockets, stats);
        }
    }

    /// Ends what is over. Some of it may be left for the next call, which
    /// [`Self::next_deadline`] then asks for at once.
    pub fn expire(&mut self, now: Now, sockets: &mut dyn RelaySockets, stats: &Stats) {
        for _ in 0..EXPIRIES {
            let Some(slot) = self.wheel.pop(now.mono) else {
                break;
            };
            self.expire_slot(slot, now.mono, sockets, stats);
        }
        self.expire_connections(now.mono, stats);
        self.expire_guests(now.mono);
        self.expire_parked(now.mono, stats);
        self.tell_tallies(now.mono);
        self.ledger.settle(now.mono);
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        let due = [self.connections.next_due(), self.guests.next_due(), self.parked.next_due()];
        let due = due.into_iter().chain([self.next_tally()]);
        due.chain([self.wheel.next_deadline()]).flatten().min()
    }

    fn expire_slot(&mut self, slot: u32, now: Mono, sockets: &mut dyn RelaySockets, stats: &Stats) {
        let Some(allocation) = self.allocations.get_mut(slot as usize) else {
            return;
        };
        let over = |relay: &Relay| relay.expires <= now;
        let reason = if allocation.hard_end.is_some_and(|end| end <= now) {
            Some(EndReason::CredentialExpired)
        } else if allocation.relays.iter().flatten().all(over) {
            Some(EndReason::Expired)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.end(slot, reason, now, sockets, stats);
            return;
        }
        for family in [Family::V4, Family::V6] {
            let allocation = self.allocations.get(slot as usize);
            if allocation.is_some_and(|found| found.relay(family).is_some_and(over)) {
                self.end_relay(RelayId { slot, family }, sockets, stats);
            }
        }
        if let Some(end) = self.allocations.get(slot as usize).and_then(|found| found.next_end()) {
            self.wheel.set(slot, end);
        }
    }

    /// Ends one of two relayed transport addresses of an allocation, with what belongs to it.
    pub(super) fn end_relay(&mut self, id: RelayId, sockets: &mut dyn RelaySockets, stats: &Stats) {
        self.end_connections(id.slot, Some(id.family), stats);
        let allocation = self.allocations.get_mut(id.slot as usize);
        if let Some(relay) = allocation.and_then(|found| found.forget(id.family)) {
            self.close_relay(id, relay, sockets);
        }
    }

    /// The slot of a 5-tuple's allocation. One whose time is over is ended here, in case its
    /// deadline has not been worked off yet.
    pub(super) fn find_live(
        &mut self,
        now: Now,
        tuple: &FiveTuple,
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) -> Option<u32> {
        let slot = self.find(tuple)?;
        if self.allocations.get(slot as usize)?.next_end()? <= now.mono {
            self.expire_slot(slot, now.mono, sockets, stats);
            return self.find(tuple);
        }
        Some(slot)
    }

    /// Ends an allocation: its sockets, ports, quota and deadlines.
    pub(super) fn end(
        &mut self,
        slot: u32,
        reason: EndReason,
        now: Mono,
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) {
        self.end_connections(slot, None, stats);
        let Some(allocation) = self.remove(slot) else {
            return;
        };
        self.wheel.clear(slot);
        self.reports.clear(slot);
        for family in [Family::V4, Family::V6] {
            if let Some(relay) = allocation.relay(family) {
                self.close_relay(RelayId { slot, family }, *relay, sockets);
            }
        }
        self.demobilize(&allocation);
        if allocation.own {
            return;
        }
        self.ledger.dismiss(&allocation.owner, allocation.counted(), now);
        stats.ended[reason as usize].add(1);
        stats.durations.add(now.since(allocation.birth.at).as_millis() as u64);
        let traffic = allocation.traffic;
        stats.session_bytes.add(traffic.to_peer_bytes + traffic.to_client_bytes);
        let session = Box::new(allocation.session(reason, now));
        let leg = (!allocation.detached).then_some(allocation.client.leg);
        self.effects.push_back(Effect::Ended { leg, session });
    }

    /// Closes the socket first, so that no other worker finds the port taken.
    pub(super) fn close_relay(
        &mut self,
        id: RelayId,
        relay: Relay,
        sockets: &mut dyn RelaySockets,
    ) {
        sockets.close(id);
        self.ledger.release_port(relay.local.ip(), relay.local.port());
    }
}
