//! The loop of a worker: who is called for which event, in which order, and what the core's effects lead to. What is
//! done about each kind of socket stands in a file of its own, as more of [`Engine`].

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slab::Slab;

use super::appetite::BATCH;
use super::dtls::Dtls;
use super::gather::Gather;
use super::group::Shared;
use super::held::Held;
use super::links::Links;
use super::mailbox::Letter;
use super::outbox::Outbox;
use super::record::Sieve;
use super::relays::{Door, Relays};
use super::remote::Questions;
use super::sockets::Listeners;
use super::stream::{Acceptor, Told};
use super::streams::Streams;
use super::udp::Listener;
use super::webs::Webs;
use super::{
    Change, Clock, Event, Events, Heard, Settings, Stats, StreamLimits, WebSettings, What,
};
use crate::net::{self, Interest, Offload, Poller, RecvBatch, Waker};
use crate::time::{Mono, Now};
use crate::tls;
use crate::turn::{
    self, Client, Direction, Effect, Limits, Move, Prefix, RESPONSE_MAX, RelayId, Server,
    Transport, Verdict,
};

/// Sockets served in one wake-up; the others are told again, behind these.
const EVENTS: usize = 128;

/// How long one wake-up goes on with handshakes of TLS, and how long with those of DTLS. One more may be
/// under way then: an RSA signature takes a millisecond, an ECDSA signature a fraction of that.
pub(super) const HANDSHAKES: Duration = Duration::from_millis(1);

/// How soon an allocation is sent again after its client, when a mailbox was full.
const FOLLOW_AGAIN: Duration = Duration::from_millis(10);

/// What an event of the poller is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Waker,
    Udp(u32),
    Acceptor(u32),
    Relay(u32),
    /// A leg, and which of the connections that it has carried ([`Streams::next_token`]).
    Stream(u32, u16),
    RelayListener(u32),
    /// The peer's end of a connection with a peer.
    Peer(u32),
    /// The client's end of one.
    DataClient(u32),
    /// The client's end of an HTTP connection that is passed on.
    WebClient(u32),
    /// The backend's end of one.
    Backend(u32),
}

impl Token {
    pub(super) const fn pack(self) -> u64 {
        let (kind, index) = match self {
            Self::Waker => (0_u64, 0),
            Self::Udp(index) => (1, index),
            Self::Acceptor(index) => (2, index),
            Self::Relay(index) => (3, index),
            Self::Stream(leg, birth) => ((birth as u64) << 16 | 4, leg),
            Self::RelayListener(index) => (5, index),
            Self::Peer(index) => (6, index),
            Self::DataClient(index) => (7, index),
            Self::WebClient(index) => (8, index),
            Self::Backend(index) => (9, index),
        };
        kind << 32 | index as u64
    }

    const fn unpack(token: u64) -> Self {
        let index = token as u32;
        match (token >> 32) as u16 {
            1 => Self::Udp(index),
            2 => Self::Acceptor(index),
            3 => Self::Relay(index),
            4 => Self::Stream(index, (token >> 48) as u16),
            5 => Self::RelayListener(index),
            6 => Self::Peer(index),
            7 => Self::DataClient(index),
            8 => Self::WebClient(index),
            9 => Self::Backend(index),
            _ => Self::Waker,
        }
    }
}

/// What a worker is made of.
pub(super) struct Parts<'a> {
    pub(super) server: Server,
    pub(super) sockets: Listeners,
    pub(super) settings: &'a Settings,
    pub(super) turn: &'a turn::Settings,
    pub(super) offload: Offload,
    /// Which worker this is, and how many there are.
    pub(super) number: usize,
    pub(super) workers: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<Stats>,
    pub(super) waker: Arc<Waker>,
    pub(super) clock: Clock,
    pub(super) events: Events,
}

