use std::net::IpAddr;
use std::sync::Arc;

use super::allocation::Allocation;
use super::index::Place;
use super::request::Request;
use super::server::Context;
use super::ticket::{Grant, Holder, LAST_NUMBER, Ticket, Tickets};
use super::{
    Cause, Client, Dropped, Effect, FiveTuple, Move, Protocol, RelaySockets, Server, Stats, Verdict,
};
use crate::stun::{Method, TransactionId};

/// 5-tuples that are remembered of one allocation: the first and the last ones.
const REMEMBERED: usize = 8;

/// What a mobile allocation has besides (RFC 8016).
pub(super) struct Mobility {
    /// Names it in its tickets.
    pub(super) name: u64,
    /// The number of its ticket that is good; all lower ones have been used.
    number: u32,
    /// Who used the last one: a retransmission is answered the same again.
    used: Option<Used>,
    /// Where the client is moving to: it has got a Refresh response there and has not sent data yet.
    pub(super) next: Option<Next>,
    /// The worker at which the packets of [`Allocation::client`] arrive, if it is another one: the
    /// allocation is about to go there.
    pub(super) away: Option<u32>,
    /// The client address that it is counted for, wherever it goes.
    pub(super) counted: IpAddr,
    /// The 5-tuples that it had before, the oldest first.
    pub(super) earlier: Vec<FiveTuple>,
}

struct Used {
    transaction: TransactionId,
    lifetime: u32,
}

/// A 5-tuple that is not sure yet.
pub(super) struct Next {
    pub(super) client: Client,
    /// The worker at which its packets arrive.
    pub(super) worker: u32,
}

impl Mobility {
    fn grant(&self) -> Grant {
        Grant { allocation: self.name, number: self.number }
    }

    /// Whether the request is the one that the last ticket was used with.
    fn repeats(&self, grant: Grant, id: TransactionId) -> Option<u32> {
        let used = self.used.as_ref().filter(|used| used.transaction == id)?;
        (grant.number + 1 == self.number).then_some(used.lifetime)
    }

    fn remember(&mut self, tuple: FiveTuple) {
        if self.earlier.len() == REMEMBERED {
            self.earlier.remove(1);
        }
        self.earlier.push(tuple);
    }
}

impl Server {
    /// What an Allocate with MOBILITY-TICKET gets (RFC 8016 §3.1.2): `None` if it has none.
    pub(super) fn admit_mobility(&self, request: &Request<'_>) -> Result<bool, Cause> {
        match request.ticket {
            None => Ok(false),
            Some(_) if !self.settings.mobility => Err(Cause::MobilityForbidden),
            Some([]) => Ok(true),
            Some(_) => Err(Cause::BadTicket),
        }
    }

    /// Makes a name for a mobile allocation in a slot, and files it.
    pub(super) fn mobilize(&mut self, slot: u32, client: &Client) -> Box<Mobility> {
        let random = &mut self.random;
        let tickets = self.ledger.tickets.get_or_init(|| {
            let mut key = [0; 32];
            let words = key.chunks_exact_mut(8);
            words.for_each(|word| word.copy_from_slice(&random.next_u64().to_be_bytes()));
            Tickets::new(key)
        });
        let name = tickets.name();
        tickets.settle(name, Holder { worker: self.seat.number, slot: Some(slot) });
        Box::new(Mobility {
            name,
            number: 0,
            used: None,
            next: None,
            away: None,
            counted: client.tuple.client.ip(),
            earlier: Vec::new(),
        })
    }

    /// Forgets a mobile allocation that has ended.
    pub(super) fn demobilize(&mut self, allocation: &Allocation) {
        let Some(mobility) = &allocation.mobility else {
            return;
        };
        if let Some(tickets) = self.ledger.tickets.get() {
            tickets.forget(mobility.name);
        }
        if let Some(Next { client, worker }) = mobility.next {
            self.effects.push_back(Effect::Released { client, worker });
        }
        if let Some(worker) = mobility.away {
            self.effects.push_back(Effect::Released { client: allocation.client, worker });
        }
    }

    /// The ticket to send with an Allocate's response: the first one.
    pub(super) fn first_ticket(&self, allocation: &Allocation) -> Option<Ticket> {
        let (mobility, tickets) = (allocation.mobility.as_ref()?, self.ledger.tickets.get()?);
        Some(tickets.seal(Grant { allocation: mobility.name, number: 0 }))
    }

    /// The ticket that is good now. It also goes out with a Refresh that had none, so that a
    /// client that has lost a response does not lose its mobility.
    pub(super) fn ticket(&self, slot: u32) -> Option<Ticket> {
        let mobility = self.allocations.get(slot as usize)?.mobility.as_ref()?;
        Some(self.ledger.tickets.get()?.seal(mobility.grant()))
    }

