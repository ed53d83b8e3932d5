//! The server as a state machine: packets of several clients and peers, and steps of time. Packets
//! are raw, or requests that are signed with the right key and the nonce of the last challenge, so
//! that deep states are reached. What must hold of every verdict is checked by the tests' own
//! harness; here stands what must hold between them.
#![no_main]

#[path = "../../tests/core/mod.rs"]
mod harness;

#[path = "server/connections.rs"]
mod connections;
#[path = "server/discovery.rs"]
mod discovery;
#[path = "server/requests.rs"]
mod requests;
#[path = "server/steps.rs"]
mod steps;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use harness::{REALM, RELAYS, Response, Setup, TestClient, TestServer, turn_settings};
use libfuzzer_sys::fuzz_target;
use requests::Grant;
use steps::Step;
use turnwire::auth::{Answer, Directory, Keys, OnRevocation, Retention, TokenSettings, UserName};
use turnwire::stun::{DATA_INDICATION_MAX, Message, Method, attribute};
use turnwire::turn::{
    Client, ConnectionId, Icmp, MAX_RELAYED, PortRange, RESPONSE_MAX, RelayId, Transport, Verdict,
};

const PORTS: PortRange = PortRange { first: 50_001, last: 50_008 };
const CLIENTS: [(&str, Transport); 4] = [
    ("198.51.100.7:1000", Transport::Udp),
    ("198.51.100.7:1000", Transport::Tcp),
    ("[2600::7]:1000", Transport::Udp),
    ("198.51.100.8:1000", Transport::Tcp),
];
/// Peers that are allowed, the server's own addresses, and denied ones.
const PEERS: [&str; 10] = [
    "1.1.1.1:9",
    "1.1.1.1:10",
    "[2600::1]:9",
    "203.0.113.1:50002",
    "203.0.113.1:3478",
    "[2001:db8::1]:50003",
    "1.1.1.2:9",
    "10.0.0.1:9",
    "[::1]:9",
    "[::ffff:10.0.0.1]:9",
];
const DENIED: usize = 7;
/// What access tokens are sealed for.
const SERVER_NAME: &str = "turn.example.org";

struct World {
    server: TestServer,
    /// What stores have said, and about whom they are to be asked.
    directory: Arc<Directory>,
    asked: VecDeque<Arc<UserName>>,
    clients: Vec<TestClient>,
    sent: Vec<Vec<u8>>,
    token: [u8; 8],
    /// Mobility tickets that were given, the last one first.
    tickets: Vec<Vec<u8>>,
    /// The last access token.
    grant: Grant,
    /// Connections that the server has named and that may be over.
    named: Vec<ConnectionId>,
    connecting: BTreeSet<ConnectionId>,
    unbound: BTreeSet<ConnectionId>,
    bound: BTreeSet<ConnectionId>,
}

fn peer(number: u8) -> SocketAddr {
    PEERS[usize::from(number) % PEERS.len()].parse().expect("an address")
}

impl World {
    fn new() -> Self {
        let mut turn = turn_settings(PORTS.first, PORTS.last);
        turn.limits.unauthenticated_per_second = 0;
        turn.limits.permissions = 5;
        turn.limits.channels = 3;
        turn.limits.allocations_per_user = 3;
        turn.limits.connections = 4;
        turn.limits.pending_connections = 3;
        turn.limits.connections_per_user = 6;
        turn.limits.bytes_per_second = 100_000;
        turn.mobility = true;
        turn.discovery = vec![discovery::PLACES];
        let mut setup = Setup { turn, ..Setup::default() };
        setup.auth.tokens = TokenSettings {
            server_name: Some(SERVER_NAME.to_owned()),
            keys: Grant::keys().into(),
            clock_skew: Duration::from_secs(Grant::SKEW),
        };
        let directory = Arc::new(Directory::new(Retention::default()));
        directory.learn_secrets(&REALM.into(), Vec::new());
        setup.auth.directory = Some(Arc::clone(&directory));
        setup.auth.on_revocation = OnRevocation::End;
        let mut server = setup.server();
        let client = |(address, transport): &(&str, Transport)| {
            TestClient::over(*transport, address, "alice", "wonder")
        };
        let mut clients: Vec<_> = CLIENTS.iter().map(client).collect();
        for (leg, client) in clients.iter_mut().enumerate() {
            client.client.leg = leg as u32;
            challenge(&mut server, client);
        }
        let sent = vec![Vec::new(); clients.len()];
        Self {
            server,
            directory,
            asked: VecDeque::new(),
            clients,
            sent,
            token: [0; 8],
            tickets: Vec::new(),
            grant: Grant::new(false, 0, 0, 0),
            named: Vec::new(),
            connecting: BTreeSet::new(),
            unbound: BTreeSet::new(),
            bound: BTreeSet::new(),
        }
    }

