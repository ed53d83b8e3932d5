//! TCP allocations against a model that is written from RFC 6062 for clarity: whatever clients and
//! peers do in whatever order, each is answered as the model says, and nothing is left in the end.

mod core;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use core::{Deed, RELAYS, Setup, TestClient, TestServer};
use proptest::collection::vec;
use proptest::prelude::*;
use turnwire::stun::{Method, attribute};
use turnwire::turn::{
    Cause, ConnectFailure, ConnectionId, Direction, Dropped, RelayId, Transport, Verdict,
};

/// Two control connections of one user and one of another.
const OWNERS: [(&str, &str, &str); 3] = [
    ("198.51.100.7:1000", "alice", "wonder"),
    ("198.51.100.7:1001", "alice", "wonder"),
    ("198.51.100.8:1000", "bob", "builder"),
];
const PEERS: [&str; 5] =
    ["1.1.1.1:80", "1.1.1.1:81", "1.1.1.2:80", "1.1.1.3:80", "203.0.113.1:50000"];
const DENIED: &str = "10.0.0.1:80";
const PATIENCE: Duration = Duration::from_secs(30);
const PERMISSION: Duration = Duration::from_secs(300);
const EACH: usize = 4;
const PENDING: usize = 2;
const PER_USER: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize),
    Refresh(usize, u32),
    Permit(usize, usize),
    Connect(usize, usize),
    ConnectDenied(usize),
    /// The peer of one that is being made answers, or not.
    Answer(usize, bool),
    Incoming(usize, usize),
    /// Somebody sends a ConnectionBind for one of the connections.
    Bind(usize, usize),
    Data(usize, u16),
    /// One end is lost.
    Close(usize),
    Disconnect(usize),
    /// Whole seconds, in which allocations are looked at.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let owner = 0..OWNERS.len();
    let (peer, any) = (0..PEERS.len(), 0_usize..12);
    let step = prop_oneof![
        3 => owner.clone().prop_map(Step::Allocate),
        1 => (owner.clone(), prop_oneof![Just(0), Just(600), Just(3600)])
            .prop_map(|(owner, lifetime)| Step::Refresh(owner, lifetime)),
        2 => (owner.clone(), peer.clone()).prop_map(|(owner, peer)| Step::Permit(owner, peer)),
        6 => (owner.clone(), peer.clone()).prop_map(|(owner, peer)| Step::Connect(owner, peer)),
        1 => owner.clone().prop_map(Step::ConnectDenied),
        5 => (any.clone(), prop::bool::weighted(0.8)).prop_map(|(which, ok)| Step::Answer(which, ok)),
        4 => (owner.clone(), peer).prop_map(|(owner, peer)| Step::Incoming(owner, peer)),
        5 => (owner.clone(), any.clone()).prop_map(|(owner, which)| Step::Bind(owner, which)),
        2 => (any.clone(), 0_u16..9000).prop_map(|(which, bytes)| Step::Data(which, bytes)),
        2 => any.prop_map(Step::Close),
        1 => owner.prop_map(Step::Disconnect),
        3 => prop_oneof![1_u64..12, 25_u64..32, Just(300), Just(600)]
            .prop_map(Step::Wait),
    ];
    vec(step, 1..200)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Unbound,
    Bound,
}

#[derive(Clone, Debug)]
struct Connection {
    owner: usize,
    peer: SocketAddr,
    state: State,
    until: Duration,
}

struct Allocation {
    until: Duration,
    relay: RelayId,
    permissions: BTreeMap<std::net::IpAddr, Duration>,
    bytes: u64,
}

struct Check {
    server: TestServer,
    owners: Vec<TestClient>,
    data: Vec<TestClient>,
    now: Duration,
    allocations: BTreeMap<usize, Allocation>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Every name that was ever given.
    named: Vec<ConnectionId>,
    ended_bytes: Vec<u64>,
}

fn user(owner: usize) -> &'static str {
    OWNERS[owner].1
}

fn at(peer: usize) -> SocketAddr {
    PEERS[peer].parse().expect("an address")
}

