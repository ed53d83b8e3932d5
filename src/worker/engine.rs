use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::group::Shared;
use super::outbox::{BATCH, Outbox, Way};
use super::relays::{Door, Relays};
use super::sockets::Listeners;
use super::streams::Streams;
use super::{Clock, Event, Events, Settings, Stats, StreamLimits};
use crate::net::{self, HEADROOM, Interest, Poller, RecvBatch, Waker};
use crate::stun::DATA_INDICATION_MAX;
use crate::time::{Mono, Now};
use crate::turn::{
    Client, Delivery, Effect, FiveTuple, Icmp, Limits, RESPONSE_MAX, RelayId, Reply, Server,
    ToPeer, Transport, Verdict,
};

/// Sockets served in one wake-up; the others are told again, behind these.
const EVENTS: usize = 128;
/// Batches read from a listener in one wake-up: it carries all clients, a relay only one.
const LISTENER_BATCHES: usize = 4;
/// ICMP errors read from a relay socket in one wake-up.
const ICMP_ERRORS: usize = 8;

/// What an event of the poller is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Waker,
    Udp(u32),
    Acceptor(u32),
    Relay(u32),
    Stream(u32),
}

impl Token {
    pub(super) const fn pack(self) -> u64 {
        let (kind, index) = match self {
            Self::Waker => (0, 0),
            Self::Udp(index) => (1, index),
            Self::Acceptor(index) => (2, index),
            Self::Relay(index) => (3, index),
            Self::Stream(index) => (4, index),
        };
        kind << 32 | index as u64
    }

    const fn unpack(token: u64) -> Self {
        let index = token as u32;
        match token >> 32 {
            1 => Self::Udp(index),
            2 => Self::Acceptor(index),
            3 => Self::Relay(index),
            4 => Self::Stream(index),
            _ => Self::Waker,
        }
    }
}

/// A UDP listener socket.
struct Listener {
    socket: UdpSocket,
    local: SocketAddr,
}

/// One worker: the thread's whole state.
pub(super) struct Engine {
    pub(super) server: Server,
    pub(super) stats: Arc<Stats>,
    pub(super) poller: Poller,
    pub(super) shared: Arc<Shared>,
    pub(super) events: Events,
    pub(super) clock: Clock,
    waker: Arc<Waker>,
    listeners: Vec<Listener>,
    pub(super) acceptors: Vec<TcpListener>,
    pub(super) relays: Relays,
    pub(super) outbox: Outbox,
    receive: RecvBatch,
    /// Where the server writes responses.
    pub(super) response: Box<[u8; RESPONSE_MAX]>,
    pub(super) streams: Streams,
    pub(super) limits: StreamLimits,
    /// Client addresses without a limit of connections.
    pub(super) exempt: Limits,
    /// When to accept again, after the system was out of descriptors.
    pub(super) accept_again: Option<Mono>,
    pub(super) broken: Vec<u32>,
}

impl Engine {
    #[expect(clippy::too_many_arguments, reason = "everything that a worker is made of")]
    pub(super) fn new(
        server: Server,
        sockets: Listeners,
        settings: &Settings,
        exempt: &Limits,
        workers: usize,
        shared: Arc<Shared>,
        stats: Arc<Stats>,
        waker: Arc<Waker>,
        clock: Clock,
        events: Events,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(waker.as_fd(), Token::Waker.pack(), Interest::Read)?;
        let mut listeners = Vec::new();
        for (index, socket) in sockets.udp.into_iter().enumerate() {
            poller.add(socket.as_fd(), Token::Udp(index as u32).pack(), Interest::Read)?;
            listeners.push(Listener { local: socket.local_addr()?, socket });
        }
        for (index, socket) in sockets.tcp.iter().enumerate() {
            poller.add(socket.as_fd(), Token::Acceptor(index as u32).pack(), Interest::Read)?;
        }
        let mut limits = settings.streams.clone();
        limits.without_allocation = limits.without_allocation.div_ceil(workers.max(1) as u32);
        Ok(Self {
            server,
            stats,
            poller,
            shared,
            events,
            clock,
            waker,
            listeners,
            acceptors: sockets.tcp,
            relays: Relays::new(settings.relay_buffer),
            outbox: Outbox::new(),
            receive: RecvBatch::new(BATCH),
            response: Box::new([0; RESPONSE_MAX]),
            streams: Streams::default(),
            limits,
            exempt: exempt.clone(),
            accept_again: None,
            broken: Vec::new(),
        })
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let mut ready = net::Events::with_capacity(EVENTS);
        while !self.shared.stop.load(Ordering::Acquire) {
            let now = self.clock.now().mono;
            let timeout = self.next_deadline().map(|deadline| deadline.since(now));
            // A poller that cannot wait is out of memory: the next turn may do better.
            if self.poller.wait(&mut ready, timeout).is_err() {
                std::thread::yield_now();
            }
            for event in ready.iter() {
                match Token::unpack(event.token()) {
                    Token::Waker => self.waker.drain(),
                    Token::Udp(index) => self.on_listener(index as usize),
                    Token::Acceptor(index) => self.on_acceptor(index as usize),
                    Token::Relay(index) => {
                        self.on_relay(RelayId::from_index(index as usize), event.error());
                    }
                    Token::Stream(leg) => self.on_stream(leg, event),
                }
            }
            if ready.len() == EVENTS {
                // More is ready than was told, and the listeners carry everybody.
                for index in 0..self.listeners.len() {
                    self.on_listener(index);
                }
            }
            self.finish_turn();
        }
        self.shut_down();
    }