    /// `until`: the packet is worth something no longer than that, by the wall clock.
    fn receive(&mut self, number: usize, packet: &[u8], until: Option<u64>) {
        let client = self.clients[number].client;
        let verdict = self.server.receive(&client, packet);
        let response = match &verdict {
            Verdict::Reply(reply) => Some(self.server.reply(reply.length)),
            _ => None,
        };
        self.judge(&client, verdict, response, until);
    }

    fn judge(
        &mut self,
        client: &Client,
        verdict: Verdict,
        response: Option<Response>,
        until: Option<u64>,
    ) {
        match verdict {
            Verdict::Reply(reply) => {
                let response = response.expect("it was read");
                self.token = response.token().unwrap_or(self.token);
                assert!(reply.detour.is_none(), "nobody has asked for another way");
                let lifetime = response.get(attribute::LIFETIME).filter(|_| response.success());
                if let (Some(until), Some(&[a, b, c, d])) = (until, lifetime) {
                    // RFC 7635 §4.2: no longer than the token.
                    let ends = self.server.now.unix + u64::from(u32::from_be_bytes([a, b, c, d]));
                    assert!(ends <= until, "it outlives its token by {} s", ends - until);
                }
                if let Some(ticket) = response.get(attribute::MOBILITY_TICKET) {
                    self.tickets.insert(0, ticket.to_vec());
                    self.tickets.truncate(7);
                }
                for relayed in response.relayed() {
                    assert!(PORTS.contains(relayed.port()));
                    assert!(RELAYS.iter().any(|relay| relay.advertised == relayed.ip()));
                }
            }
            Verdict::ToPeer(decision) => {
                let denied = (DENIED..PEERS.len()).map(|place| peer(place as u8).ip());
                let ip = decision.peer.ip();
                assert!(denied.into_iter().all(|denied| denied != ip), "relayed to {ip}");
                let own = RELAYS.iter().any(|relay| relay.local == ip || relay.advertised == ip);
                assert!(!own || PORTS.contains(decision.peer.port()), "to the server itself");
            }
            Verdict::Bound(_, connection) => {
                assert!(client.tuple.transport.is_stream());
                assert!(self.unbound.remove(&connection), "bound twice, or before it was there");
                self.bound.insert(connection);
            }
            Verdict::Elsewhere(_) | Verdict::Hold => panic!("there is no other server"),
            Verdict::Later => assert!(client.tuple.transport.is_stream()),
            Verdict::Drop(_) | Verdict::Ignore => {}
            Verdict::Park => assert!(self.server.server.parked() > 0),
        }
    }

    /// The stores answer, and what has waited for that goes on.
    fn answer(&mut self, what: u8) {
        self.asked.extend(self.server.lookups());
        let Some(user) = self.asked.pop_front() else { return };
        let password = |word| {
            let keys = Keys::stored_password(&user.realm, &user.name, word).expect("a password");
            Answer::User(Arc::new(keys), None)
        };
        let answer = match what % 4 {
            0 => password("old"),
            1 => password("new"),
            2 => Answer::NoUser,
            _ => Answer::Unavailable,
        };
        let lost = self.directory.learn(self.server.now.mono, &user, answer);
        let TestServer { server, sockets, stats, now, .. } = &mut self.server;
        server.provide_key(&user);
        if lost {
            server.look_again(*now, Some(&user), sockets, stats);
        }
        for (resumed, response) in self.server.resume() {
            assert!(!matches!(resumed.verdict, Verdict::Park), "it has waited already");
            self.judge(&resumed.client, resumed.verdict, response, None);
        }
    }

    fn known(&self, told: &Client) -> bool {
        self.clients.iter().any(|client| client.client == *told)
    }

