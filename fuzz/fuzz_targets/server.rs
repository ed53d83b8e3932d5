//! The server as a state machine: packets of several clients and peers, and steps of time. Packets
//! are raw, or requests that are signed with the right key and the nonce of the last challenge, so
//! that deep states are reached. What must hold of every verdict is checked by the tests' own
//! harness; here stands what must hold between them.
#![no_main]

#[path = "../../tests/core/mod.rs"]
mod harness;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use harness::{Deed, RELAYS, Setup, Style, TestClient, TestServer, turn_settings};
use libfuzzer_sys::fuzz_target;
use turnwire::stun::{DATA_INDICATION_MAX, Message, Method, Writer, attribute};
use turnwire::turn::{
    Client, ConnectFailure, ConnectionId, Direction, Icmp, MAX_RELAYED, PortRange, RESPONSE_MAX,
    RelayId, Transport, Verdict,
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

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw {
        client: u8,
        packet: Piece<'a>,
    },
    Request {
        client: u8,
        sender: Sender,
        ask: Ask,
        extra: Extra<'a>,
    },
    Again {
        client: u8,
    },
    Send {
        client: u8,
        peer: u8,
        data: Piece<'a>,
        dont_fragment: bool,
    },
    ChannelData {
        client: u8,
        number: u8,
        data: Piece<'a>,
        padding: u8,
    },
    FromPeer {
        relay: u8,
        peer: u8,
        length: u16,
    },
    Icmp {
        relay: u8,
        peer: u8,
        kind: u8,
        code: u8,
    },
    Disconnect {
        client: u8,
    },
    Wait {
        millis: u32,
    },
    SetClock {
        unix: u32,
    },
    /// Another program takes the port, or gives it back.
    Occupy {
        port: u8,
        taken: bool,
    },
    Exhaust(bool),
    /// A connection that the server wanted is made, or not.
    Connected {
        which: u8,
        outcome: u8,
    },
    /// A peer connects to a relay.
    Incoming {
        relay: u8,
        peer: u8,
    },
    /// Bytes of a data connection, or its end.
    Data {
        which: u8,
        to_peer: bool,
        bytes: u16,
        over: bool,
    },
}

/// Who asks, and how it is signed.
#[derive(Arbitrary, Debug)]
enum Sender {
    Owner,
    Sha256,
    Truncated,
    Userhash,
    Bob,
    WrongPassword,
    Unsigned,
    FreshNonce,
}

#[derive(Arbitrary, Debug)]
enum Ask {
    Binding,
    Allocate {
        even_port: Option<bool>,
        family: u8,
        additional: bool,
        token: bool,
        long: bool,
    },
    Refresh {
        lifetime: Option<u16>,
        family: u8,
    },
    CreatePermission {
        peers: [u8; 4],
        count: u8,
    },
    ChannelBind {
        number: u8,
        peer: u8,
    },
    AllocateTcp {
        family: u8,
        additional: bool,
    },
    Connect {
        peer: u8,
    },
    ConnectionBind {
        which: u8,
        other: bool,
    },
    /// Nothing but what stands in `extra`.
    Method(u8),
}

/// What is added or damaged.
#[derive(Arbitrary, Debug)]
enum Extra<'a> {
    Nothing,
    Attribute(u16, Piece<'a>),
    /// One byte changed after signing.
    Damage(u16, u8),
    /// MOBILITY-TICKET: one of the last, or an empty one.
    Ticket(u8),
}

/// Up to 127 bytes of the input. The crate's own slices take half of what is left each time.
#[derive(Debug)]
struct Piece<'a>(&'a [u8]);

impl<'a> Arbitrary<'a> for Piece<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let length = usize::from(u8::arbitrary(input)? % 128).min(input.len());
        input.bytes(length).map(Self)
    }
}