    fn next_deadline(&self) -> Option<Mono> {
        [self.server.next_deadline(), self.stream_deadline()].into_iter().flatten().min()
    }

    /// Sends what the wake-up has produced and ends what is over.
    fn finish_turn(&mut self) {
        let now = self.clock.now();
        if self.server.next_deadline().is_some_and(|deadline| deadline <= now.mono) {
            let stats = Arc::clone(&self.stats);
            let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
            self.server.expire(now, &mut door, &stats.turn);
            self.effects(now);
        }
        self.outbox.flush(&self.stats);
        self.finish_streams(now);
    }

    fn on_listener(&mut self, index: usize) {
        let stats = Arc::clone(&self.stats);
        for _ in 0..LISTENER_BATCHES {
            let first = self.outbox.reserve(BATCH, &stats);
            let socket = self.listeners[index].socket.as_fd();
            let received = self.receive.receive(socket, &mut self.outbox.buffers, first, BATCH);
            // A listener that cannot be read is read again at the next wake-up.
            let received = received.unwrap_or(0);
            self.outbox.keep(received);
            let now = self.clock.now();
            for number in 0..received {
                if let Some(datagram) = self.receive.datagram(number) {
                    self.on_datagram(now, index, datagram, &stats);
                }
            }
            if received < BATCH {
                break;
            }
        }
    }

    fn on_datagram(&mut self, now: Now, index: usize, datagram: net::Datagram, stats: &Stats) {
        let local = self.listeners[index].local;
        let server = datagram.to.map_or(local, |ip| SocketAddr::new(ip, local.port()));
        let tuple = FiveTuple { transport: Transport::Udp, client: datagram.from, server };
        let client = Client { tuple, leg: index as u32 };
        let mut door = Door {
            relays: &mut self.relays,
            poller: &self.poller,
            sends: &mut self.outbox.sends,
            buffers: &self.outbox.buffers,
            stats,
        };
        let packet = &self.outbox.buffers.slot(datagram.slot)[HEADROOM..][..datagram.len];
        let out = &mut self.response[..];
        let verdict = self.server.receive(now, &client, packet, out, &mut door, &stats.turn);
        match verdict {
            Verdict::ToPeer(decision) => {
                self.send_to_peer(&decision, datagram.slot, HEADROOM, stats);
            }
            // A response that did not fit is no response.
            Verdict::Reply(Reply { length: 0, .. }) => {}
            Verdict::Reply(reply) => {
                let way = self.way_to(&client);
                let bytes = &self.response[..reply.length];
                self.outbox.push_in_place(way, datagram.slot, bytes, stats);
                self.effects(now);
                self.tell_refusal(&client, reply);
            }
            Verdict::Drop(_) | Verdict::Ignore => {}
        }
    }

    /// The way to a client on UDP.
    fn way_to(&self, client: &Client) -> Way {
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
        if let Some(socket) = self.relays.get(decision.relay) {
            let way = Way::new(socket, decision.peer).dont_fragment(decision.dont_fragment);
            let payload = &decision.payload;
            self.outbox.push(way, slot, start + payload.start, payload.len(), stats);
        }
    }