/// One worker: the thread's whole state.
pub(super) struct Engine {
    pub(super) server: Server,
    pub(super) stats: Arc<Stats>,
    pub(super) poller: Poller,
    pub(super) shared: Arc<Shared>,
    /// Its place among the workers.
    pub(super) number: usize,
    pub(super) events: Events,
    pub(super) clock: Clock,
    /// Read once for a wake-up and once at its end.
    pub(super) now: Now,
    pub(super) gather: Gather,
    /// Packets, and reads of streams, in this wake-up.
    pub(super) taken: usize,
    waker: Arc<Waker>,
    pub(super) listeners: Slab<Listener>,
    pub(super) acceptors: Slab<Acceptor>,
    /// When it is looked whether those that are to end can be closed.
    pub(super) look_again: Option<Mono>,
    /// Whether DTLS is begun on UDP listeners beside the rest, and on those of its own.
    pub(super) takes_dtls: bool,
    pub(super) has_certificate: bool,
    /// What connections with TLS are served with.
    pub(super) tls: Option<tls::Server>,
    /// Addresses from which a proxy speaks for others.
    pub(super) proxies: Vec<Prefix>,
    /// What the log has been told of connections that were closed.
    pub(super) told: Told,
    /// Room for what comes out of TLS; empty until somebody speaks it.
    pub(super) plain: Vec<u8>,
    pub(super) relays: Relays,
    pub(super) outbox: Outbox,
    pub(super) receive: RecvBatch,
    /// Where the server writes responses.
    pub(super) response: Box<[u8; RESPONSE_MAX]>,
    /// The bits of the traffic class that go from one side to the other with a datagram.
    pub(super) passed_class: u8,
    pub(super) streams: Streams,
    /// TCP connections with peers.
    pub(super) links: Links,
    /// Nothing where there is no certificate.
    pub(super) dtls: Option<Dtls>,
    /// HTTP connections that are passed on.
    pub(super) webs: Webs,
    /// Where to.
    pub(super) web: WebSettings,
    /// When the log was told last that this cannot be reached.
    pub(super) web_told: Option<Mono>,
    pub(super) limits: StreamLimits,
    /// Client addresses without a limit of connections.
    pub(super) exempt: Limits,
    /// When to accept again, after the system was out of descriptors.
    pub(super) accept_again: Option<Mono>,
    /// Data of guests that wait for their allocations.
    pub(super) held: Held,
    /// Moves of clients to workers whose mailboxes had no room for the allocation.
    pub(super) unfollowed: Vec<Move>,
    /// The last change that it has taken.
    pub(super) order: Option<Change>,
    /// Which refusals go into records.
    pub(super) sieve: Sieve,
    /// What the owner has asked.
    pub(super) questions: Questions,
}

impl Engine {
    pub(super) fn new(parts: Parts<'_>) -> io::Result<Self> {
        let Parts { server, sockets, settings, offload, waker, .. } = parts;
        let poller = Poller::new()?;
        poller.add(waker.as_fd(), Token::Waker.pack(), Interest::Read)?;
        let passed_class = settings.passed_class();
        let identities = settings.identities.as_ref();
        let dtls = Dtls::new(identities, &settings.dtls_limits, parts.workers)?;
        let mut engine = Self {
            server,
            stats: parts.stats,
            poller,
            shared: parts.shared,
            number: parts.number,
            events: parts.events,
            now: parts.clock.now(),
            gather: Gather::new(settings.gather),
            taken: 0,
            clock: parts.clock,
            waker,
            listeners: Slab::new(),
            acceptors: Slab::new(),
            look_again: None,
            takes_dtls: settings.dtls_on_udp && dtls.is_some(),
            has_certificate: identities.is_some(),
            tls: settings.tls.clone(),
            proxies: settings.proxies.clone(),
            told: Told::default(),
            plain: Vec::new(),
            relays: Relays::new(settings.relay_buffer, offload.receive),
            outbox: Outbox::new(offload.send),
            receive: RecvBatch::new(BATCH),
            response: Box::new([0; RESPONSE_MAX]),
            passed_class,
            streams: Streams::default(),
            links: Links::new(lowest_rate(parts.turn)),
            dtls,
            webs: Webs::default(),
            web: settings.web.clone(),
            web_told: None,
            limits: settings.streams.per_worker(parts.workers),
            exempt: parts.turn.limits.clone(),
            accept_again: None,
            held: Held::default(),
            unfollowed: Vec::new(),
            order: None,
            sieve: Sieve::default(),
            questions: Questions::default(),
        };
        engine.open_listeners(sockets)?;
        Ok(engine)
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let _ = self.stats.cpu.set(net::ThreadClock::own());
        // A rest is to end when it is over, not up to 50 microseconds later.
        net::sharpen_timers();
        let mut ready = net::Events::with_capacity(EVENTS);
        while !self.shared.stop.load(Ordering::Acquire) {
            let unfinished = self.streams.unfinished();
            let timeout = match unfinished {
                0 if !self.has_work_behind() => {
                    self.next_deadline().map(|deadline| deadline.since(self.now.mono))
                }
                _ => Some(Duration::ZERO),
            };
            // A poller that cannot wait is out of memory: the next turn may do better.
            if self.poller.wait(&mut ready, timeout).is_err() {
                std::thread::yield_now();
            }
            self.now = self.clock.now();
            self.stats.wake_ups.add(1);
            ready.iter().for_each(|event| self.on_event(event));
            self.read_unfinished(unfinished);
            if ready.len() == EVENTS {
                // More is ready than was told, and the listeners carry everybody.
                for index in 0..self.listeners.capacity() {
                    self.on_listener(index);
                }
            }
            self.finish_turn();
            if self.has_work_behind() {
                // Behind the packets, which have left by now.
                self.shake_hands();
                self.shake_hands_by_dtls();
                self.serve_webs();
                self.answer_questions();
                self.finish_turn();
            }
            self.rest();
        }
        self.shut_down();
    }