struct World {
    server: TestServer,
    clients: Vec<TestClient>,
    sent: Vec<Vec<u8>>,
    token: [u8; 8],
    /// Mobility tickets that were given, the last one first.
    tickets: Vec<Vec<u8>>,
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
        let mut server = Setup { turn, ..Setup::default() }.server();
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
            clients,
            sent,
            token: [0; 8],
            tickets: Vec::new(),
            named: Vec::new(),
            connecting: BTreeSet::new(),
            unbound: BTreeSet::new(),
            bound: BTreeSet::new(),
        }
    }

    fn receive(&mut self, number: usize, packet: &[u8]) {
        let client = self.clients[number].client;
        match self.server.receive(&client, packet) {
            Verdict::Reply(reply) => {
                let response = self.server.reply(reply.length);
                self.token = response.token().unwrap_or(self.token);
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
        }
    }

    /// Does what the server wants for connections with peers.
    fn deeds(&mut self) {
        for deed in self.server.deeds() {
            match deed {
                Deed::Connect(connection, _, to) => {
                    let denied =
                        (DENIED..PEERS.len()).any(|place| peer(place as u8).ip() == to.ip());
                    assert!(!denied, "connects to {to}");
                    let own = RELAYS.iter().any(|relay| relay.local == to.ip());
                    assert!(!own || PORTS.contains(to.port()), "to the server itself");
                    assert!(self.connecting.insert(connection));
                    self.named.push(connection);
                }
                Deed::GiveUp(connection) => {
                    assert!(self.connecting.remove(&connection), "given up twice");
                    let failure = Err(ConnectFailure::TimedOut);
                    self.server.connected(connection, failure);
                }
                Deed::Close(connection) => {
                    let open = self.connecting.remove(&connection)
                        || self.unbound.remove(&connection)
                        || self.bound.remove(&connection);
                    assert!(open, "closed twice");
                }
            }
        }
        let open = self.connecting.len() + self.unbound.len() + self.bound.len();
        assert_eq!(self.server.server.connections(), open);
        self.named.drain(..self.named.len().saturating_sub(16));
    }

    fn connection(&self, which: u8) -> Option<ConnectionId> {
        self.named.get(usize::from(which) % self.named.len().max(1)).copied()
    }

    fn connected(&mut self, which: u8, outcome: u8) {
        let Some(connection) = self.connection(which) else { return };
        let outcome = match outcome % 4 {
            0 => Err(ConnectFailure::Failed),
            1 => Err(ConnectFailure::NoSocket),
            _ => Ok(()),
        };
        let waited_for = self.connecting.remove(&connection);
        let told = self.server.connected(connection, outcome);
        // A mobile client that is away is told nothing.
        assert!(waited_for || told.is_none());
        if let Some((client, response)) = told {
            assert!(self.known(&client));
            assert_eq!(response.connection().is_some(), outcome.is_ok());
            if outcome.is_ok() {
                self.unbound.insert(connection);
            }
        }
    }

    fn incoming(&mut self, relay: u8, sender: SocketAddr) {
        let relay = RelayId::from_index(usize::from(relay % 8));
        let listens = self.server.sockets.listening.contains(&relay.index());
        let Ok((connection, client, indication)) = self.server.incoming(relay, sender) else {
            return;
        };
        assert!(listens, "at a relay that takes none");
        assert!(self.known(&client));
        assert_eq!(indication.connection(), Some(connection.get()));
        assert!(self.unbound.insert(connection));
        self.named.push(connection);
    }

    fn data(&mut self, which: u8, to_peer: bool, bytes: u16, over: bool) {
        let Some(connection) = self.connection(which) else { return };
        let TestServer { server, stats, now, .. } = &mut self.server;
        let direction = if to_peer { Direction::ToPeer } else { Direction::ToClient };
        let until = server.relayed(now.mono, connection, direction, bytes.into(), stats);
        assert!(until.is_none_or(|until| until > now.mono));
        if over && (self.unbound.remove(&connection) || self.bound.remove(&connection)) {
            server.connection_closed(connection, stats);
        }
    }

    fn known(&self, told: &Client) -> bool {
        self.clients.iter().any(|client| client.client == *told)
    }

    fn request(&mut self, number: usize, sender: &Sender, ask: &Ask, extra: &Extra<'_>) {
        if matches!(sender, Sender::FreshNonce) {
            challenge(&mut self.server, &mut self.clients[number]);
        }
        let mut client = self.clients[number].clone();
        match sender {
            Sender::Owner | Sender::FreshNonce => {}
            Sender::Sha256 => client.style = Style::SHA256,
            Sender::Truncated => client.style = Style::truncated(16),
            Sender::Userhash => client.style = Style::USERHASH,
            Sender::Bob => (client.username, client.password) = ("bob".into(), "builder".into()),
            Sender::WrongPassword => client.password.push('x'),
            Sender::Unsigned => client.nonce = None,
        }
        let method = match ask {
            Ask::Binding => Method::BINDING,
            Ask::Allocate { .. } => Method::ALLOCATE,
            Ask::Refresh { .. } => Method::REFRESH,
            Ask::CreatePermission { .. } => Method::CREATE_PERMISSION,
            Ask::ChannelBind { .. } => Method::CHANNEL_BIND,
            Ask::AllocateTcp { .. } => Method::ALLOCATE,
            Ask::Connect { .. } => Method::CONNECT,
            Ask::ConnectionBind { .. } => Method::CONNECTION_BIND,
            Ask::Method(number) => Method((*number).into()),
        };
        let (token, tickets) = (self.token, &self.tickets);
        let connection = match ask {
            Ask::ConnectionBind { which, .. } => {
                self.connection(*which).map_or(0, ConnectionId::get)
            }
            _ => 0,
        };
        let mut packet = client.build(method, |writer| {
            put(writer, ask, &token, connection);
            match extra {
                Extra::Attribute(kind, value) => writer.attribute(*kind, value.0),
                Extra::Ticket(place) => {
                    let ticket = tickets.get(usize::from(place % 8)).map_or(&[][..], |it| it);
                    writer.attribute(attribute::MOBILITY_TICKET, ticket);
                }
                Extra::Nothing | Extra::Damage(..) => {}
            }
        });
        if let Extra::Damage(at, bits) = extra {
            let at = usize::from(*at) % packet.len();
            packet[at] ^= bits;
        }
        self.receive(number, &packet);
        self.sent[number] = packet;
    }

    fn step(&mut self, step: &Step<'_>) {
        let client = |number: &u8| usize::from(*number) % CLIENTS.len();
        match step {
            Step::Raw { client: from, packet } => self.receive(client(from), packet.0),
            Step::Request { client: from, sender, ask, extra } => {
                self.request(client(from), sender, ask, extra);
            }
            Step::Again { client: from } => {
                let packet = self.sent[client(from)].clone();
                self.receive(client(from), &packet);
            }
            Step::Send { client: from, peer: to, data, dont_fragment } => {
                let mut packet = harness::send_indication(peer(*to), data.0);
                if *dont_fragment {
                    packet.extend([0x00, 0x1A, 0, 0]);
                    let length = (packet.len() - 20) as u16;
                    packet[2..4].copy_from_slice(&length.to_be_bytes());
                }
                self.receive(client(from), &packet);
            }
            Step::ChannelData { client: from, number, data, padding } => {
                let mut packet = harness::channel_data(0x4000 + u16::from(number % 4), data.0);
                packet.resize(packet.len() + usize::from(padding % 8), 0);
                self.receive(client(from), &packet);
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
        assert_eq!(next.is_some(), live > 0);
    }

    /// Everything comes back in the end.
    fn finish(mut self) {
        self.server.advance(Duration::from_secs(3601));
        self.deeds();
        self.server.advance(Duration::from_secs(61));
        self.server.assert_empty();
    }
}

/// The client asks for a nonce.
fn challenge(server: &mut TestServer, client: &mut TestClient) {
    client.nonce = None;
    let packet = client.build(Method::ALLOCATE, |_| ());
    let response = server.ask(&client.client, &packet);
    client.learn(&response);
}

fn put(writer: &mut Writer<'_>, ask: &Ask, token: &[u8; 8], connection: u32) {
    let family = |writer: &mut Writer<'_>, code: u8| {
        if code % 4 != 0 {
            let value = u32::from(code % 4) << 24;
            writer.number(attribute::REQUESTED_ADDRESS_FAMILY, value);
        }
    };
    match ask {
        Ask::Binding | Ask::Method(_) => {}
        Ask::Allocate { even_port, family: code, additional, token: redeem, long } => {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
            family(writer, *code);
            if *additional {
                writer.number(attribute::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
            }
            if let Some(reserve) = even_port {
                writer.attribute(attribute::EVEN_PORT, &[u8::from(*reserve) << 7]);
            }
            if *redeem {
                writer.attribute(attribute::RESERVATION_TOKEN, token);
            }
            if *long {
                writer.number(attribute::LIFETIME, u32::MAX);
            }
        }
        Ask::AllocateTcp { family: code, additional } => {
            writer.number(attribute::REQUESTED_TRANSPORT, 6 << 24);
            family(writer, *code);
            if *additional {
                writer.number(attribute::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
            }
        }
        Ask::Connect { peer: to } => {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(*to));
        }
        Ask::ConnectionBind { other, .. } => {
            writer.number(attribute::CONNECTION_ID, connection ^ u32::from(*other));
        }
        Ask::Refresh { lifetime, family: code } => {
            if let Some(lifetime) = lifetime {
                writer.number(attribute::LIFETIME, (*lifetime).into());
            }
            family(writer, *code);
        }
        Ask::CreatePermission { peers, count } => {
            for number in peers.iter().take(usize::from(count % 5)) {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(*number));
            }
        }
        Ask::ChannelBind { number, peer: to } => {
            writer.number(attribute::CHANNEL_NUMBER, (0x4000 + u32::from(number % 4)) << 16);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(*to));
        }
    }
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
