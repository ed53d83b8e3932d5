//! Mobile clients (RFC 8016) between workers.
//!
//! A client that moves sends its Refresh from a new address, and the kernel may bring that to
//! another worker. A connection then goes to the worker that holds the allocation. Datagrams
//! cannot: their worker hosts the 5-tuple as a guest.
//!
//! ```text
//! host                                     holder
//!   Refresh with ticket  --- Packet --->     the old 5-tuple stays, the new one is noted
//!   sends it, hosts      <-- Answer ----
//!   first data           --- Packet --->     relays it: the client is there, the old 5-tuple goes
//!   takes the allocation <-- Arrival ---     gives it away with its sockets
//!   data that came meanwhile
//! ```
//!
//! So both ways work until the client has shown that it has the new one, and what is relayed makes
//! no detour but for that one datagram.

use std::sync::Arc;

use super::Stats;
use super::engine::Engine;
use super::held::Content;
use super::mailbox::Letter;
use super::outbox::Piece;
use super::relays::{Door, Relay};
use crate::net::{HEADROOM, SLOT_SIZE};
use crate::time::{Mono, Now};
use crate::turn::{Client, Dropped, FiveTuple, Move, Moved, Reply, Transport, Verdict};

/// How often a packet is sent on: its allocation may go on while it is under way.
const HOPS: u8 = 4;

/// A packet for the worker that holds its client's allocation.
pub(super) struct Packet {
    /// Where it has arrived.
    origin: u32,
    hops: u8,
    client: Client,
    content: Content,
}

/// A response for the worker at which the client is.
pub(super) struct Answer {
    holder: u32,
    client: Client,
    /// When the client's allocation ends, if it has one.
    until: Option<Mono>,
    bytes: Box<[u8]>,
}

/// An allocation for the worker at which its client is.
pub(super) struct Arrival {
    moved: Moved,
    sockets: [Option<Relay>; 2],
}

impl Engine {
    /// Sends a client's datagram, which lies in a slot, to the worker that has to answer it. If that
    /// takes nothing, what is to be done is returned.
    pub(super) fn send_elsewhere(
        &mut self,
        now: Now,
        worker: u32,
        client: &Client,
        piece: Piece,
        stats: &Stats,
    ) -> Verdict {
        let Piece { slot, class, .. } = piece;
        let bytes = self.outbox.buffers.slot(slot)[piece.place()].into();
        let content = Content { bytes, class };
        let packet = Packet { origin: self.number as u32, hops: 0, client: *client, content };
        if self.post(worker, Letter::Packet(Box::new(packet))).is_ok() {
            return Verdict::Ignore;
        }
        stats.handover_full.add(1);
        self.decide_here(now, client, slot, piece.place(), stats)
    }

    /// Keeps data of a guest until its allocation comes.
    pub(super) fn hold(&mut self, client: &Client, packet: Piece) {
        let bytes = &self.outbox.buffers.slot(packet.slot)[packet.place()];
        let lost = self.held.keep(self.now.mono, client, bytes, packet.class);
        self.stats.handover_full.add(lost as u64);
    }

    /// A client has come to another worker: its allocation follows.
    pub(super) fn follow(&mut self, moved: &Move) {
        let stats = Arc::clone(&self.stats);
        let Some((state, relays)) = self.server.release(&moved.to, &stats.turn) else {
            return;
        };
        if !self.outbox.sends.is_empty() {
            // The batch knows the sockets by their numbers: what it holds has to leave first.
            stats.sent(self.outbox.sends.flush(&self.outbox.buffers));
        }
        let sockets = relays.map(|relay| self.relays.take(relay?, &self.poller));
        let arrival = Box::new(Arrival { moved: state, sockets });
        if let Err(Letter::Arrival(back)) = self.post(moved.worker, Letter::Arrival(arrival)) {
            // Its client is not reached from here. It is tried again soon.
            self.take_allocation(*back);
            self.unfollowed.push(moved.clone());
        }
    }

    /// Tries again what found no room in a mailbox.
    pub(super) fn follow_again(&mut self) {
        for moved in std::mem::take(&mut self.unfollowed) {
            self.follow(&moved);
        }
    }

    pub(super) fn on_packet_letter(&mut self, packet: Packet) {
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let Packet { origin, hops, client, content } = packet;
        let piece = self.lay_down(&content, &stats);
        if origin == self.number as u32 {
            // Its allocation has come here while it was under way.
            return self.on_packet(now, &client, piece, &stats);
        }
        let bytes = &content.bytes;
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        let out = &mut self.response[..];
        let server = &mut self.server;
        let verdict =
            server.receive_forwarded(now, origin, &client, bytes, out, &mut door, &stats.turn);
        if let Verdict::ToPeer(decision) = &verdict {
            self.send_to_peer(decision, piece, &stats);
        }
        self.settle_forwarded(now, (origin, hops), client, content, verdict);
    }

