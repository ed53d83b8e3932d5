//! A server with a clock that a test steps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{FakeSockets, Host, Random, Response};
use turnwire::auth::{self, Reach, Realms, Secret, User, UserName};
use turnwire::stun::Class;
use turnwire::time::{Mono, Now};
use turnwire::turn::{
    Audience, Case, Client, ConnectFailure, ConnectionId, Dropped, Drops, Effect, Ledger, Notice,
    PeerPolicy, PortRange, Progress, RESPONSE_MAX, RelayAddress, RelayId, Reply, Resumed, Seat,
    Server, Session, Settings, Stats, Verdict,
};

/// When every test begins.
pub(crate) const START: Now = Now { mono: Mono::from_secs(1000), unix: 1_800_000_000 };
/// Where clients find the server.
pub(crate) const LISTENER: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 3478);
pub(crate) const LISTENER_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1)), 3478);
/// An IPv4 address behind a 1:1 NAT, and an IPv6 one.
pub(crate) const RELAYS: [RelayAddress; 2] = [
    RelayAddress {
        local: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)),
        advertised: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    },
    RelayAddress {
        local: IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1)),
        advertised: IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1)),
    },
];
pub(crate) const REALM: &str = "example.org";

/// Relays of both families on the ports, with the built-in peer policy.
pub(crate) fn turn_settings(first: u16, last: u16) -> Settings {
    let ports = PortRange { first, last };
    let listeners = vec![LISTENER, LISTENER_V6];
    Settings {
        relays: RELAYS.to_vec(),
        ports,
        peers: PeerPolicy::new(Vec::new(), RELAYS.to_vec(), ports, listeners),
        ..Settings::default()
    }
}

/// Users `alice` (password `wonder`) and `bob` (password `builder`).
pub(crate) fn auth_settings() -> auth::Settings {
    let user = |name: &str, password: &str| User {
        name: name.to_owned(),
        password: Secret::new(password),
    };
    auth::Settings {
        realm: REALM.to_owned(),
        users: vec![user("alice", "wonder"), user("bob", "builder")],
        ..auth::Settings::default()
    }
}

/// What a [`TestServer`] is made of.
pub(crate) struct Setup {
    pub(crate) turn: Settings,
    pub(crate) auth: auth::Settings,
    /// Further realms.
    pub(crate) realms: Vec<(auth::Settings, Reach)>,
    pub(crate) seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        let turn = turn_settings(49152, 65535);
        Self { turn, auth: auth_settings(), realms: Vec::new(), seed: 1 }
    }
}

impl Setup {
    pub(crate) fn server(self) -> TestServer {
        self.servers(1).remove(0)
    }

    /// Servers that share a ledger and a host, as the workers of a process do.
    pub(crate) fn servers(self, count: u32) -> Vec<TestServer> {
        let settings = Arc::new(self.turn);
        let realms = Realms::new(self.auth, self.realms, [7; 16]).expect("valid credentials");
        let (realms, ledger) = (Arc::new(realms), Arc::new(Ledger::new(&settings)));
        let (host, audience) = (Host::default(), Arc::new(Audience::default()));
        let make = |number| {
            let mut random = Random::new(self.seed ^ u64::from(number));
            let server = Server::new(
                Arc::clone(&settings),
                Arc::clone(&realms),
                Arc::clone(&ledger),
                Box::new(move || random.next()),
                START.mono,
            )
            .seated(Seat { number, of: count })
            .heard_by(Arc::clone(&audience));
            TestServer {
                server,
                ledger: Arc::clone(&ledger),
                sockets: FakeSockets::on(&host),
                stats: Stats::default(),
                now: START,
                out: vec![0; RESPONSE_MAX],
                sessions: Vec::new(),
                itself: None,
                records: Vec::new(),
                told: Vec::new(),
                drops: Vec::new(),
                audience: Arc::clone(&audience),
                deeds: Vec::new(),
                lookups: Vec::new(),
            }
        };
        (0..count).map(make).collect()
    }
}

/// A [`Server`] with everything it is driven with.
pub(crate) struct TestServer {
    pub(crate) server: Server,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sockets: FakeSockets,
    pub(crate) stats: Stats,
    pub(crate) now: Now,
    /// The client that is the process itself, which counts nowhere.
    pub(crate) itself: Option<SocketAddr>,
    out: Vec<u8>,
    sessions: Vec<Session>,
    records: Vec<Progress>,
    told: Vec<Told>,
    drops: Vec<Drops>,
    /// Who hears what it decides.
    pub(crate) audience: Arc<Audience>,
    deeds: Vec<Deed>,
    lookups: Vec<Arc<UserName>>,
}

/// What the server wants of its worker for connections with peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Connect(ConnectionId, RelayId, SocketAddr),
    GiveUp(ConnectionId),
    Close(ConnectionId),
}