impl Check {
    fn new() -> Self {
        let mut setup = Setup::default();
        setup.turn.limits.connections = EACH as u16;
        setup.turn.limits.pending_connections = PENDING as u16;
        setup.turn.limits.connections_per_user = PER_USER as u32;
        setup.turn.limits.unauthenticated_per_second = 0;
        // What expires while a test goes on is not what it is about.
        setup.auth.nonce_lifetime = Duration::from_secs(1 << 30);
        let client = |(address, user, password): &(&str, &str, &str)| {
            TestClient::over(Transport::Tcp, address, user, password)
        };
        let mut owners: Vec<_> = OWNERS.iter().map(client).collect();
        let mut data: Vec<_> = owners.iter().map(|one| one.sibling("198.51.100.9:1")).collect();
        let mut server = setup.server();
        for (leg, one) in owners.iter_mut().chain(&mut data).enumerate() {
            let port = 2000 + leg as u16;
            one.client.leg = leg as u32;
            one.client.tuple.client.set_port(port);
            assert_eq!(one.request(&mut server, Method::REFRESH, |_| ()).code(), 437);
        }
        Self {
            server,
            owners,
            data,
            now: Duration::ZERO,
            allocations: BTreeMap::new(),
            connections: BTreeMap::new(),
            named: Vec::new(),
            ended_bytes: Vec::new(),
        }
    }

    fn of(&self, owner: usize) -> impl Iterator<Item = &Connection> {
        self.connections.values().filter(move |connection| connection.owner == owner)
    }

    /// The refusal that the limits call for, if any.
    fn room(&self, owner: usize) -> Result<(), u16> {
        let pending = self.of(owner).filter(|one| one.state != State::Bound).count();
        if self.of(owner).count() >= EACH || pending >= PENDING {
            return Err(508);
        }
        let of_user = self.connections.values().filter(|one| user(one.owner) == user(owner));
        if of_user.count() >= PER_USER { Err(486) } else { Ok(()) }
    }