    /// What a Refresh's ticket names, whoever sent it.
    fn named(&self, request: &Request<'_>) -> Option<(Grant, Option<Holder>)> {
        let ticket = request.ticket.filter(|_| request.method == Method::REFRESH)?;
        let tickets = self.ledger.tickets.get().filter(|_| self.settings.mobility)?;
        let grant = tickets.open(ticket)?;
        Some((grant, tickets.holder(grant.allocation)))
    }

    /// The slot of the allocation that a Refresh's ticket names, if this worker holds it.
    pub(super) fn named_slot(&self, request: &Request<'_>) -> Option<u32> {
        let (_, holder) = self.named(request)?;
        holder.filter(|holder| holder.worker == self.seat.number)?.slot
    }

    /// What becomes of a request on a 5-tuple without an allocation that is not for this worker to
    /// answer.
    pub(super) fn stray(
        &self,
        client: &Client,
        request: &Request<'_>,
    ) -> Option<Result<Verdict, Dropped>> {
        if let Some(server) = self.elsewhere(client, request) {
            return Some(Ok(Verdict::Elsewhere(server)));
        }
        let holder = self.named(request).and_then(|(_, holder)| holder);
        // Who holds the allocation knows the key that the request is signed with. A ticket that
        // opens was made here, so that strangers find nobody to trouble.
        let signed = request.message.integrity().is_some() && !self.here;
        if let Some(holder) = holder.filter(|it| it.worker != self.seat.number && signed) {
            return Some(Ok(Verdict::Elsewhere(holder.worker)));
        }
        // One that was sent on finds its allocation gone: nothing must begin here.
        let lost = self.origin.is_some() && holder.and_then(|holder| holder.slot).is_none();
        lost.then_some(Err(Dropped::NoAllocation))
    }

    /// RFC 8016 §3.2.2: a Refresh with a ticket. `slot` is what the 5-tuple has.
    pub(super) fn refresh_by_ticket(
        &mut self,
        context: &Context<'_>,
        slot: Option<u32>,
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
    ) -> Result<usize, Cause> {
        let request = context.request;
        if !self.settings.mobility {
            return Err(Cause::MobilityForbidden);
        }
        if request.malformed {
            return Err(Cause::Malformed);
        }
        let (grant, holder) = self.named(request).ok_or(Cause::BadTicket)?;
        let holder = holder.ok_or(Cause::LostAllocation)?;
        let here = holder.slot.filter(|_| holder.worker == self.seat.number);
        if slot.is_some() && slot != here {
            return Err(Cause::AllocationExists);
        }
        // On its way to this worker: it is there in a moment.
        let here = here.ok_or(Cause::Busy)?;
        let allocation = self.allocations.get(here as usize).ok_or(Cause::LostAllocation)?;
        let mobility = allocation.mobility.as_ref().ok_or(Cause::LostAllocation)?;
        // RFC 6062 §4.1: the control connection of a TCP allocation is a stream, wherever it goes.
        let stream = context.client.tuple.transport.is_stream();
        if allocation.protocol() == Protocol::Tcp && !stream {
            return Err(Cause::NeedsStream);
        }
        let owned = allocation.credential.is_of_same_user(&context.who.credential);
        if slot == Some(here) {
            return match mobility.repeats(grant, request.id) {
                Some(lifetime) if owned => Ok(self.refresh_response(context, here, lifetime, out)),
                _ if grant.number == mobility.number => Err(Cause::SameAddress),
                _ => Err(Cause::UsedTicket),
            };
        }
        if grant.number != mobility.number {
            return Err(Cause::UsedTicket);
        }
        if !owned {
            return Err(Cause::WrongUser);
        }
        if grant.number == LAST_NUMBER {
            return Err(Cause::MobilityForbidden);
        }
        let (family, lifetime) = self.renewal(context, here)?;
        self.renew(context, here, family, lifetime, sockets);
        if let Some(mobility) = self.mobility_mut(here) {
            mobility.number += 1;
            mobility.used = Some(Used { transaction: request.id, lifetime });
            self.expect(here, context);
        }
        Ok(self.refresh_response(context, here, lifetime, out))
    }

    fn mobility_mut(&mut self, slot: u32) -> Option<&mut Mobility> {
        self.allocations.get_mut(slot as usize)?.mobility.as_deref_mut()
    }

