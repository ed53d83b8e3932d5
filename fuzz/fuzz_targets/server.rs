//! The server as a state machine: packets of several clients and peers, and steps of time. Packets
//! are raw, or requests that are signed with the right key and the nonce of the last challenge, so
//! that deep states are reached.
#![no_main]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use turnwire::auth::{self, Algorithm, Authority, Key, Secret, User};
use turnwire::stun::{Digest, Kind, Message, Method, TransactionId, Writer, attribute};
use turnwire::time::{Mono, Now};
use turnwire::turn::{
    Client, Effect, FiveTuple, Icmp, Ledger, Limits, OpenError, PeerPolicy, PeerRule, PortRange,
    RESPONSE_MAX, RelayAddress, RelayId, RelaySockets, Server, Settings, Stats, Transport, Verdict,
};

const CLIENTS: u8 = 4;
const PORTS: PortRange = PortRange { first: 50_001, last: 50_008 };

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw { client: u8, packet: &'a [u8] },
    Request { client: u8, user: bool, method: u8, id: u8, attributes: Vec<Attribute<'a>> },
    Send { client: u8, peer: u8, port: bool, data: &'a [u8], dont_fragment: bool },
    ChannelData { client: u8, number: u8, data: &'a [u8] },
    FromPeer { relay: u8, peer: u8, length: u16 },
    Icmp { relay: u8, peer: u8, kind: u8, code: u8 },
    Disconnect { client: u8 },
    Wait { seconds: u16 },
    RefusePort(bool),
}

#[derive(Arbitrary, Debug)]
enum Attribute<'a> {
    Udp,
    Lifetime(u16),
    Peer { peer: u8, port: bool },
    Channel(u8),
    EvenPort(bool),
    Family(u8),
    AdditionalFamily(u8),
    Token,
    DontFragment,
    Other(u16, &'a [u8]),
}

#[derive(Default)]
struct Sockets {
    open: HashSet<RelayId>,
    refuse: bool,
}

impl RelaySockets for Sockets {
    fn open(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), OpenError> {
        assert!(PORTS.contains(address.port()));
        if self.refuse {
            return Err(OpenError::PortInUse);
        }
        assert!(self.open.insert(relay), "opened twice");
        Ok(())
    }

    fn close(&mut self, relay: RelayId) {
        assert!(self.open.remove(&relay), "closed without being open");
    }
}

struct World {
    server: Server,
    ledger: Arc<Ledger>,
    sockets: Sockets,
    stats: Stats,
    now: Now,
    nonces: [Vec<u8>; CLIENTS as usize],
    token: [u8; 8],
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Four 5-tuples: UDP and TCP, IPv4 and IPv6.
fn client(number: u8) -> Client {
    let leg = u32::from(number % CLIENTS);
    let transport = if leg % 2 == 0 { Transport::Udp } else { Transport::Tcp };
    let (client, server) = if leg < 2 {
        (address("192.0.2.1:1000"), address("192.0.2.9:3478"))
    } else {
        (address("[2001:db8::1]:1000"), address("[2001:db8::9]:3478"))
    };
    Client { tuple: FiveTuple { transport, client, server }, leg }
}

/// Peers that are allowed, denied, or the server itself.
fn peer(number: u8, port: bool) -> SocketAddr {
    let ip = [
        "1.1.1.1",
        "1.1.1.2",
        "10.0.0.1",
        "198.51.100.9",
        "2600::1",
        "::1",
        "2600::9",
        "::ffff:1.1.1.1",
    ][usize::from(number % 8)];
    SocketAddr::new(ip.parse().expect("an address"), if port { 50_002 } else { 9 })
}

impl World {
    fn new() -> Self {
        let relay = |text: &str| {
            let local = text.parse().expect("an address");
            RelayAddress { local, advertised: local }
        };
        let relays = vec![relay("198.51.100.9"), relay("2600::9")];
        let rules = vec![PeerRule { prefix: "1.1.1.2".parse().expect("a prefix"), allow: false }];
        let listeners = vec![address("198.51.100.9:3478")];
        let limits = Limits { unauthenticated_per_second: 0, ..Limits::default() };
        let settings = Settings {
            limits,
            peers: PeerPolicy::new(rules, relays.clone(), PORTS, listeners),
            relays,
            ports: PORTS,
            ..Settings::default()
        };
        let user = |name: &str| User { name: name.into(), password: Secret::new("password") };
        let users = vec![user("alice"), user("bob")];
        let credentials = auth::Settings { users, ..auth::Settings::default() };
        let authority = Authority::new(credentials, [7; 32]).expect("good credentials");
        let settings = Arc::new(settings);
        let ledger = Arc::new(Ledger::new(&settings));
        let mut seed = 1_u64;
        let random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed
        };
        let now = Now { mono: Mono::from_secs(1000), unix: 1_700_000_000 };
        let (authority, random) = (Arc::new(authority), Box::new(random));
        let server = Server::new(settings, authority, Arc::clone(&ledger), random, now.mono);
        Self {
            server,
            ledger,
            sockets: Sockets::default(),
            stats: Stats::default(),
            now,
            nonces: Default::default(),
            token: [0; 8],
        }
    }

    fn receive(&mut self, number: u8, packet: &[u8]) {
        let client = client(number);
        let mut out = [0; RESPONSE_MAX];
        let (sockets, stats) = (&mut self.sockets, &self.stats);
        match self.server.receive(self.now, &client, packet, &mut out, sockets, stats) {
            Verdict::Reply(reply) => {
                let message = Message::parse(&out[..reply.length]).expect("a good response");
                if let Some(nonce) = message.attribute(attribute::NONCE) {
                    self.nonces[usize::from(number % CLIENTS)] = nonce.to_vec();
                }
                let token = message.attribute(attribute::RESERVATION_TOKEN);
                if let Some(token) = token.and_then(|token| token.try_into().ok()) {
                    self.token = token;
                }
            }
            Verdict::ToPeer(decision) => {
                assert!(packet.get(decision.payload.clone()).is_some());
                assert!(self.sockets.open.contains(&decision.relay));
                let ip = decision.peer.ip();
                let denied = [peer(1, false).ip(), peer(2, false).ip(), peer(5, false).ip()];
                assert!(!denied.contains(&ip), "relayed to {ip}");
            }
            Verdict::Drop(_) | Verdict::Ignore => {}
        }
    }

    fn request(&mut self, number: u8, bob: bool, method: u8, id: u8, attributes: &[Attribute<'_>]) {
        let method = [
            Method::BINDING,
            Method::ALLOCATE,
            Method::REFRESH,
            Method::CREATE_PERMISSION,
            Method::CHANNEL_BIND,
        ][usize::from(method % 5)];
        let mut buffer = vec![0; 70_000];
        let id = TransactionId::new([id; 12]);
        let mut writer = Writer::new(&mut buffer, Kind::request(method), &id);
        for attribute in attributes {
            put(&mut writer, attribute, &self.token);
        }
        let name = if bob { "bob" } else { "alice" };
        writer.attribute(attribute::USERNAME, name.as_bytes());
        writer.attribute(attribute::REALM, b"turnwire");
        writer.attribute(attribute::NONCE, &self.nonces[usize::from(number % CLIENTS)]);
        let key = Key::derive(Algorithm::Md5, name, "turnwire", "password");
        writer.integrity(key.mac(Digest::Sha1));
        if let Ok(length) = writer.finish() {
            self.receive(number, &buffer[..length]);
        }
    }

    fn relay(&self, number: u8) -> RelayId {
        RelayId::from_index(usize::from(number % 16))
    }

    fn step(&mut self, step: &Step<'_>) {
        let mut out = [0; RESPONSE_MAX];
        match *step {
            Step::Raw { client, packet } => self.receive(client, packet),
            Step::Request { client, user, method, id, ref attributes } => {
                self.request(client, user, method, id, attributes);
            }
            Step::Send { client, peer: to, port, data, dont_fragment } => {
                let mut buffer = vec![0; data.len() + 100];
                let id = TransactionId::new([1; 12]);
                let mut writer = Writer::new(&mut buffer, Kind::indication(Method::SEND), &id);
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(to, port));
                if dont_fragment {
                    writer.attribute(attribute::DONT_FRAGMENT, &[]);
                }
                writer.attribute(attribute::DATA, data);
                let length = writer.finish().expect("room");
                self.receive(client, &buffer[..length]);
            }
            Step::ChannelData { client, number, data } => {
                let mut packet = vec![0x40, number % 8];
                packet.extend((data.len() as u16).to_be_bytes());
                packet.extend(data);
                self.receive(client, &packet);
            }
            Step::FromPeer { relay, peer: from, length } => {
                let relay = self.relay(relay);
                let (now, length) = (self.now, usize::from(length));
                let sender = peer(from, true);
                let found = self.server.from_peer(now, relay, sender, length, &self.stats);
                if let Ok(delivery) = found {
                    assert!(self.sockets.open.contains(&relay));
                    let mut headroom = [0; turnwire::stun::DATA_INDICATION_MAX];
                    let _ = delivery.framing.write(&mut headroom, length);
                }
            }
            Step::Icmp { relay, peer: from, kind, code } => {
                let (relay, icmp) = (self.relay(relay), Icmp { kind, code, mtu: 1400 });
                let (now, stats) = (self.now, &self.stats);
                let to = peer(from, true);
                let found = self.server.from_icmp(now, relay, to, icmp, &mut out, stats);
                if let Some((_, length)) = found {
                    Message::parse(&out[..length]).expect("a good indication");
                }
            }
            Step::Disconnect { client: number } => {
                let gone = client(number);
                let (sockets, stats) = (&mut self.sockets, &self.stats);
                self.server.disconnected(self.now, &gone, sockets, stats);
                assert!(!self.server.has_allocation(&gone.tuple));
            }
            Step::Wait { seconds } => {
                self.now.mono = self.now.mono + Duration::from_secs(seconds.into());
                self.now.unix += u64::from(seconds);
                let (sockets, stats) = (&mut self.sockets, &self.stats);
                self.server.expire(self.now, sockets, stats);
                let next = self.server.next_deadline();
                assert!(next.is_none_or(|next| next > self.now.mono), "it would never sleep");
            }
            Step::RefusePort(refuse) => self.sockets.refuse = refuse,
        }
        while let Some(Effect::Ended { .. }) = self.server.poll_effect() {}
        assert_eq!(self.stats.live() as usize, self.server.allocations());
        assert_eq!(self.ledger.allocations() as usize, self.server.allocations());
        assert!(self.sockets.open.len() <= 2 * self.server.allocations());
        assert!(self.sockets.open.len() >= self.server.allocations());
    }

    /// Everything comes back in the end.
    fn finish(mut self) {
        let (sockets, stats) = (&mut self.sockets, &self.stats);
        self.server.shutdown(self.now, sockets, stats);
        assert!(self.sockets.open.is_empty());
        self.now.mono = self.now.mono + Duration::from_secs(3600);
        self.server.expire(self.now, &mut self.sockets, &self.stats);
        for (_, free, all) in self.ledger.free_ports() {
            assert_eq!(free, all, "a port is lost");
        }
    }
}

fn put(writer: &mut Writer<'_>, attribute: &Attribute<'_>, token: &[u8; 8]) {
    match *attribute {
        Attribute::Udp => writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]),
        Attribute::Lifetime(seconds) => writer.number(attribute::LIFETIME, seconds.into()),
        Attribute::Peer { peer: number, port } => {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(number, port));
        }
        Attribute::Channel(number) => {
            writer.attribute(attribute::CHANNEL_NUMBER, &[0x40, number % 8, 0, 0]);
        }
        Attribute::EvenPort(reserve) => {
            writer.attribute(attribute::EVEN_PORT, &[if reserve { 0x80 } else { 0 }]);
        }
        Attribute::Family(family) => {
            writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family % 4, 0, 0, 0]);
        }
        Attribute::AdditionalFamily(family) => {
            writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[family % 4, 0, 0, 0]);
        }
        Attribute::Token => writer.attribute(attribute::RESERVATION_TOKEN, token),
        Attribute::DontFragment => writer.attribute(attribute::DONT_FRAGMENT, &[]),
        Attribute::Other(kind, value) => writer.attribute(kind, value),
    }
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut world = World::new();
    // A challenge for everybody, so that the first requests can succeed.
    for number in 0..CLIENTS {
        world.request(number, false, 1, 0, &[]);
    }
    for step in &steps {
        world.step(step);
    }
    world.finish();
});
