//! The way of datagrams: from a listener through the core to a relay, and back.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::Stats;
use super::appetite::BATCH;
use super::engine::Engine;
use super::listen::Leaving;
use super::outbox::{Piece, Way};
use crate::net::{
    self, Datagram, Family, HEADROOM, enable_drop_count, enable_gro, enable_traffic_class,
};
use crate::stun::DATA_INDICATION_MAX;
use crate::time::Now;
use crate::turn::{
    Client, Delivery, Detour, FiveTuple, Icmp, RelayId, Reply, ToPeer, Transport, Verdict,
};

/// Batches read from a listener in one wake-up: it carries all clients, a relay only one.
const LISTENER_BATCHES: usize = 4;
/// ICMP errors read from a relay socket in one wake-up.
const ICMP_ERRORS: usize = 8;

/// A UDP listener socket.
pub(super) struct Listener {
    /// As its owner calls it.
    pub(super) name: u32,
    pub(super) socket: UdpSocket,
    local: SocketAddr,
    /// Datagrams that the kernel has dropped on it so far.
    dropped: u32,
    pub(super) serves: Serves,
    /// Whether DTLS may be begun here.
    pub(super) takes_dtls: bool,
    /// When nobody new is let in.
    pub(super) leaving: Option<Leaving>,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    Plain,
    /// Both, told apart by the first byte.
    PlainAndDtls,
    Dtls,
}

impl Serves {
    /// RFC 7983 §7: 20 to 63 is DTLS.
    fn as_dtls(self, first: u8) -> bool {
        match self {
            Self::Plain => false,
            Self::PlainAndDtls => matches!(first, 20..=63),
            Self::Dtls => true,
        }
    }
}

impl Listener {
    /// `classes`: the kernel is to tell the traffic class of each datagram.
    pub(super) fn new(
        name: u32,
        socket: UdpSocket,
        trains: bool,
        serves: Serves,
        classes: bool,
    ) -> std::io::Result<Self> {
        let local = socket.local_addr()?;
        // Without these it works as well: one datagram at a time, and losses unseen.
        if trains {
            let _ = enable_gro(socket.as_fd());
        }
        let _ = enable_drop_count(socket.as_fd());
        let (takes_dtls, leaving) = (serves != Serves::Plain, None);
        let listener = Self { name, local, socket, dropped: 0, serves, takes_dtls, leaving };
        if classes {
            listener.tell_class();
        }
        Ok(listener)
    }

    /// Has the kernel tell the traffic class of each datagram.
    pub(super) fn tell_class(&self) {
        let family = if self.local.is_ipv4() { Family::V4 } else { Family::V6 };
        // No error is possible for an open socket of the family.
        let _ = enable_traffic_class(self.socket.as_fd(), family);
    }
}

impl Engine {
    pub(super) fn on_listener(&mut self, index: usize) {
        let stats = Arc::clone(&self.stats);
        if !self.listeners.contains(index) {
            // The event was about a socket that this wake-up has closed.
            return;
        }
        for _ in 0..LISTENER_BATCHES {
            let first = self.outbox.reserve(BATCH, &stats);
            let listener = &mut self.listeners[index];
            let socket = listener.socket.as_fd();
            let received = self.receive.receive(socket, &mut self.outbox.buffers, first, BATCH);
            count_drops(&mut listener.dropped, self.receive.drop_count(), &stats);
            // A listener that cannot be read is read again at the next wake-up.
            let received = received.unwrap_or(0);
            self.outbox.keep(received);
            self.taken += received;
            let now = self.now;
            for number in 0..received {
                if let Some(datagram) = self.receive.datagram(number) {
                    self.on_train(now, index, datagram, &stats);
                }
            }
            if received < BATCH {
                break;
            }
        }
    }

    /// Handles the datagrams of one client that the kernel has handed over in one piece.
    fn on_train(&mut self, now: Now, index: usize, datagram: Datagram, stats: &Stats) {
        let listener = &self.listeners[index];
        let (local, serves) = (listener.local, listener.serves);
        let (leaves, takes_dtls) = (listener.leaving.is_some(), listener.takes_dtls);
        let server = datagram.to.map_or(local, |ip| SocketAddr::new(ip, local.port()));
        let tuple = FiveTuple { transport: Transport::Udp, client: datagram.from, server };
        let client = Client { tuple, leg: index as u32 };
        if leaves && !self.is_known(&tuple) {
            return stats.listener_gone.add(datagram.segments().len() as u64);
        }
        for piece in pieces(&datagram, self.passed_class) {
            if serves.as_dtls(self.outbox.buffers.slot(piece.slot)[piece.start]) {
                let begins = takes_dtls && !leaves;
                if begins || self.has_association(&tuple) {
                    self.on_dtls(&client, piece, begins, stats);
                } else {
                    stats.listener_gone.add(1);
                }
            } else {
                self.on_packet(now, &client, piece, stats);
            }
        }
    }