    fn on_event(&mut self, event: net::Event) {
        match Token::unpack(event.token()) {
            Token::Waker => {
                self.waker.drain();
                self.read_letters();
                self.take_orders();
                // The last client at a listener may have gone.
                self.look_again = self.look_again.map(|_| self.now.mono);
            }
            Token::Udp(index) => self.on_listener(index as usize),
            Token::Acceptor(index) => self.on_acceptor(index as usize),
            Token::Relay(index) => {
                self.on_relay(RelayId::from_index(index as usize), event.error());
            }
            Token::Stream(leg, birth) => self.on_stream(leg, birth, event),
            Token::RelayListener(index) => {
                self.on_relay_listener(RelayId::from_index(index as usize));
            }
            Token::Peer(place) => self.on_peer(place, event),
            Token::DataClient(place) => self.on_bridge(place, Direction::ToPeer, event),
            Token::WebClient(place) => self.webs.tell(place, Direction::ToPeer, event),
            Token::Backend(place) => self.webs.tell(place, Direction::ToClient, event),
        }
    }

    /// Whether there is something to do that packets must not wait for.
    fn has_work_behind(&self) -> bool {
        let dtls = self.dtls.as_ref().is_some_and(Dtls::has_work);
        dtls || self.streams.is_shaking() || self.webs.is_told() || !self.questions.is_empty()
    }

    fn rest(&mut self) {
        let (began, taken) = (self.now.mono, std::mem::take(&mut self.taken));
        if let Some(rest) = self.gather.rest(began, taken, || self.clock.now().mono) {
            std::thread::sleep(rest);
        }
    }

    fn next_deadline(&self) -> Option<Mono> {
        let follow = (!self.unfollowed.is_empty()).then(|| self.now.mono + FOLLOW_AGAIN);
        let dtls = self.dtls.as_ref().and_then(Dtls::deadline);
        let streams =
            [self.stream_deadline(), self.links.next_timer(), self.webs.next_timer(), dtls];
        [self.server.next_deadline(), self.next_report(), follow, self.look_again]
            .into_iter()
            .chain(streams)
            .flatten()
            .min()
    }

    /// Sends what the wake-up has produced and ends what is over.
    fn finish_turn(&mut self) {
        let now = self.clock.now();
        self.now = now;
        if self.server.next_deadline().is_some_and(|deadline| deadline <= now.mono) {
            let stats = Arc::clone(&self.stats);
            let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
            self.server.expire(now, &mut door, &stats.turn);
        }
        self.report(now);
        self.follow_again();
        self.effects(now);
        self.resume_parked(now);
        self.finish_links(now);
        if self.dtls.is_some() {
            self.finish_dtls(now);
        }
        self.finish_webs(now);
        self.outbox.flush(&self.stats);
        self.finish_streams(now);
        self.finish_listeners(now);
    }