    /// Does what else the server says about a packet that has arrived at another worker.
    pub(super) fn settle_forwarded(
        &mut self,
        now: Now,
        (origin, hops): (u32, u8),
        client: Client,
        content: Content,
        verdict: Verdict,
    ) {
        let stats = Arc::clone(&self.stats);
        match verdict {
            // A response that did not fit is no response.
            Verdict::Reply(Reply { length: 0, .. }) => {}
            Verdict::Reply(reply) => {
                let until = self.server.ends(&client.tuple);
                let bytes = self.response[..reply.length].into();
                let answer = Answer { holder: self.number as u32, client, until, bytes };
                // Without it, the client asks again.
                let _ = self.post(origin, Letter::Answer(Box::new(answer)));
                self.record_refusal(&client, reply);
            }
            Verdict::Elsewhere(worker) if hops < HOPS => {
                let packet = Packet { origin, hops: hops + 1, client, content };
                if self.post(worker, Letter::Packet(Box::new(packet))).is_err() {
                    stats.handover_full.add(1);
                }
            }
            Verdict::Drop(Dropped::NoAllocation) => {
                // A guest that is not told so lives until its allocation would have ended.
                let _ = self.post(origin, Letter::Gone(client));
            }
            // It comes with the first data that are relayed; what is behind these still waits.
            Verdict::Drop(reason) if reason != Dropped::RateLimited => {
                let _ = self.post(origin, Letter::Stays(client.tuple));
            }
            Verdict::Elsewhere(_) | Verdict::Hold | Verdict::Drop(_) | Verdict::Ignore => {}
            Verdict::ToPeer(_) | Verdict::Park => {}
            // Connections with peers are for clients on streams, which come whole.
            Verdict::Later | Verdict::Bound(..) => {}
        }
        self.effects(now);
    }

    pub(super) fn on_answer(&mut self, answer: &Answer) {
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let Answer { holder, client, until, ref bytes } = *answer;
        if let Some(until) = until
            && !self.host(now, &client, holder, until)
        {
            let _ = self.post(holder, Letter::Parted(client));
            return;
        }
        if !client.tuple.transport.is_stream() {
            self.response[..bytes.len()].copy_from_slice(bytes);
            self.respond(&client, bytes.len(), &stats);
        }
    }

    /// Takes a guest in; false when there is no room, or the client has left meanwhile.
    fn host(&mut self, now: Now, client: &Client, holder: u32, until: Mono) -> bool {
        if !self.server.host(now, client, holder, until) {
            return false;
        }
        let here = match (client.tuple.transport, &mut self.dtls) {
            (Transport::Dtls, Some(dtls)) => dtls.set_waiting(client, false, now.mono),
            _ => true,
        };
        if !here {
            self.server.forget_guest(&client.tuple);
        }
        here
    }

    pub(super) fn on_arrival(&mut self, arrival: Arrival) {
        let tuple = arrival.moved.client().tuple;
        self.take_allocation(arrival);
        self.take_held(&tuple);
    }

    /// What a guest has sent did not bring its allocation: what waits for that may.
    pub(super) fn on_stays(&mut self, tuple: &FiveTuple) {
        self.server.ask_again(tuple);
        self.take_held(tuple);
    }

    fn take_held(&mut self, tuple: &FiveTuple) {
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        for (client, packet) in self.held.take(tuple) {
            let piece = self.lay_down(&packet, &stats);
            self.on_packet(now, &client, piece, &stats);
        }
        self.effects(now);
    }

    pub(super) fn on_gone(&mut self, client: &Client) {
        if !self.server.forget_guest(&client.tuple) {
            return;
        }
        self.set_idle(client, self.now);
        let lost = self.held.take(&client.tuple).len();
        self.stats.handover_full.add(lost as u64);
    }

    pub(super) fn on_parted(&mut self, client: &Client) {
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        self.server.disconnected(now, client, &mut door, &stats.turn);
        self.effects(now);
    }

    /// Takes an allocation in, with its sockets.
    pub(super) fn take_allocation(&mut self, arrival: Arrival) {
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let Arrival { moved, sockets } = arrival;
        let relays = self.server.adopt(moved, &stats.turn);
        for (relay, socket) in relays.into_iter().zip(sockets) {
            if let (Some(id), Some(relay)) = (relay, socket)
                && self.relays.put(id, relay, &self.poller).is_err()
            {
                let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
                self.server.give_up(now, id, &mut door, &stats.turn);
            }
        }
        if let Some(id) = relays.into_iter().flatten().next() {
            let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
            self.server.end_revoked(now, id, &mut door, &stats.turn);
        }
    }

    /// Copies a packet into a slot of its own.
    pub(super) fn lay_down(&mut self, packet: &Content, stats: &Stats) -> Piece {
        let slot = self.outbox.reserve(1, stats);
        let (start, length) = (HEADROOM, packet.bytes.len().min(SLOT_SIZE - HEADROOM));
        let piece = Piece { slot, start, length, class: packet.class };
        let room = &mut self.outbox.buffers.slot_mut(slot)[piece.place()];
        room.copy_from_slice(&packet.bytes[..length]);
        self.outbox.keep(1);
        piece
    }

    /// Leaves a letter for another worker.
    pub(super) fn post(&self, worker: u32, letter: Letter) -> Result<(), Letter> {
        match self.shared.mailboxes.get(worker as usize) {
            Some(mailbox) => mailbox.post(letter),
            None => Err(letter),
        }
    }
}