    pub(super) fn on_packet(&mut self, now: Now, client: &Client, piece: Piece, stats: &Stats) {
        let verdict = self.decide(now, client, piece.slot, piece.place(), stats);
        self.act(now, client, piece, verdict, stats);
    }

    /// Does what the server says about a client's datagram.
    pub(super) fn act(
        &mut self,
        now: Now,
        client: &Client,
        piece: Piece,
        verdict: Verdict,
        stats: &Stats,
    ) {
        let verdict = match verdict {
            Verdict::Elsewhere(worker) => self.send_elsewhere(now, worker, client, piece, stats),
            Verdict::Hold => return self.hold(client, piece),
            verdict => verdict,
        };
        match verdict {
            Verdict::ToPeer(decision) => self.send_to_peer(&decision, piece, stats),
            // A response that did not fit is no response.
            Verdict::Reply(Reply { length: 0, .. }) => {}
            Verdict::Reply(reply) => {
                match reply.detour {
                    None => self.respond(client, reply.length, stats),
                    Some(detour) => self.respond_by(detour, reply.length, stats),
                }
                self.effects(now);
                self.record_refusal(client, reply);
            }
            // Whoever can be asked has been asked; connections with peers are for clients on streams.
            Verdict::Later | Verdict::Bound(..) | Verdict::Elsewhere(_) | Verdict::Hold => {}
            Verdict::Drop(_) | Verdict::Ignore => {}
            Verdict::Park => self.effects(now),
        }
    }

    /// Queues the response that the server has written.
    pub(super) fn respond(&mut self, client: &Client, length: usize, stats: &Stats) {
        let message = &self.response[..length];
        match (client.tuple.transport, &mut self.dtls) {
            (Transport::Dtls, Some(dtls)) => {
                dtls.respond(&mut self.outbox, client, message, stats);
            }
            _ => {
                if let Some(way) = self.way_to(client) {
                    self.outbox.push_response(way, &self.response[..length], stats);
                }
            }
        }
    }

    /// The same as NAT behaviour discovery asks.
    fn respond_by(&mut self, detour: Detour, length: usize, stats: &Stats) {
        let mut listeners = self.listeners.iter();
        if let Some((_, listener)) = listeners.find(|(_, listener)| listener.local == detour.from) {
            let way = Way::new(&listener.socket, detour.to);
            self.outbox.push_response(way, &self.response[..length], stats);
        }
    }

    /// The way to a client whose leg is a listener, if that is there still.
    pub(super) fn way_to(&self, client: &Client) -> Option<Way> {
        let listener = self.listeners.get(client.leg as usize)?;
        let wildcard = listener.local.ip().is_unspecified();
        let way = Way::new(&listener.socket, client.tuple.client);
        Some(way.from(wildcard.then_some(client.tuple.server.ip())))
    }

    /// Queues the payload of a client's packet.
    pub(super) fn send_to_peer(&mut self, decision: &ToPeer, packet: Piece, stats: &Stats) {
        if let Some(relay) = self.relays.for_sending(decision.relay) {
            let way = Way::new(&relay.socket, decision.peer)
                .dont_fragment(decision.dont_fragment)
                .class(packet.class);
            let payload = &decision.payload;
            let start = packet.start + payload.start;
            self.outbox.push(way, packet.slot, start, payload.len(), stats);
        }
    }

    pub(super) fn on_relay(&mut self, id: RelayId, error: bool) {
        let stats = Arc::clone(&self.stats);
        if error {
            self.on_relay_errors(id, &stats);
        }
        let first = self.outbox.reserve(BATCH, &stats);
        let (trains, classes) = (self.relays.trains, self.passed_class != 0);
        // An event may be about a socket that this wake-up has closed.
        let Some(relay) = self.relays.get_mut(id) else {
            return;
        };
        if classes {
            relay.tell_class();
        }
        let (most, buffers) = (relay.appetite.most(), &mut self.outbox.buffers);
        let received = if most == 1 && !relay.tells_more && !classes {
            self.receive.receive_plain(relay.socket.as_fd(), buffers, first)
        } else {
            self.receive.receive(relay.socket.as_fd(), buffers, first, most)
        };
        count_drops(&mut relay.dropped, self.receive.drop_count(), &stats);
        let received = received.unwrap_or(0);
        relay.appetite.fed(received);
        if relay.appetite.is_large() && !relay.tells_more {
            relay.tell_more(trains);
        }
        self.outbox.keep(received);
        self.taken += received;
        let now = self.now;
        for number in 0..received {
            if let Some(datagram) = self.receive.datagram(number) {
                self.on_peer_train(now, id, datagram, &stats);
            }
        }
    }