    fn which(&self, which: usize) -> Option<ConnectionId> {
        // Mostly one of the latest.
        self.named.iter().rev().nth(which).copied()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Allocate(owner) => self.allocate(owner),
            Step::Refresh(owner, lifetime) => self.refresh(owner, lifetime),
            Step::Permit(owner, peer) => {
                let code = self.owners[owner].permit(&mut self.server, &[at(peer)]).code();
                let until = self.now + PERMISSION;
                match self.allocations.get_mut(&owner) {
                    None => assert_eq!(code, 437),
                    Some(found) => {
                        assert_eq!(code, 0);
                        found.permissions.insert(at(peer).ip(), until);
                    }
                }
            }
            Step::Connect(owner, peer) => self.connect(owner, peer),
            Step::ConnectDenied(owner) => {
                let code = self.ask_to_connect(owner, DENIED.parse().expect("an address"));
                let expected = if self.allocations.contains_key(&owner) { 403 } else { 437 };
                assert_eq!(code, Err(expected));
            }
            Step::Answer(which, ok) => self.answer(which, ok),
            Step::Incoming(owner, peer) => self.incoming(owner, at(peer)),
            Step::Bind(binder, which) => self.bind(binder, which),
            Step::Data(which, bytes) => self.data(which, bytes),
            Step::Close(which) => {
                let Some(id) = self.which(which) else { return };
                // The worker tells only of what it has.
                if self.connections.get(&id).is_some_and(|one| one.state != State::Connecting) {
                    self.server.server.connection_closed(id, &self.server.stats);
                    self.connections.remove(&id);
                }
            }
            Step::Disconnect(owner) => {
                let TestServer { server, sockets, stats, now, .. } = &mut self.server;
                server.disconnected(*now, &self.owners[owner].client, sockets, stats);
                self.end(owner);
            }
            Step::Wait(seconds) => self.wait(Duration::from_secs(seconds)),
        }
        self.compare();
    }

    fn allocate(&mut self, owner: usize) {
        let response = self.owners[owner].allocate_tcp(&mut self.server);
        if self.allocations.contains_key(&owner) {
            assert_eq!(response.code(), 437);
            return;
        }
        assert_eq!(response.code(), 0);
        let local = SocketAddr::new(RELAYS[0].local, response.relayed()[0].port());
        let relay = self.server.sockets.relay_at(local).expect("it listens");
        let until = self.now + Duration::from_secs(600);
        let allocation = Allocation { until, relay, permissions: BTreeMap::new(), bytes: 0 };
        self.allocations.insert(owner, allocation);
    }

    fn refresh(&mut self, owner: usize, lifetime: u32) {
        let code = self.owners[owner].refresh(&mut self.server, lifetime).code();
        match self.allocations.get_mut(&owner) {
            None => assert_eq!(code, 437),
            Some(_) if lifetime == 0 => self.end(owner),
            Some(found) => found.until = self.now + Duration::from_secs(lifetime.into()),
        }
    }

    /// The deed of a Connect that is gone about, or the code of its refusal.
    fn ask_to_connect(&mut self, owner: usize, peer: SocketAddr) -> Result<ConnectionId, u16> {
        let client = &mut self.owners[owner];
        let request = client.build(Method::CONNECT, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        });
        match self.server.receive(&client.client, &request) {
            Verdict::Reply(reply) => Err(reply.refusal.map_or(0, Cause::code)),
            Verdict::Later => match self.server.deeds()[..] {
                [Deed::Connect(connection, ..)] => Ok(connection),
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn connect(&mut self, owner: usize, peer: usize) {
        let peer = at(peer);
        let expected = if !self.allocations.contains_key(&owner) {
            Err(437)
        } else if self.of(owner).any(|one| one.peer == peer) {
            Err(446)
        } else {
            self.room(owner)
        };
        let connection = self.ask_to_connect(owner, peer);
        assert_eq!(connection.map(drop), expected);
        if let Ok(connection) = connection {
            self.file(connection, owner, peer, State::Connecting);
        }
    }

    fn file(&mut self, id: ConnectionId, owner: usize, peer: SocketAddr, state: State) {
        assert!(!self.named.contains(&id), "a name that was another's");
        self.named.push(id);
        let until = self.now + PATIENCE;
        self.connections.insert(id, Connection { owner, peer, state, until });
    }

    fn answer(&mut self, which: usize, ok: bool) {
        let Some(id) = self.which(which) else { return };
        let outcome = if ok { Ok(()) } else { Err(ConnectFailure::Failed) };
        let told = self.server.connected(id, outcome);
        let waiting = self.connections.get_mut(&id).filter(|one| one.state == State::Connecting);
        let Some(one) = waiting else {
            assert_eq!(told, None);
            return;
        };
        let (client, response) = told.expect("somebody waits");
        assert_eq!(client, self.owners[one.owner].client);
        assert_eq!(response.code(), if ok { 0 } else { 447 });
        if ok {
            (one.state, one.until) = (State::Unbound, self.now + PATIENCE);
        } else {
            self.connections.remove(&id);
        }
    }

    fn incoming(&mut self, owner: usize, peer: SocketAddr) {
        let Some(allocation) = self.allocations.get(&owner) else { return };
        // A relay of this server comes from its local address.
        let sender = match peer.ip() == RELAYS[0].advertised {
            true => SocketAddr::new(RELAYS[0].local, peer.port()),
            false => peer,
        };
        let permitted = allocation.permissions.get(&peer.ip()).is_some_and(|u| self.now < *u);
        let expected = match (permitted, self.room(owner)) {
            (false, _) => Err(Dropped::NoPermission),
            (true, Err(_)) => Err(Dropped::ConnectionLimit),
            (true, Ok(())) => Ok(()),
        };
        let found = self.server.incoming(allocation.relay, sender);
        assert_eq!(found.as_ref().map(|_| ()).map_err(|reason| *reason), expected);
        if let Ok((id, client, indication)) = found {
            assert_eq!(client, self.owners[owner].client);
            assert_eq!(indication.peer(), Some(peer));
            self.file(id, owner, peer, State::Unbound);
        }
    }

    fn bind(&mut self, binder: usize, which: usize) {
        let id = self.which(which);
        let number = id.map_or(77, ConnectionId::get);
        let client = &mut self.data[binder];
        let request = client.build(Method::CONNECTION_BIND, |writer| {
            writer.number(attribute::CONNECTION_ID, number);
        });
        let verdict = self.server.receive(&client.client, &request);
        let free = id
            .and_then(|id| self.connections.get_mut(&id))
            .filter(|one| one.state == State::Unbound && user(one.owner) == user(binder));
        match (verdict, free) {
            (Verdict::Bound(_, bound), Some(one)) => {
                assert_eq!(Some(bound), id);
                one.state = State::Bound;
            }
            (Verdict::Reply(reply), None) => assert_eq!(reply.refusal.map(Cause::code), Some(400)),
            (verdict, expected) => panic!("{verdict:?}, but expected {expected:?}"),
        }
    }

    fn data(&mut self, which: usize, bytes: u16) {
        let Some(id) = self.which(which) else { return };
        let Some(one) = self.connections.get(&id).filter(|one| one.state == State::Bound) else {
            return;
        };
        let allocation = self.allocations.get_mut(&one.owner).expect("it holds the connection");
        allocation.bytes += u64::from(bytes);
        let TestServer { server, stats, now, .. } = &mut self.server;
        let until = server.relayed(now.mono, id, Direction::ToPeer, bytes.into(), stats);
        assert_eq!(until, None);
    }

    fn end(&mut self, owner: usize) {
        if let Some(allocation) = self.allocations.remove(&owner) {
            let mut closed = self.server.deeds();
            let mut expected: Vec<_> = self.connections.iter().collect();
            expected.retain(|(_, one)| one.owner == owner);
            let mut expected: Vec<_> =
                expected.into_iter().map(|(id, _)| Deed::Close(*id)).collect();
            let key = |deed: &Deed| format!("{deed:?}");
            closed.sort_by_key(key);
            expected.sort_by_key(key);
            assert_eq!(closed, expected);
            self.connections.retain(|_, one| one.owner != owner);
            self.ended_bytes.push(allocation.bytes);
        }
    }

    /// Step by step, so that each thing that ends is seen when it does.
    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            let soon = self.connections.values().filter(|one| one.state != State::Bound);
            let soon = soon.map(|one| one.until).chain(self.allocations.values().map(|a| a.until));
            let next = soon.chain([end]).filter(|at| *at > self.now).min().expect("the end");
            self.server.advance(next - self.now);
            self.now = next;
            let late: Vec<_> = self.allocations.iter().filter(|(_, a)| a.until <= next).collect();
            let late: Vec<_> = late.into_iter().map(|(owner, _)| *owner).collect();
            self.give_up(&late);
        }
    }

    fn give_up(&mut self, late: &[usize]) {
        let mut closed = Vec::new();
        for deed in self.server.deeds() {
            match deed {
                Deed::GiveUp(id) => {
                    let one = self.connections.remove(&id).expect("it was being made");
                    assert_eq!(one.state, State::Connecting);
                    assert!(one.until <= self.now);
                    let told = self.server.connected(id, Err(ConnectFailure::TimedOut));
                    assert_eq!(told.expect("somebody waits").1.code(), 447);
                }
                Deed::Close(id) => closed.push(id),
                Deed::Connect(..) => panic!("{deed:?}"),
            }
        }
        for id in closed {
            let one = self.connections.remove(&id).expect("it was open");
            let over = one.state == State::Unbound && one.until <= self.now;
            assert!(over || late.contains(&one.owner), "{one:?} closed at {:?}", self.now);
        }
        for owner in late {
            let allocation = self.allocations.remove(owner).expect("it was late");
            self.ended_bytes.push(allocation.bytes);
        }
    }

    fn compare(&mut self) {
        assert_eq!(self.server.server.connections(), self.connections.len());
        assert_eq!(self.server.server.allocations(), self.allocations.len());
        let pending = self.connections.values().filter(|one| one.state != State::Bound);
        assert!(pending.clone().all(|one| self.now < one.until), "something is late");
        let mut bytes: Vec<_> =
            self.server.ended().iter().map(|session| session.traffic.to_peer_bytes).collect();
        let mut expected = std::mem::take(&mut self.ended_bytes);
        bytes.sort_unstable();
        expected.sort_unstable();
        assert_eq!(bytes, expected);
        let stats = &self.server.stats;
        let open = self.connections.values().filter(|one| one.state != State::Connecting).count();
        let begun = stats.connections_out.get() + stats.connections_in.get();
        assert_eq!(begun - stats.connections_ended.get(), open as u64);
    }
}

proptest! {
    #[test]
    fn the_server_agrees_with_the_model(history in steps()) {
        let mut check = Check::new();
        for step in &history {
            check.step(step);
        }
        check.step(&Step::Wait(3_700));
        check.server.assert_empty();
    }
}
