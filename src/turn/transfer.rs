use std::sync::Arc;

use super::allocation::Allocation;
use super::index::Place;
use super::ticket::Holder;
use super::{Client, EndReason, FiveTuple, RelayId, RelaySockets, Server, Stats, Verdict};
use crate::auth::OnRevocation;
use crate::stun::Family;
use crate::time::{Mono, Now};

/// An allocation on its way from one worker to another: all of its state, as plain data. Its
/// sockets go beside it.
pub struct Moved(Box<Allocation>);

impl Moved {
    /// The 5-tuple that it follows.
    pub fn client(&self) -> &Client {
        &self.0.client
    }
}

impl Server {
    /// Takes a packet that has arrived at another worker, `origin`: that worker's own server has
    /// said [`Verdict::Elsewhere`]. `client` has the leg of that worker.
    #[expect(clippy::too_many_arguments, reason = "receive, and where from")]
    pub fn receive_forwarded(
        &mut self,
        now: Now,
        origin: u32,
        client: &Client,
        packet: &[u8],
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) -> Verdict {
        self.origin = Some(origin);
        let verdict = self.receive(now, client, packet, out, sockets, stats);
        self.origin = None;
        verdict
    }

    /// Takes a packet that another server should have had, which takes nothing now. Its request is
    /// refused with 508, and everything stays where it is.
    pub fn receive_here(
        &mut self,
        now: Now,
        client: &Client,
        packet: &[u8],
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) -> Verdict {
        self.here = true;
        let verdict = self.receive(now, client, packet, out, sockets, stats);
        self.here = false;
        verdict
    }

    /// When the allocation of a 5-tuple ends unless it is refreshed.
    pub fn ends(&self, tuple: &FiveTuple) -> Option<Mono> {
        self.allocations.get(self.find(tuple)? as usize)?.last_end()
    }

    /// Takes out the allocation of a client that has come to another worker's 5-tuple, for
    /// [`Self::adopt`] there. Its sockets, those of the relays that are returned, stay open and go
    /// with it. `None` when there is nothing to do.
    pub fn release(
        &mut self,
        tuple: &FiveTuple,
        stats: &Stats,
    ) -> Option<(Moved, [Option<RelayId>; 2])> {
        let slot = self.find(tuple)?;
        let mobility = self.allocations.get(slot as usize)?.mobility.as_ref()?;
        let (name, worker) = (mobility.name, mobility.away?);
        // One more move that has begun meanwhile would lose its way: the client begins it again.
        self.drop_next(slot);
        let allocation = Box::new(self.remove(slot)?);
        self.wheel.clear(slot);
        self.reports.clear(slot);
        if let Some(tickets) = self.ledger.tickets.get() {
            tickets.settle(name, Holder { worker, slot: None });
        }
        stats.moved_out.add(1);
        let relays = relays(&allocation, slot);
        Some((Moved(allocation), relays))
    }

    /// Takes in an allocation that another worker has [released](Self::release): its sockets are
    /// now known by the relays that are returned.
    pub fn adopt(&mut self, moved: Moved, stats: &Stats) -> [Option<RelayId>; 2] {
        let mut allocation = *moved.0;
        self.forget_guest(&allocation.client.tuple);
        let taken = self.find(&allocation.client.tuple).is_some();
        if let Some(mobility) = &mut allocation.mobility
            && (mobility.away == Some(self.seat.number) || taken)
        {
            mobility.away = None;
            allocation.detached = taken;
        }
        // The realms may have changed while it was on its way, as may the settings.
        match self.realm_named(allocation.realm.name()) {
            Some(realm) => allocation.realm = Arc::clone(realm),
            None => {
                let now = allocation.realm.under(&self.settings.peers);
                // Else all allocations of it go on sharing one.
                if now.peers != allocation.realm.peers {
                    allocation.realm = now;
                }
            }
        }
        allocation.revoked =
            self.is_revoked(&allocation.realm, &allocation.credential, allocation.revoked);
        let end = allocation.next_end();
        let name = allocation.mobility.as_ref().map(|mobility| mobility.name);
        let slot = self.allocations.insert(allocation) as u32;
        if !taken {
            self.link(Place::of(slot));
        }
        if let Some(end) = end {
            self.wheel.set(slot, end);
        }
        self.file_report(slot);
        if let (Some(name), Some(tickets)) = (name, self.ledger.tickets.get()) {
            tickets.settle(name, Holder { worker: self.seat.number, slot: Some(slot) });
        }
        self.end_denied(slot, stats);
        stats.moved_in.add(1);
        relays(&self.allocations[slot as usize], slot)
    }

    /// Ends an allocation that has been [adopted](Self::adopt), and has its sockets, if its credential was revoked on the
    /// way and the operator wants that.
    pub fn end_revoked(
        &mut self,
        now: Now,
        relay: RelayId,
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) {
        let ends =
            |it: &Allocation| it.revoked && it.realm.authority.on_revocation() == OnRevocation::End;
        if self.allocations.get(relay.slot as usize).is_some_and(ends) {
            self.end(relay.slot, EndReason::CredentialRevoked, now.mono, sockets, stats);
        }
    }
}

/// The relays that an allocation in a slot has.
fn relays(allocation: &Allocation, slot: u32) -> [Option<RelayId>; 2] {
    [Family::V4, Family::V6]
        .map(|family| allocation.relay(family).map(|_| RelayId { slot, family }))
}