    /// Relays the datagrams of one peer that the kernel has handed over in one piece.
    fn on_peer_train(&mut self, now: Now, id: RelayId, datagram: Datagram, stats: &Stats) {
        let pieces = pieces(&datagram, self.passed_class);
        let alone = pieces.len() == 1;
        for piece in pieces {
            let found = self.server.from_peer(now, id, datagram.from, piece.length, &stats.turn);
            if let Ok(delivery) = found {
                self.deliver(&delivery, piece, alone, stats);
            }
        }
    }

    /// Queues a payload with its header for the client. Alone in its slot, it gets the header
    /// right in front of it.
    fn deliver(&mut self, delivery: &Delivery, payload: Piece, alone: bool, stats: &Stats) {
        let Piece { slot, start, length, class } = payload;
        let stream = delivery.client.tuple.transport.is_stream();
        let padding = delivery.framing.padding(length, stream);
        let mut headroom = [0; DATA_INDICATION_MAX];
        let Some(header) = delivery.framing.write(&mut headroom, length) else {
            stats.turn.drop_too_long();
            return;
        };
        let header = &headroom[DATA_INDICATION_MAX - header..];
        if stream {
            let payload = &self.outbox.buffers.slot(slot)[start..start + length];
            let limit = self.limits.queue;
            self.streams.queue_for(&delivery.client, [header, payload], padding, limit, stats);
            return;
        }
        if let (Transport::Dtls, Some(dtls)) = (delivery.client.tuple.transport, &mut self.dtls) {
            dtls.deliver(&mut self.outbox, &delivery.client, header, payload, padding, stats);
            return;
        }
        let Some(way) = self.way_to(&delivery.client).map(|way| way.class(class)) else {
            return;
        };
        if alone {
            let room = self.outbox.buffers.slot_mut(slot);
            room[start - header.len()..start].copy_from_slice(header);
            room[start + length..start + length + padding].fill(0);
            let (start, length) = (start - header.len(), header.len() + length + padding);
            self.outbox.push(way, slot, start, length, stats);
        } else {
            self.outbox.push_framed(way, slot, start..start + length, header, padding, stats);
        }
    }

    /// Tells the client what ICMP says about its packets (RFC 8656 §11.5).
    fn on_relay_errors(&mut self, id: RelayId, stats: &Stats) {
        for _ in 0..ICMP_ERRORS {
            let Some(relay) = self.relays.get(id) else {
                return;
            };
            let Ok(Some(error)) = net::next_icmp(relay.socket.as_fd()) else {
                return;
            };
            // The kernel itself refuses what must not be fragmented and is known to be too big.
            let icmp = match (error.local, error.v6) {
                (true, false) => Icmp { kind: 3, code: 4, mtu: error.mtu },
                (true, true) => Icmp { kind: 2, code: 0, mtu: error.mtu },
                (false, _) => Icmp { kind: error.kind, code: error.code, mtu: error.mtu },
            };
            let now = self.now;
            let out = &mut self.response[..];
            let found = self.server.from_icmp(now, id, error.peer, icmp, out, &stats.turn);
            let Some((client, length)) = found else {
                continue;
            };
            if client.tuple.transport.is_stream() {
                let (limit, message) = (self.limits.queue, &self.response[..length]);
                self.streams.queue_for(&client, [message, &[]], 0, limit, stats);
            } else {
                self.respond(&client, length, stats);
            }
        }
    }
}

/// The datagrams that came in one piece, of whose class the bits in `passed` are passed on (RFC 8656 §14).
fn pieces(datagram: &Datagram, passed: u8) -> impl ExactSizeIterator<Item = Piece> + use<> {
    let (slot, class) = (datagram.slot, datagram.traffic_class & passed);
    datagram.segments().map(move |segment| {
        let (start, length) = (HEADROOM + segment.start, segment.len());
        Piece { slot, start, length, class }
    })
}

/// Counts what the kernel has dropped on a socket since it was last asked.
fn count_drops(before: &mut u32, now: Option<u32>, stats: &Stats) {
    if let Some(now) = now {
        stats.receive_full.add(now.wrapping_sub(*before).into());
        *before = now;
    }
}
