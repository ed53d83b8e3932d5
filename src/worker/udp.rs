use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::Stats;
use super::appetite::BATCH;
use super::engine::Engine;
use super::outbox::Way;
use crate::net::{self, Datagram, HEADROOM, enable_drop_count, enable_gro};
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
    pub(super) socket: UdpSocket,
    local: SocketAddr,
    /// Datagrams that the kernel has dropped on it so far.
    dropped: u32,
    serves: Serves,
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
    pub(super) fn new(socket: UdpSocket, trains: bool, serves: Serves) -> std::io::Result<Self> {
        // Without these it works as well: one datagram at a time, and losses unseen.
        if trains {
            let _ = enable_gro(socket.as_fd());
        }
        let _ = enable_drop_count(socket.as_fd());
        Ok(Self { local: socket.local_addr()?, socket, dropped: 0, serves })
    }
}

impl Engine {
    pub(super) fn on_listener(&mut self, index: usize) {
        let stats = Arc::clone(&self.stats);
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
        let local = self.listeners[index].local;
        let server = datagram.to.map_or(local, |ip| SocketAddr::new(ip, local.port()));
        let tuple = FiveTuple { transport: Transport::Udp, client: datagram.from, server };
        let client = Client { tuple, leg: index as u32 };
        let serves = self.listeners[index].serves;
        for segment in datagram.segments() {
            let start = HEADROOM + segment.start;
            if serves.as_dtls(self.outbox.buffers.slot(datagram.slot)[start]) {
                let place = start..start + segment.len();
                self.on_dtls(&client, datagram.slot, place, stats);
            } else {
                self.on_packet(now, &client, datagram.slot, start, segment.len(), stats);
            }
        }
    }

    pub(super) fn on_packet(
        &mut self,
        now: Now,
        client: &Client,
        slot: usize,
        start: usize,
        length: usize,
        stats: &Stats,
    ) {
        let place = start..start + length;
        let verdict = match self.decide(now, client, slot, place.clone(), stats) {
            Verdict::Elsewhere(worker) => {
                self.send_elsewhere(now, worker, client, slot, place, stats)
            }
            Verdict::Hold => return self.hold(client, (slot, place)),
            verdict => verdict,
        };
        match verdict {
            Verdict::ToPeer(decision) => self.send_to_peer(&decision, slot, start, stats),
            // A response that did not fit is no response.
            Verdict::Reply(Reply { length: 0, .. }) => {}
            Verdict::Reply(reply) => {
                match reply.detour {
                    None => self.respond(client, reply.length, stats),
                    Some(detour) => self.respond_by(detour, reply.length, stats),
                }
                self.effects(now);
                self.tell_refusal(client, reply);
            }
            // Whoever can be asked has been asked; connections with peers are for clients on streams.
            Verdict::Later | Verdict::Bound(..) | Verdict::Elsewhere(_) | Verdict::Hold => {}
            Verdict::Drop(_) | Verdict::Ignore => {}
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
                let way = self.way_to(client);
                self.outbox.push_response(way, &self.response[..length], stats);
            }
        }
    }

    /// The same as NAT behaviour discovery asks.
    fn respond_by(&mut self, detour: Detour, length: usize, stats: &Stats) {
        let mut listeners = self.listeners.iter();
        if let Some(listener) = listeners.find(|listener| listener.local == detour.from) {
            let way = Way::new(&listener.socket, detour.to);
            self.outbox.push_response(way, &self.response[..length], stats);
        }
    }

    /// The way to a client whose leg is a listener.
    pub(super) fn way_to(&self, client: &Client) -> Way {
        let listener = &self.listeners[client.leg as usize];
        let wildcard = listener.local.ip().is_unspecified();
        Way::new(&listener.socket, client.tuple.client)
            .from(wildcard.then_some(client.tuple.server.ip()))
    }

    /// Queues a payload; `start` is where the client's packet begins in its slot.
    pub(super) fn send_to_peer(
        &mut self,
        decision: &ToPeer,
        slot: usize,
        start: usize,
        stats: &Stats,
    ) {
        if let Some(relay) = self.relays.for_sending(decision.relay) {
            let way = Way::new(&relay.socket, decision.peer).dont_fragment(decision.dont_fragment);
            let payload = &decision.payload;
            self.outbox.push(way, slot, start + payload.start, payload.len(), stats);
        }
    }

    pub(super) fn on_relay(&mut self, id: RelayId, error: bool) {
        let stats = Arc::clone(&self.stats);
        if error {
            self.on_relay_errors(id, &stats);
        }
        let first = self.outbox.reserve(BATCH, &stats);
        let trains = self.relays.trains;
        // An event may be about a socket that this wake-up has closed.
        let Some(relay) = self.relays.get_mut(id) else {
            return;
        };
        let (most, buffers) = (relay.appetite.most(), &mut self.outbox.buffers);
        let received = if most == 1 && !relay.tells_more {
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
        let segments = datagram.segments();
        let alone = segments.len() == 1;
        for segment in segments {
            let found = self.server.from_peer(now, id, datagram.from, segment.len(), &stats.turn);
            if let Ok(delivery) = found {
                let start = HEADROOM + segment.start;
                self.deliver(&delivery, datagram.slot, start, segment.len(), alone, stats);
            }
        }
    }

    /// Queues a payload with its header for the client. Alone in its slot, it gets the header
    /// right in front of it.
    fn deliver(
        &mut self,
        delivery: &Delivery,
        slot: usize,
        start: usize,
        length: usize,
        alone: bool,
        stats: &Stats,
    ) {
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
            let (leg, limit) = (delivery.client.leg, self.limits.queue);
            self.streams.queue(leg, [header, payload], padding, limit, stats);
            return;
        }
        if let (Transport::Dtls, Some(dtls)) = (delivery.client.tuple.transport, &mut self.dtls) {
            let payload = (slot, start..start + length);
            let outbox = &mut self.outbox;
            dtls.deliver(outbox, &delivery.client, header, payload, padding, stats);
            return;
        }
        let way = self.way_to(&delivery.client);
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
                self.streams.queue(client.leg, [message, &[]], 0, limit, stats);
            } else {
                self.respond(&client, length, stats);
            }
        }
    }
}

/// Counts what the kernel has dropped on a socket since it was last asked.
fn count_drops(before: &mut u32, now: Option<u32>, stats: &Stats) {
    if let Some(now) = now {
        stats.receive_full.add(now.wrapping_sub(*before).into());
        *before = now;
    }
}