    fn on_relay(&mut self, relay: RelayId, error: bool) {
        let stats = Arc::clone(&self.stats);
        if error {
            self.on_relay_errors(relay, &stats);
        }
        let first = self.outbox.reserve(BATCH, &stats);
        // An event may be about a socket that this wake-up has closed.
        let Some(socket) = self.relays.get(relay) else {
            return;
        };
        let received = self.receive.receive(socket.as_fd(), &mut self.outbox.buffers, first, BATCH);
        let received = received.unwrap_or(0);
        self.outbox.keep(received);
        let now = self.clock.now();
        for number in 0..received {
            let Some(datagram) = self.receive.datagram(number) else {
                continue;
            };
            let delivery =
                self.server.from_peer(now, relay, datagram.from, datagram.len, &stats.turn);
            if let Ok(delivery) = delivery {
                self.deliver(&delivery, datagram, &stats);
            }
        }
    }

    /// Writes the header in front of the payload and queues both for the client.
    fn deliver(&mut self, delivery: &Delivery, datagram: net::Datagram, stats: &Stats) {
        let stream = delivery.client.tuple.transport.is_stream();
        let padding = delivery.framing.padding(datagram.len, stream);
        let slot = self.outbox.buffers.slot_mut(datagram.slot);
        let Some((headroom, rest)) =
            slot[HEADROOM - DATA_INDICATION_MAX..].split_first_chunk_mut::<DATA_INDICATION_MAX>()
        else {
            return;
        };
        let Some(header) = delivery.framing.write(headroom, datagram.len) else {
            stats.turn.drop_too_long();
            return;
        };
        rest[datagram.len..datagram.len + padding].fill(0);
        let (start, length) = (HEADROOM - header, header + datagram.len);
        if stream {
            let message = &slot[start..start + length];
            let limit = self.limits.queue;
            self.streams.queue(delivery.client.leg, message, padding, limit, stats);
        } else {
            let way = self.way_to(&delivery.client);
            self.outbox.push(way, datagram.slot, start, length + padding, stats);
        }
    }

    /// Tells the client what ICMP says about its packets (RFC 8656 §11.5).
    fn on_relay_errors(&mut self, relay: RelayId, stats: &Stats) {
        for _ in 0..ICMP_ERRORS {
            let Some(socket) = self.relays.get(relay) else {
                return;
            };
            let Ok(Some(error)) = net::next_icmp(socket.as_fd()) else {
                return;
            };
            // The kernel itself refuses what must not be fragmented and is known to be too big.
            let icmp = match (error.local, error.v6) {
                (true, false) => Icmp { kind: 3, code: 4, mtu: error.mtu },
                (true, true) => Icmp { kind: 2, code: 0, mtu: error.mtu },
                (false, _) => Icmp { kind: error.kind, code: error.code, mtu: error.mtu },
            };
            let now = self.clock.now();
            let out = &mut self.response[..];
            let found = self.server.from_icmp(now, relay, error.peer, icmp, out, &stats.turn);
            let Some((client, length)) = found else {
                continue;
            };
            if client.tuple.transport.is_stream() {
                let limit = self.limits.queue;
                self.streams.queue(client.leg, &self.response[..length], 0, limit, stats);
            } else {
                let way = self.way_to(&client);
                let slot = self.outbox.reserve(1, stats);
                self.outbox.keep(1);
                self.outbox.push_in_place(way, slot, &self.response[..length], stats);
            }
        }
    }

    /// Does what the server wants besides.
    pub(super) fn effects(&mut self, now: Now) {
        while let Some(Effect::Ended { leg, session }) = self.server.poll_effect() {
            if session.client.transport.is_stream() {
                self.streams.set_waiting(leg, Some(now.mono));
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                self.events.tell_at_last(Event::Ended(session));
            } else {
                self.events.tell(Event::Ended(session));
            }
        }
    }

    pub(super) fn tell_refusal(&self, client: &Client, reply: Reply) {
        if let Some(cause) = reply.refusal
            && self.shared.verbose.load(Ordering::Relaxed)
        {
            let Reply { method, .. } = reply;
            self.events.tell(Event::Refused { client: client.tuple, method, cause });
        }
    }

    fn shut_down(&mut self) {
        let (now, stats) = (self.clock.now(), Arc::clone(&self.stats));
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        self.server.shutdown(now, &mut door, &stats.turn);
        self.effects(now);
        self.outbox.flush(&stats);
        self.close_all_streams(now);
    }
}