/// What somebody hears of a request.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) case: Case,
    pub(crate) followers: u8,
    pub(crate) notice: Option<Notice>,
}

impl TestServer {
    /// Lets time pass and everything end that is over.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let unix = (self.now.mono + duration).as_secs() - self.now.mono.as_secs();
        let now = Now { mono: self.now.mono + duration, unix: self.now.unix + unix };
        self.advance_to(now);
    }

    pub(crate) fn advance_to(&mut self, now: Now) {
        assert!(now.mono >= self.now.mono, "the monotonic clock goes on");
        self.now = now;
        self.expire();
    }

    /// Ends everything that is over: in as many calls as it takes.
    pub(crate) fn expire(&mut self) {
        self.server.report(self.now.mono);
        for _ in 0..1000 {
            self.server.expire(self.now, &mut self.sockets, &self.stats);
            match self.server.next_deadline() {
                // A bounded number is done in one call.
                Some(deadline) if deadline <= self.now.mono => {}
                _ => return,
            }
        }
        panic!("the wheel does not come to rest");
    }

    /// Hands a packet to the server, and checks what holds for every verdict.
    pub(crate) fn receive(&mut self, client: &Client, packet: &[u8]) -> Verdict {
        self.receive_from(None, client, packet)
    }

    /// The same for a packet that another server should have had, and that takes nothing.
    pub(crate) fn receive_here(&mut self, client: &Client, packet: &[u8]) -> Verdict {
        let (out, sockets, stats) = (&mut self.out, &mut self.sockets, &self.stats);
        self.server.receive_here(self.now, client, packet, out, sockets, stats)
    }

    /// The same for one that has arrived at another worker.
    pub(crate) fn receive_from(
        &mut self,
        origin: Option<u32>,
        client: &Client,
        packet: &[u8],
    ) -> Verdict {
        let dropped = |stats: &Stats| stats.dropped.iter().map(|c| c.get()).sum::<u64>();
        let refused = |stats: &Stats| stats.refused.iter().map(|c| c.get()).sum::<u64>();
        let before = (dropped(&self.stats), refused(&self.stats));
        let (out, sockets, stats) = (&mut self.out, &mut self.sockets, &self.stats);
        let verdict = match origin {
            None => self.server.receive(self.now, client, packet, out, sockets, stats),
            Some(origin) => {
                let server = &mut self.server;
                server.receive_forwarded(self.now, origin, client, packet, out, sockets, stats)
            }
        };
        let counted = (dropped(&self.stats) - before.0, refused(&self.stats) - before.1);
        match &verdict {
            Verdict::Reply(reply) | Verdict::Bound(reply, _) => {
                assert!((20..=RESPONSE_MAX).contains(&reply.length));
                let response = Response::new(&self.out[..reply.length]);
                assert_eq!(response.kind().method, reply.method);
                assert_eq!(response.id().bytes()[..], packet[8..20]);
                let error = response.kind().class == Class::Error;
                assert_eq!(error, reply.refusal.is_some());
                if let Some(cause) = reply.refusal {
                    assert_eq!(response.code(), cause.code());
                }
                let uncounted = self.itself == Some(client.tuple.client) && response.code() == 401;
                assert_eq!(counted, (0, u64::from(error && !uncounted)), "{:?}", reply.refusal);
            }
            Verdict::ToPeer(to_peer) => {
                assert!(to_peer.payload.start <= to_peer.payload.end);
                assert!(to_peer.payload.end <= packet.len());
                assert!(
                    self.sockets.open.contains_key(&to_peer.relay.index()),
                    "relayed without a socket"
                );
                assert_eq!(counted, (0, 0));
            }
            Verdict::Drop(_) => assert_eq!(counted, (1, 0)),
            Verdict::Ignore | Verdict::Later | Verdict::Elsewhere(_) | Verdict::Hold => {
                assert_eq!(counted, (0, 0));
            }
            Verdict::Park => assert_eq!(counted, (0, 0)),
        }
        if self.itself.is_none() {
            assert_eq!(self.stats.live(), self.server.allocations() as u64);
        }
        verdict
    }

    /// Hands over a request that must be answered.
    pub(crate) fn ask(&mut self, client: &Client, packet: &[u8]) -> Response {
        match self.receive(client, packet) {
            Verdict::Reply(reply) => Response::new(&self.out[..reply.length]),
            other => panic!("no answer but {other:?}"),
        }
    }

    /// The bytes that the last [`Verdict::Reply`] of this length is about.
    pub(crate) fn reply(&self, length: usize) -> Response {
        Response::new(&self.out[..length])
    }

    /// The sessions that have ended since it was asked last.
    pub(crate) fn ended(&mut self) -> Vec<Session> {
        self.poll();
        std::mem::take(&mut self.sessions)
    }

    /// What has been told of allocations that live since it was asked last.
    pub(crate) fn records(&mut self) -> Vec<Progress> {
        self.poll();
        std::mem::take(&mut self.records)
    }

    /// What the server has wanted for connections with peers since it was asked last.
    pub(crate) fn deeds(&mut self) -> Vec<Deed> {
        self.poll();
        std::mem::take(&mut self.deeds)
    }

    /// Whom it wants to be looked for since it was asked last.
    pub(crate) fn lookups(&mut self) -> Vec<Arc<UserName>> {
        self.poll();
        std::mem::take(&mut self.lookups)
    }

    /// Ends what it has adopted, if that is to be.
    pub(crate) fn end_revoked(&mut self, relays: &[Option<RelayId>; 2]) {
        if let Some(relay) = relays.iter().flatten().next() {
            self.server.end_revoked(self.now, *relay, &mut self.sockets, &self.stats);
        }
    }

    /// Goes on with what has waited for the stores: each request with what is done, and the response.
    pub(crate) fn resume(&mut self) -> Vec<(Resumed, Option<Response>)> {
        let mut all = Vec::new();
        loop {
            let (out, sockets) = (&mut self.out, &mut self.sockets);
            let Some(resumed) = self.server.resume(self.now, out, sockets, &self.stats) else {
                return all;
            };
            let response = match &resumed.verdict {
                Verdict::Reply(reply) => Some(Response::new(&self.out[..reply.length])),
                _ => None,
            };
            all.push((resumed, response));
        }
    }

    /// What was told of requests since it was asked last.
    pub(crate) fn told(&mut self) -> Vec<Told> {
        self.poll();
        std::mem::take(&mut self.told)
    }

    /// What was told of dropped packets since it was asked last.
    pub(crate) fn dropped(&mut self) -> Vec<Drops> {
        self.poll();
        std::mem::take(&mut self.drops)
    }

    fn poll(&mut self) {
        while let Some(effect) = self.server.poll_effect() {
            match effect {
                Effect::Ended { session, .. } => self.sessions.push(*session),
                Effect::Connect { connection, relay, peer } => {
                    assert!(self.sockets.open.contains_key(&relay.index()), "from nowhere");
                    self.deeds.push(Deed::Connect(connection, relay, peer));
                }
                Effect::ConnectTimedOut(connection) => self.deeds.push(Deed::GiveUp(connection)),
                Effect::Disconnect(connection) => self.deeds.push(Deed::Close(connection)),
                Effect::Began(progress) | Effect::Usage(progress) => self.records.push(*progress),
                Effect::Case { case, followers, notice } => {
                    self.told.push(Told { case: *case, followers, notice });
                }
                Effect::Drops { drops, .. } => self.drops.push(*drops),
                Effect::Moved(_) | Effect::Released { .. } => {}
                Effect::Renewed { .. } | Effect::Parted { .. } => {}
                Effect::LookUp { user, .. } => self.lookups.push(user),
            }
        }
    }

    /// Tells the server what came of a connection; the Connect's response, if anybody waits for it.
    pub(crate) fn connected(
        &mut self,
        connection: ConnectionId,
        outcome: Result<(), ConnectFailure>,
    ) -> Option<(Client, Response)> {
        let out = &mut self.out;
        let told = self.server.connected(self.now, connection, outcome, out, &self.stats);
        let (client, Reply { length, refusal, .. }) = told?;
        let response = Response::new(&self.out[..length]);
        assert_eq!(response.code(), refusal.map_or(0, |cause| cause.code()));
        assert_eq!(response.success(), outcome.is_ok());
        Some((client, response))
    }

    /// A peer connects: the connection's name, whom it is told to, and the indication.
    pub(crate) fn incoming(
        &mut self,
        relay: RelayId,
        sender: SocketAddr,
    ) -> Result<(ConnectionId, Client, Response), Dropped> {
        let out = &mut self.out;
        let attempt = self.server.incoming(self.now, relay, sender, out, &self.stats)?;
        let indication = Response::new(&self.out[..attempt.length]);
        Ok((attempt.connection, attempt.client, indication))
    }

    /// Free and all relay ports together.
    pub(crate) fn ports(&self) -> (usize, usize) {
        let pools = self.ledger.free_ports();
        let sum = |of: fn(&(IpAddr, usize, usize)) -> usize| pools.iter().map(of).sum();
        (sum(|pool| pool.1), sum(|pool| pool.2))
    }

    /// Asserts that nothing is left: no socket, no port taken, no quota used.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.server.allocations(), 0);
        assert_eq!(self.server.connections(), 0);
        assert!(self.sockets.open.is_empty());
        assert_eq!(self.ledger.allocations(), 0);
        let (free, all) = self.ports();
        assert_eq!(free, all, "relay ports are lost");
        assert_eq!(self.stats.live(), 0);
    }
}
