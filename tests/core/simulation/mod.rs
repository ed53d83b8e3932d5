//! A network of thousands of clients around servers of one process: packets are lost, doubled,
//! delayed and overtaken, and every call is compared with what an onlooker may conclude.

mod behaviour;
mod shadow;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::core::{RELAYS, Random, START, Setup, TestServer, turn_settings};
use behaviour::{Deed, SECRET, SimClient, USERS};
use shadow::{Intent, Shadow};
use turnwire::auth::{OnExpiry, Secret, User};
use turnwire::stun::Family;
use turnwire::time::{Mono, Now};
use turnwire::turn::{Client, Dropped, EndReason, FiveTuple, Framing, ToPeer, Verdict};

/// What is simulated.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) clients: usize,
    pub(crate) servers: usize,
    pub(crate) duration: Duration,
    pub(crate) ports: u16,
    pub(crate) per_user: u32,
    pub(crate) on_expiry: OnExpiry,
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) made: u64,
    pub(crate) to_peer: u64,
    pub(crate) to_client: u64,
    pub(crate) refused_data: u64,
    pub(crate) codes: BTreeMap<u16, u64>,
    pub(crate) ended: BTreeMap<&'static str, u64>,
    pub(crate) clock_steps: u64,
    pub(crate) most: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Mono,
    /// Events of one instant in the order in which they were made.
    turn: u64,
    place: usize,
}

enum Event {
    Act(usize),
    ToServer(Client, Rc<[u8]>, Rc<Intent>),
    ToClient(usize, Rc<[u8]>),
    /// A datagram of so many bytes from the second address arrives at the relay.
    AtRelay(SocketAddr, SocketAddr, usize),
    /// Something that nobody asked for.
    Unrest,
}