    fn step(&mut self, step: &Step<'_>) {
        let client = |number: &u8| usize::from(*number) % CLIENTS.len();
        match step {
            Step::Raw { client: from, packet } => self.receive(client(from), packet.0, None),
            Step::Request { client: from, sender, ask, extra } => {
                self.request(client(from), sender, ask, extra);
            }
            Step::Again { client: from } => {
                let packet = self.sent[client(from)].clone();
                self.receive(client(from), &packet, None);
            }
            Step::Send { client: from, peer: to, data, dont_fragment } => {
                let mut packet = harness::send_indication(peer(*to), data.0);
                if *dont_fragment {
                    packet.extend([0x00, 0x1A, 0, 0]);
                    let length = (packet.len() - 20) as u16;
                    packet[2..4].copy_from_slice(&length.to_be_bytes());
                }
                self.receive(client(from), &packet, None);
            }
            Step::ChannelData { client: from, number, data, padding } => {
                let mut packet = harness::channel_data(0x4000 + u16::from(number % 4), data.0);
                packet.resize(packet.len() + usize::from(padding % 8), 0);
                self.receive(client(from), &packet, None);
            }
            Step::FromPeer { relay, peer: from, length } => {
                self.from_peer(*relay, peer(*from), usize::from(*length).min(MAX_RELAYED));
            }
            Step::Icmp { relay, peer: to, kind, code } => {
                let icmp = Icmp { kind: *kind, code: *code, mtu: 1400 };
                self.from_icmp(*relay, peer(*to), icmp);
            }
            Step::Disconnect { client: number } => {
                let gone = self.clients[client(number)].client;
                let TestServer { server, sockets, stats, now, .. } = &mut self.server;
                server.disconnected(*now, &gone, sockets, stats);
                assert!(!server.has_allocation(*now, &gone.tuple));
            }
            Step::Wait { millis } => {
                // Up to 70 minutes, more often a short time.
                let millis = u64::from(millis % 4_200_000 >> (millis >> 30));
                self.server.advance(Duration::from_millis(millis));
            }
            Step::SetClock { unix } => self.server.now.unix = (*unix).into(),
            Step::Occupy { port, taken } => {
                let port = PORTS.first + u16::from(*port) % PORTS.len() as u16;
                let address = SocketAddr::new(RELAYS[usize::from(port % 2)].local, port);
                let host = &self.server.sockets.host;
                if *taken { host.occupy(address) } else { host.vacate(address) }
            }
            Step::Exhaust(exhausted) => self.server.sockets.exhausted = *exhausted,
            Step::Connected { which, outcome } => self.connected(*which, *outcome),
            Step::Incoming { relay, peer: from } => self.incoming(*relay, peer(*from)),
            Step::Data { which, to_peer, bytes, over } => {
                self.data(*which, *to_peer, *bytes, *over);
            }
            Step::Answer { what } => self.answer(*what),
            Step::Discover { client: from, corner, change, port, padding, classic } => {
                let asked = discovery::Asked {
                    change: *change,
                    port: *port,
                    padding: *padding,
                    classic: *classic,
                };
                self.discover(client(from), *corner, &asked);
            }
        }
        self.check();
    }

    fn from_peer(&mut self, relay: u8, sender: SocketAddr, length: usize) {
        let relay = RelayId::from_index(usize::from(relay % 8));
        let open = self.server.sockets.open.contains_key(&relay.index());
        let TestServer { server, stats, now, .. } = &mut self.server;
        let Ok(delivery) = server.from_peer(*now, relay, sender, length, stats) else { return };
        assert!(open, "from a relay that is closed");
        assert!(self.clients.iter().any(|client| client.client == delivery.client));
        let mut headroom = [0; DATA_INDICATION_MAX];
        if let Some(header) = delivery.framing.write(&mut headroom, length) {
            let padding = delivery.framing.padding(length, true);
            assert_eq!((header + length + padding) % 4, 0);
        }
    }

    fn from_icmp(&mut self, relay: u8, destination: SocketAddr, icmp: Icmp) {
        let relay = RelayId::from_index(usize::from(relay % 8));
        let mut out = [0; RESPONSE_MAX];
        let TestServer { server, stats, now, .. } = &mut self.server;
        let told = server.from_icmp(*now, relay, destination, icmp, &mut out, stats);
        if let Some((_, length)) = told {
            let message = Message::parse(&out[..length]).expect("a good indication");
            assert!(message.attribute(attribute::ICMP).is_some());
        }
    }

    /// What holds between any two steps.
    fn check(&mut self) {
        self.deeds();
        self.server.ended();
        let (live, open) = (self.server.server.allocations(), self.server.sockets.open.len());
        assert!((live..=2 * live).contains(&open), "{open} sockets for {live} allocations");
        assert_eq!(self.server.ledger.allocations() as usize, live);
        let (free, all) = self.server.ports();
        assert!(all - free >= open);
        let next = self.server.server.next_deadline();
        let parked = self.server.server.parked();
        assert_eq!(next.is_some(), live > 0 || parked > 0);
        let stats = &self.server.stats;
        assert_eq!(stats.parked.get() - stats.unparked.get(), parked as u64);
    }

    /// Everything comes back in the end.
    fn finish(mut self) {
        self.server.advance(Duration::from_secs(3601));
        self.deeds();
        self.server.advance(Duration::from_secs(61));
        self.server.assert_empty();
        assert_eq!(self.server.server.parked(), 0);
    }
}

/// The client asks for a nonce.
fn challenge(server: &mut TestServer, client: &mut TestClient) {
    client.nonce = None;
    let packet = client.build(Method::ALLOCATE, |_| ());
    let response = server.ask(&client.client, &packet);
    client.learn(&response);
}

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    let mut input = Unstructured::new(input);
    // Some begin with an allocation, so that short inputs reach what needs one.
    let begun = u8::arbitrary(&mut input).unwrap_or(0);
    for (number, client) in world.clients.iter_mut().enumerate() {
        if begun >> number & 1 == 1 {
            client.allocate(&mut world.server);
        }
    }
    while !input.is_empty() {
        let Ok(step) = Step::arbitrary(&mut input) else { break };
        world.step(&step);
    }
    world.finish();
});