    /// Shows the server a client's packet, which lies in a slot of the arena.
    pub(super) fn decide(
        &mut self,
        now: Now,
        client: &Client,
        slot: usize,
        place: Range<usize>,
        stats: &Stats,
    ) -> Verdict {
        let door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, stats);
        let packet = &door.buffers.slot(slot)[place];
        let mut door = door.knowing(&self.streams, self.dtls.as_ref());
        self.server.receive(now, client, packet, &mut self.response[..], &mut door, &stats.turn)
    }

    /// The same for a packet that another worker should have had, which takes nothing.
    pub(super) fn decide_here(
        &mut self,
        now: Now,
        client: &Client,
        slot: usize,
        place: Range<usize>,
        stats: &Stats,
    ) -> Verdict {
        let door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, stats);
        let packet = &door.buffers.slot(slot)[place];
        let mut door = door.knowing(&self.streams, self.dtls.as_ref());
        let out = &mut self.response[..];
        self.server.receive_here(now, client, packet, out, &mut door, &stats.turn)
    }

    /// Does what the server wants besides.
    pub(super) fn effects(&mut self, now: Now) {
        while let Some(effect) = self.server.poll_effect() {
            match effect {
                Effect::Ended { leg, session } => {
                    if let Some(leg) = leg {
                        self.set_idle(&Client { tuple: session.client, leg }, now);
                    }
                    let stopping = self.shared.stop.load(Ordering::Relaxed);
                    self.record_end(now, &session, stopping);
                    self.shared.followers.tell_end(&session);
                    if stopping {
                        self.events.tell_at_last(Event::Ended(session));
                    } else {
                        self.events.tell(Event::Ended(session));
                    }
                }
                Effect::Began(progress) => self.record(now, What::Began(progress)),
                Effect::Usage(progress) => self.record(now, What::Usage(progress)),
                Effect::Case { case, followers, notice } => {
                    self.tell_case(case, followers, notice);
                }
                Effect::Drops { drops, followers } => {
                    self.shared.followers.tell(followers, &Heard::Drops(Arc::from(drops)));
                }
                Effect::Moved(moved) => {
                    if moved.worker != self.number as u32 {
                        self.follow(&moved);
                    }
                    self.events.tell(Event::Moved(moved));
                }
                Effect::Released { client, worker } if worker == self.number as u32 => {
                    self.set_idle(&client, now);
                }
                Effect::Released { client, worker } => {
                    // A guest that is not told so lives until its allocation would have ended.
                    let _ = self.post(worker, Letter::Gone(client));
                }
                Effect::Renewed { client, worker, until } => {
                    // Without it, it is a guest again with its next Refresh that has a ticket.
                    let _ = self.post(worker, Letter::Renewed(client.tuple, until));
                }
                Effect::Parted { client, holder } => {
                    let _ = self.post(holder, Letter::Parted(client));
                }
                Effect::LookUp { user, client } => self.look_up(&user, &client),
                Effect::Connect { connection, relay, peer } => {
                    self.connect(now, connection, relay, peer);
                }
                Effect::ConnectTimedOut(connection) => self.connect_timed_out(now, connection),
                Effect::Disconnect(connection) => self.disconnect(connection),
            }
        }
    }

    /// Notes that a client's connection, if it has one still, has no allocation any more.
    pub(super) fn set_idle(&mut self, client: &Client, now: Now) {
        if let (Transport::Dtls, Some(dtls)) = (client.tuple.transport, &mut self.dtls) {
            dtls.set_waiting(client, true, now.mono);
        } else if client.tuple.transport.is_stream()
            && self.streams.get_mut(client.leg).is_some_and(|stream| stream.tuple == client.tuple)
        {
            self.streams.set_waiting(client.leg, Some(now.mono));
        }
    }

    fn shut_down(&mut self) {
        self.close_mailbox();
        let (now, stats) = (self.clock.now(), Arc::clone(&self.stats));
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        self.server.shutdown(now, &mut door, &stats.turn);
        self.effects(now);
        self.close_all_associations();
        self.outbox.flush(&stats);
        self.close_all_webs();
        self.close_all_streams(now);
    }
}

/// The lowest limit of bytes per second; 0 when there is none.
pub(super) fn lowest_rate(settings: &turn::Settings) -> u64 {
    let realms = settings.realms.iter().map(|realm| &realm.limits);
    let all = realms.chain([&settings.limits]);
    let rates = all.flat_map(|limits| {
        [limits.bytes_per_second, limits.user_bytes_per_second, limits.all_bytes_per_second]
    });
    rates.filter(|rate| *rate != 0).min().unwrap_or(0)
}