pub(crate) struct World {
    plan: Plan,
    random: Random,
    now: Now,
    queue: BinaryHeap<Reverse<Due>>,
    events: Vec<Option<Event>>,
    vacant: Vec<usize>,
    turn: u64,
    servers: Vec<TestServer>,
    clients: Vec<SimClient>,
    peers: Vec<SocketAddr>,
    shadows: HashMap<FiveTuple, Shadow>,
    /// Whose allocation each open relay is.
    relays: HashMap<SocketAddr, FiveTuple>,
    occupied: Vec<SocketAddr>,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let first = 50_001;
        let mut setup =
            Setup { turn: turn_settings(first, first + plan.ports - 1), ..Setup::default() };
        setup.seed = plan.seed;
        setup.turn.limits.allocations_per_user = plan.per_user;
        setup.turn.limits.allocations_per_address = 12;
        setup.auth.users = (0..USERS)
            .map(behaviour::user)
            .map(|(name, password)| User { name, password: Secret::new(password) })
            .collect();
        setup.auth.secrets = vec![Secret::new("south"), Secret::new(SECRET)];
        setup.auth.nonce_lifetime = Duration::from_secs(1500);
        setup.auth.on_expiry = plan.on_expiry;
        let mut random = Random::new(plan.seed);
        let clients = (0..plan.clients as u64)
            .map(|number| SimClient::new(number, START, &mut random))
            .collect();
        let peer = |n: u16| SocketAddr::new([9, 9, 9, (n / 2) as u8].into(), 7000 + n);
        let mut world = Self {
            servers: setup.servers(plan.servers as u32),
            plan,
            random,
            now: START,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            vacant: Vec::new(),
            turn: 0,
            clients,
            peers: (0..3).map(peer).collect(),
            shadows: HashMap::new(),
            relays: HashMap::new(),
            occupied: Vec::new(),
            tally: Tally::default(),
        };
        for client in 0..plan.clients {
            let after = Duration::from_millis(world.random.below(120_000));
            world.schedule(after, Event::Act(client));
        }
        world.schedule(Duration::from_secs(1), Event::Unrest);
        world
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        let place = self.vacant.pop().unwrap_or(self.events.len());
        if place == self.events.len() {
            self.events.push(None);
        }
        self.events[place] = Some(event);
        self.turn += 1;
        self.queue.push(Reverse(Due { at: self.now.mono + after, turn: self.turn, place }));
    }

    /// Runs for the planned time; then nobody does anything any more, and all must end.
    pub(crate) fn run(&mut self) {
        let end = START.mono + self.plan.duration;
        while let Some(Reverse(due)) = self.queue.pop() {
            if due.at > end {
                break;
            }
            self.pass(due.at);
            self.vacant.push(due.place);
            let event = self.events[due.place].take().expect("each once");
            self.handle(event);
        }
        self.pass(end);
        for server in &mut self.servers {
            assert_eq!(server.sockets.open.is_empty(), server.server.allocations() == 0);
        }
        // An hour for the allocations, half a minute for reservations, one for ports in doubt.
        self.pass(end + Duration::from_secs(3601));
        assert!(self.shadows.is_empty() && self.relays.is_empty());
        self.pass(self.now.mono + Duration::from_secs(61));
        for server in &mut self.servers {
            server.expire();
        }
    }

    /// Lets time pass; each server is woken when it asked to be.
    fn pass(&mut self, until: Mono) {
        loop {
            let deadlines = self.servers.iter().map(|server| server.server.next_deadline());
            let next = deadlines.enumerate().filter_map(|(n, at)| Some((at?, n))).min();
            let Some((at, number)) = next.filter(|(at, _)| *at <= until) else { break };
            assert!(at >= self.now.mono, "the wheel goes backwards");
            self.set_clock(at);
            self.servers[number].expire();
            self.take_ended(number);
        }
        self.set_clock(until);
    }

    fn set_clock(&mut self, mono: Mono) {
        let seconds = mono.as_secs() - self.now.mono.as_secs();
        self.now = Now { mono, unix: self.now.unix + seconds };
        for server in &mut self.servers {
            server.now = self.now;
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Act(client) => self.act(client),
            Event::ToServer(client, packet, intent) => self.at_server(client, &packet, &intent),
            Event::ToClient(client, bytes) => {
                let response = crate::core::Response::new(&bytes);
                self.clients[client].take(self.now, &response, &mut self.random);
            }
            Event::AtRelay(relay, from, length) => self.at_relay(relay, from, length),
            Event::Unrest => self.unrest(),
        }
    }

    fn act(&mut self, number: usize) {
        // Two clients can talk to each other through their relays.
        let other = self.random.below(self.clients.len() as u64) as usize;
        let mut peers = self.peers.clone();
        peers.extend(self.clients[other].relayed().filter(SocketAddr::is_ipv4));
        let client = &mut self.clients[number];
        let from = client.wire.client;
        match client.act(self.now, &peers, &mut self.random) {
            Deed::Nothing => {}
            Deed::Transmit(packet, intent) => {
                let (packet, intent) = (Rc::from(packet), Rc::new(intent));
                self.transmit(number, move |_| {
                    Event::ToServer(from, Rc::clone(&packet), Rc::clone(&intent))
                });
            }
            Deed::Disconnect => {
                client.disconnect(self.now, &mut self.random);
                self.disconnect(&from);
            }
        }
        let pause = self.clients[number].pause(self.now, &mut self.random);
        self.schedule(pause, Event::Act(number));
    }

    /// The way between a client and its server.
    fn transmit(&mut self, client: usize, event: impl Fn(()) -> Event) {
        self.tally.packets += 1;
        if self.clients[client].reliable() {
            self.schedule(Duration::from_millis(20), event(()));
            return;
        }
        if self.random.chance(4) {
            self.tally.lost += 1;
            return;
        }
        if self.random.chance(4) {
            self.tally.doubled += 1;
            let late = Duration::from_millis(self.random.between(1, 3000));
            self.schedule(late, event(()));
        }
        let delay = Duration::from_micros(self.random.between(1000, 250_000));
        self.schedule(delay, event(()));
    }

    fn server_of(&self, tuple: &FiveTuple) -> usize {
        // As SO_REUSEPORT does: a 5-tuple keeps its worker.
        usize::from(tuple.client.port()) % self.servers.len()
    }

    fn at_server(&mut self, client: Client, packet: &[u8], intent: &Intent) {
        let number = self.server_of(&client.tuple);
        let verdict = self.servers[number].receive(&client, packet);
        let shadow = self.shadows.get_mut(&client.tuple);
        // What data may do is known beforehand.
        let now = self.now.mono;
        let (expected, length) = match (intent, &shadow) {
            (Intent::Send(peer, length), Some(shadow)) => {
                (Some(*peer).filter(|peer| shadow.permits(now, peer.ip())), *length)
            }
            (Intent::Data(channel, length), Some(shadow)) => {
                let peer = shadow.channel(now, *channel);
                (peer.filter(|peer| shadow.permits(now, peer.ip())), *length)
            }
            _ => (None, 0),
        };
        match (verdict, expected) {
            (Verdict::ToPeer(to_peer), Some(peer)) => {
                assert_eq!(to_peer.payload.len(), length);
                let traffic = &mut shadow.expect("it permits").traffic;
                traffic.to_peer_packets += 1;
                traffic.to_peer_bytes += length as u64;
                self.relay_to_peer(number, &to_peer, peer, length);
            }
            (Verdict::Reply(reply), None) => {
                let response = self.servers[number].reply(reply.length);
                // One that is over ends before the request is looked at, a deleted one behind.
                if response.success() && matches!(intent, Intent::Refresh(0)) {
                    self.answered(&client.tuple, intent, &response);
                    self.take_ended(number);
                } else {
                    self.take_ended(number);
                    self.answered(&client.tuple, intent, &response);
                }
                let bytes: Rc<[u8]> = response.bytes.into();
                let leg = client.leg as usize;
                self.transmit(leg, move |_| Event::ToClient(leg, Rc::clone(&bytes)));
            }
            (Verdict::Drop(reason), None) => {
                assert!(matches!(intent, Intent::Send(..) | Intent::Data(..)), "{reason:?}");
                self.tally.refused_data += 1;
            }
            (verdict, expected) => panic!("{verdict:?}, but expected {expected:?}"),
        }
    }

    fn relay_to_peer(&mut self, number: usize, to_peer: &ToPeer, peer: SocketAddr, length: usize) {
        self.tally.to_peer += 1;
        let from = self.servers[number].sockets.open[&to_peer.relay.index()];
        let delay = Duration::from_millis(self.random.between(1, 100));
        if to_peer.peer != peer {
            // It goes to a relay of this server.
            assert_eq!(to_peer.peer.ip(), RELAYS[0].local);
            self.schedule(delay, Event::AtRelay(to_peer.peer, from, length));
        } else if self.random.chance(60) {
            self.schedule(delay, Event::AtRelay(from, peer, length + 1));
        }
    }

    /// Takes note of an answer.
    fn answered(&mut self, tuple: &FiveTuple, intent: &Intent, response: &crate::core::Response) {
        let now = self.now.mono;
        *self.tally.codes.entry(response.code()).or_default() += 1;
        let shadow = self.shadows.get_mut(tuple);
        match (response.code(), shadow) {
            (0, Some(shadow)) => shadow.granted(now, intent, response),
            (0, None) => {
                assert!(matches!(intent, Intent::Allocate), "{intent:?} without an allocation");
                let hard_end = self.hard_end(tuple);
                let shadow = Shadow::new(self.now, response, hard_end);
                for relay in &shadow.relays {
                    let before = self.relays.insert(*relay, *tuple);
                    assert_eq!(before, None, "{relay} is two allocations'");
                }
                self.shadows.insert(*tuple, shadow);
                self.tally.made += 1;
                self.tally.most = self.tally.most.max(self.shadows.len());
            }
            (400, Some(shadow)) => match intent {
                Intent::Bind(channel, peer) => assert!(shadow.conflicts(now, *channel, *peer)),
                other => panic!("400 for {other:?}"),
            },
            // It has an IPv6 address only, because there was no IPv4 port.
            (443, Some(shadow)) => assert!(shadow.relays.iter().all(SocketAddr::is_ipv6)),
            (437, shadow) => {
                assert_eq!(shadow.is_some(), matches!(intent, Intent::Allocate), "{intent:?}");
            }
            (401 | 438, _) => {}
            (486 | 508, None) => assert!(matches!(intent, Intent::Allocate)),
            (code, _) => panic!("{code} for {intent:?}"),
        }
    }

    fn hard_end(&self, tuple: &FiveTuple) -> Option<Mono> {
        let client = self.clients.iter().find(|client| client.wire.client.tuple == *tuple);
        // Only its port's last owner can be asked; the others are gone.
        let expires = client?.expires.filter(|_| self.plan.on_expiry == OnExpiry::End)?;
        Some(self.now.mono + Duration::from_secs(expires.saturating_sub(self.now.unix)))
    }

    fn at_relay(&mut self, relay: SocketAddr, from: SocketAddr, length: usize) {
        let Some(tuple) = self.relays.get(&relay) else {
            let open = self.servers.iter().any(|s| s.sockets.relay_at(relay).is_some());
            assert!(!open, "{relay} is open for nobody");
            return;
        };
        let number = self.server_of(tuple);
        let server = &mut self.servers[number];
        let id = server.sockets.relay_at(relay).expect("its socket is open");
        let now = self.now.mono;
        let shadow = self.shadows.get_mut(tuple).expect("it has a relay");
        // A relay of this server is known by its advertised address.
        let peer = match from.ip() == RELAYS[0].local {
            true => SocketAddr::new(RELAYS[0].advertised, from.port()),
            false => from,
        };
        let family = Family::of(&relay.ip()) == Family::of(&peer.ip());
        let permitted = family && shadow.permits(now, peer.ip());
        match server.server.from_peer(self.now, id, from, length, &server.stats) {
            Ok(delivery) => {
                assert!(permitted, "{peer} has no permission");
                assert_eq!(delivery.client.tuple, *tuple);
                let channel = match delivery.framing {
                    Framing::Channel(channel) => Some(channel.get()),
                    Framing::Indication { peer: named, .. } => {
                        assert_eq!(named, peer);
                        None
                    }
                };
                assert_eq!(channel, shadow.channel_to(now, peer));
                shadow.traffic.to_client_packets += 1;
                shadow.traffic.to_client_bytes += length as u64;
                self.tally.to_client += 1;
            }
            Err(reason) => {
                assert!(!permitted, "{reason:?} in spite of a permission");
                assert!(matches!(reason, Dropped::NoPermission | Dropped::NoAllocation));
                self.tally.refused_data += 1;
            }
        }
    }

    fn disconnect(&mut self, client: &Client) {
        let tuple = &client.tuple;
        if let Some(shadow) = self.shadows.get_mut(tuple) {
            shadow.disconnected = true;
        }
        let number = self.server_of(tuple);
        let server = &mut self.servers[number];
        server.server.disconnected(server.now, client, &mut server.sockets, &server.stats);
        self.take_ended(number);
        assert!(!self.shadows.contains_key(tuple));
    }

    fn take_ended(&mut self, number: usize) {
        for session in self.servers[number].ended() {
            let shadow = self.shadows.remove(&session.client).expect("it was made");
            shadow.assert_ended_well(self.now.mono, &session);
            for relay in &shadow.relays {
                let owner = self.relays.remove(relay);
                assert_eq!(owner, Some(session.client));
            }
            *self.tally.ended.entry(session.reason.label()).or_default() += 1;
            assert_ne!(session.reason, EndReason::Shutdown);
        }
    }

    /// Once a second: strangers, other programs on the host, and a clock that is set.
    fn unrest(&mut self) {
        let port = 50_001 + self.random.below(u64::from(self.plan.ports)) as u16;
        let relay = SocketAddr::new(RELAYS[0].local, port);
        let stranger = SocketAddr::new([6, 6, 6, self.random.next() as u8].into(), 666);
        self.at_relay(relay, stranger, 100);
        if self.random.chance(15) {
            self.servers[0].sockets.host.occupy(relay);
            self.occupied.push(relay);
        }
        if self.occupied.len() > 60 {
            let back = self.occupied.remove(0);
            self.servers[0].sockets.host.vacate(back);
        }
        if self.random.chance(1) {
            self.tally.clock_steps += 1;
            let step = self.random.between(1, 4000);
            self.now.unix = match self.random.chance(50) {
                true => self.now.unix + step,
                false => self.now.unix - step,
            };
            for server in &mut self.servers {
                server.now = self.now;
            }
        }
        if self.random.chance(5) {
            self.look_around();
        }
        self.schedule(Duration::from_secs(1), Event::Unrest);
    }

    /// What must hold of the whole at any time.
    fn look_around(&self) {
        let now = self.now.mono;
        self.shadows.values().for_each(|shadow| shadow.assert_in_time(now));
        let live: usize = self.servers.iter().map(|server| server.server.allocations()).sum();
        assert_eq!(live, self.shadows.len());
        assert_eq!(self.servers[0].ledger.allocations() as usize, live);
        assert_eq!(self.servers[0].sockets.host.open(), self.relays.len());
        let (free, all) = self.servers[0].ports();
        assert!(all - free >= self.relays.len());
        for server in &self.servers {
            assert_eq!(server.server.allocations() as u64, server.stats.live());
        }
    }

    /// Nothing is left, and the counters agree with what was seen.
    pub(crate) fn assert_over(&self) {
        self.servers.iter().for_each(TestServer::assert_empty);
        let sum = |of: fn(&TestServer) -> u64| self.servers.iter().map(of).sum::<u64>();
        let ended: u64 = self.tally.ended.values().sum();
        assert_eq!(self.tally.made, ended);
        assert_eq!(sum(|s| s.stats.allocations.get()), self.tally.made);
        assert_eq!(sum(|s| s.stats.ended.iter().map(|c| c.get()).sum()), ended);
        assert_eq!(sum(|s| s.stats.to_peer_packets.get()), self.tally.to_peer);
        assert_eq!(sum(|s| s.stats.to_client_packets.get()), self.tally.to_client);
        let refused: u64 = self.tally.codes.iter().filter(|(c, _)| **c != 0).map(|(_, n)| n).sum();
        assert_eq!(sum(|s| s.stats.refused.iter().map(|c| c.get()).sum()), refused);
    }

    /// Ports that another program had when they were wanted.
    pub(crate) fn taken_by_others(&self) -> u64 {
        self.servers.iter().map(|server| server.sockets.refused).sum()
    }

    /// A fresh use of the same servers: the quotas are whole again.
    pub(crate) fn into_server(mut self) -> TestServer {
        self.servers.remove(0)
    }
}