    /// Notes where the client is moving to. The 5-tuple that it has stays until it sends data on
    /// the new one; one that it was moving to before, and never used, is dropped.
    fn expect(&mut self, slot: u32, context: &Context<'_>) {
        self.drop_next(slot);
        let next =
            Next { client: *context.client, worker: self.origin.unwrap_or(self.seat.number) };
        let Some(allocation) = self.allocations.get_mut(slot as usize) else {
            return;
        };
        let gone = allocation.detached;
        if let Some(mobility) = &mut allocation.mobility {
            mobility.next = Some(next);
            self.link(Place::next(slot));
        }
        if gone {
            // Break before make: there is nothing to wait for.
            self.arrive(slot, context.stats);
        }
    }

    /// The allocation has been refreshed: the worker at which the 5-tuple that its client is moving
    /// to is a guest has to know. Its own Refresh is answered by way of that.
    pub(super) fn tell_host(&mut self, context: &Context<'_>, slot: u32) {
        let Some(&mut Next { client, worker }) =
            self.mobility_mut(slot).and_then(|mobility| mobility.next.as_mut())
        else {
            return;
        };
        if worker != self.seat.number
            && client.tuple != context.client.tuple
            && let Some(until) = self.ends(&client.tuple)
        {
            self.effects.push_back(Effect::Renewed { client, worker, until });
        }
    }

    /// Drops the 5-tuple that a client was moving to.
    pub(super) fn drop_next(&mut self, slot: u32) {
        self.unlink(Place::next(slot));
        if let Some(Next { client, worker }) = self.mobility_mut(slot).and_then(|m| m.next.take()) {
            self.effects.push_back(Effect::Released { client, worker });
        }
    }

    /// RFC 8016 §3.2.2: the client has sent data on the new 5-tuple, or closed the old one. From
    /// now on there is the new one only.
    pub(super) fn arrive(&mut self, slot: u32, stats: &Stats) {
        self.unlink(Place::next(slot));
        let Some(next) = self.mobility_mut(slot).and_then(|mobility| mobility.next.take()) else {
            return;
        };
        self.unlink(Place::of(slot));
        let Some(allocation) = self.allocations.get_mut(slot as usize) else {
            return;
        };
        let Next { client, worker } = next;
        let before = std::mem::replace(&mut allocation.client, client);
        let elsewhere = worker != self.seat.number;
        let detached = std::mem::replace(&mut allocation.detached, elsewhere);
        let mut last = Some(self.seat.number).filter(|_| !detached);
        if let Some(mobility) = &mut allocation.mobility {
            mobility.remember(before.tuple);
            let away = Some(worker).filter(|_| elsewhere);
            last = std::mem::replace(&mut mobility.away, away).or(last);
        }
        let moved = Box::new(allocation.move_from(before.tuple, worker));
        if let Some(worker) = last {
            self.effects.push_back(Effect::Released { client: before, worker });
        }
        self.effects.push_back(Effect::Moved(moved));
        self.link(Place::of(slot));
        stats.moves.add(1);
    }

    /// The client of a mobile allocation has closed a connection. Its other 5-tuple takes over; if
    /// there is none, the allocation waits for the client to come back until its lifetime is over.
    pub(super) fn disconnect_mobile(&mut self, slot: u32, next: bool, stats: &Stats) {
        let Some(mobility) = self.mobility_mut(slot) else {
            return;
        };
        if next {
            self.drop_next(slot);
        } else if mobility.next.is_some() {
            self.arrive(slot, stats);
        } else {
            mobility.away = None;
            self.unlink(Place::of(slot));
            self.allocations[slot as usize].detached = true;
        }
    }
}

impl Allocation {
    /// The 5-tuple that a place in the index is about.
    pub(super) fn tuple(&self, next: bool) -> &FiveTuple {
        &self.client_at(next).tuple
    }

    /// The client of such a place.
    pub(super) fn client_at(&self, next: bool) -> &Client {
        let next = if next { self.mobility.as_ref().and_then(|m| m.next.as_ref()) } else { None };
        next.map_or(&self.client, |next| &next.client)
    }

    /// The client address that it is counted for.
    pub(super) fn counted(&self) -> IpAddr {
        let mobile = self.mobility.as_ref().map(|mobility| mobility.counted);
        mobile.unwrap_or(self.client.tuple.client.ip())
    }

    fn move_from(&self, from: FiveTuple, worker: u32) -> Move {
        Move {
            id: self.id,
            realm: Arc::clone(self.credential.realm()),
            username: self.credential.username().to_owned(),
            from,
            to: self.client.tuple,
            worker,
            relayed: self.relays.map(|relay| relay.map(|relay| relay.advertised)),
        }
    }
}
