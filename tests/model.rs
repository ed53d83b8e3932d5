//! The server against the reference model in `core/reference/`, over random histories: after
//! each step the response code, the relayed data and the whole visible state must agree.

mod core;
#[path = "core/history.rs"]
mod history;
#[path = "core/pinned.rs"]
mod pinned;
#[path = "core/reference/mod.rs"]
mod reference;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::core::{
    RELAYS, Response, Setup, Style, TestClient, TestServer, channel_data, turn_settings,
};
use crate::history::{CLIENTS, REALMS, Step, TokenChoice, Who, peers, realm_of, steps};
use crate::reference::{Granted, Model, Peer, Request, Token};
use turnwire::auth::{self, Reach};
use turnwire::stun::{
    DATA_INDICATION_MAX, Family, Kind, Message, Method, TransactionId, Writer, attribute,
    decode_xor_address,
};
use turnwire::turn::{Framing, Icmp, RESPONSE_MAX, RelayId, Session, Transport, Verdict};

const NONCE_LIFETIME: u64 = 2000;

/// The last request of a client, to be sent again byte for byte.
#[derive(Clone)]
struct Sent {
    packet: Vec<u8>,
    id: [u8; 12],
    who: Who,
    request: Request,
    /// When its nonce was made, in seconds; `None` for one that is not the server's.
    nonce: Option<u64>,
}

struct Check {
    server: TestServer,
    model: Model,
    clients: Vec<TestClient>,
    /// When each client's nonce was made.
    nonces: Vec<u64>,
    sent: BTreeMap<usize, Sent>,
    /// Tokens that were given, the oldest first.
    tokens: Vec<Token>,
    ids: u64,
}

impl Check {
    fn new() -> Self {
        let mut setup = Setup {
            turn: turn_settings(reference::FIRST_PORT, reference::LAST_PORT),
            ..Setup::default()
        };
        setup.auth.nonce_lifetime = Duration::from_secs(NONCE_LIFETIME);
        let other = auth::Settings { realm: REALMS[1].to_owned(), ..setup.auth.clone() };
        setup.realms.push((other, Reach::default()));
        // TCP allocations have a model of their own (connections_model.rs).
        setup.turn.tcp_allocations = false;
        let limits = &mut setup.turn.limits;
        limits.allocations = reference::TOTAL as u32;
        limits.allocations_per_user = reference::PER_USER as u32;
        limits.allocations_per_address = reference::PER_ADDRESS as u32;
        limits.permissions = reference::PERMISSIONS as u16;
        limits.channels = reference::CHANNELS as u16;
        limits.unauthenticated_per_second = 0;
        let client = |(place, (address, transport, server)): (usize, &(&str, Transport, &str))| {
            let mut client = TestClient::over(*transport, address, "alice", "wonder");
            client.client.tuple.server = server.parse().expect("an address");
            client.client.leg = place as u32;
            client.with([Style::MD5, Style::SHA256, Style::truncated(20)][place % 3])
        };
        let clients: Vec<_> = CLIENTS.iter().enumerate().map(client).collect();
        let addresses = clients.iter().map(|client| client.client.tuple.client.ip());
        let mut check = Self {
            server: setup.server(),
            model: Model::new(peers(), addresses.collect()),
            nonces: vec![0; clients.len()],
            clients,
            sent: BTreeMap::new(),
            tokens: Vec::new(),
            ids: 0,
        };
        (0..CLIENTS.len()).for_each(|client| check.challenge(client));
        check
    }

    /// The client asks for a nonce.
    fn challenge(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let nonce = client.nonce.take();
        let packet = client.build(Method::REFRESH, |_| ());
        client.nonce = nonce;
        let response = self.server.ask(&client.client, &packet);
        self.model.look_at(number);
        assert_eq!(response.code(), 401);
        client.learn(&response);
        client.realm = Some(realm_of(number));
        self.nonces[number] = self.model.now.as_secs();
    }

    fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::Request(client, who, request, token) => {
                self.request(client, who, request, token);
            }
            Step::Again(client) => {
                if let Some(sent) = self.sent.get(&client).cloned() {
                    self.judge(client, &sent);
                }
            }
            Step::Challenge(client) => self.challenge(client),
            Step::Send(client, peer, length, whole) => self.send(client, peer, length, whole),
            Step::ChannelData(client, number, length, padding) => {
                self.channel_data(client, number, length, padding);
            }
            Step::FromPeer(client, peer, length) => self.peer_sends(client, peer, length),
            Step::Icmp(client, peer, kind, code) => self.icmp(client, peer, kind, code),
            Step::Disconnect(client) => {
                let server = &mut self.server;
                let gone = self.clients[client].client;
                let (now, stats) = (server.now, &server.stats);
                server.server.disconnected(now, &gone, &mut server.sockets, stats);
                let reason = turnwire::turn::EndReason::Disconnected;
                self.model.end(client, reason);
            }
            Step::Wait(duration) => {
                self.server.advance(duration);
                self.model.advance(duration);
            }
        }
        self.compare();
    }

    fn request(&mut self, client: usize, who: Who, mut request: Request, token: TokenChoice) {
        if let Request::Allocate(ask) = &mut request {
            ask.token = match token {
                TokenChoice::None => None,
                TokenChoice::Bogus => Some([0xAB; 8]),
                TokenChoice::Given(back) => self.tokens.iter().rev().nth(back).copied(),
            };
        }
        self.ids += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.ids.to_be_bytes());
        let mut sender = self.clients[client].clone();
        let mut nonce = Some(self.nonces[client]);
        match who {
            Who::Owner => {}
            Who::Other => {
                let other = &self.clients[(client + 1) % CLIENTS.len()];
                sender.realm.clone_from(&other.realm);
            }
            Who::Unknown => sender.username.push('x'),
            Who::WrongPassword => sender.password.push('x'),
            Who::Unsigned => sender.nonce = None,
            Who::StrangeNonce => {
                nonce = None;
                sender.nonce.as_mut().expect("challenged")[15] ^= 1;
            }
        }
        let (method, list) = (method_of(&request), &self.model.peers);
        let packet = sender.build_with(&TransactionId::new(id), method, |writer| {
            write(&request, list, writer);
        });
        let sent = Sent { packet, id, who, request, nonce };
        self.judge(client, &sent);
        self.sent.insert(client, sent);
    }

    /// Hands a request over and compares the answer with the model's.
    fn judge(&mut self, client: usize, sent: &Sent) {
        let response = self.server.ask(&self.clients[client].client, &sent.packet);
        self.model.look_at(client);
        let user = match sent.who {
            Who::Other => (client + 1) % CLIENTS.len(),
            _ => client,
        };
        let user = realm_of(user);
        let age = |made: u64| self.model.now.as_secs() - made;
        // RFC 8489 §9.2.4, in its order.
        let expected = match sent.who {
            Who::Unsigned | Who::Unknown | Who::WrongPassword => Err(401),
            _ if sent.nonce.is_none_or(|made| age(made) >= NONCE_LIFETIME) => Err(438),
            _ => self.model.judge(client, &user, sent.id, &sent.request),
        };
        match expected {
            Err(code) => assert_eq!(response.code(), code, "{:?}", sent.request),
            Ok(granted) => {
                assert_eq!(response.code(), 0, "{:?}", sent.request);
                self.granted(client, &user, sent, granted, &response);
            }
        }
        if response.code() == 438 && sent.nonce.is_some() {
            self.clients[client].learn(&response);
            self.clients[client].realm = Some(realm_of(client));
            self.nonces[client] = self.model.now.as_secs();
        }
    }

    fn granted(
        &mut self,
        client: usize,
        user: &str,
        sent: &Sent,
        granted: Granted,
        response: &Response,
    ) {
        match granted {
            Granted::Repeat(bytes) => assert_eq!(response.bytes, bytes, "not the same response"),
            Granted::Nothing => self.model.grant(client, &sent.request),
            Granted::Lifetime(lifetime) => {
                assert_eq!(response.lifetime(), Some(lifetime));
                self.model.grant(client, &sent.request);
            }
            Granted::Allocation(grant) => {
                assert_eq!(response.lifetime(), Some(grant.lifetime));
                let mapped = self.clients[client].client.tuple.client;
                assert_eq!(response.mapped(), Some(mapped));
                assert_eq!(response.token().is_some(), grant.reserve);
                let missing = grant.missing.map(|(family, code)| (family.code(), code));
                assert_eq!(response.address_error(), missing);
                let relayed = response.relayed();
                let chosen: Vec<_> = relayed
                    .iter()
                    .map(|address| (Family::of(&address.ip()), address.port()))
                    .collect();
                let families: Vec<_> = chosen.iter().map(|(family, _)| *family).collect();
                assert_eq!(families, grant.families);
                for (address, (family, port)) in relayed.iter().zip(&chosen) {
                    assert_eq!(address.ip(), RELAYS[*family as usize].advertised);
                    if let Some(reserved) = grant.reserved {
                        assert_eq!((*family, *port), reserved);
                        continue;
                    }
                    let choice = self.model.choice(*family, grant.even, grant.reserve);
                    assert!(choice.contains(port), "{port} is not one of {choice:?}");
                }
                let (token, bytes) = (response.token(), &response.bytes);
                self.tokens.extend(token);
                let chosen = (&chosen[..], token, &bytes[..]);
                self.model.allocate(client, user, sent.id, &grant, chosen);
            }
        }
    }

    fn send(&mut self, client: usize, peer: usize, length: usize, whole: bool) {
        let mut buffer = vec![0; 512];
        let id = TransactionId::new([8; 12]);
        let mut writer = Writer::new(&mut buffer, Kind::indication(Method::SEND), &id);
        writer.attribute(attribute::DATA, &vec![7; length]);
        if whole {
            let address = self.model.peers[peer].address;
            writer.xor_address(attribute::XOR_PEER_ADDRESS, address);
        }
        let size = writer.finish().expect("it fits");
        let expected = whole.then(|| self.model.send(client, peer, length)).flatten();
        self.client_sends(client, &buffer[..size], 24, length, expected);
    }

    fn channel_data(&mut self, client: usize, number: u16, length: usize, padding: usize) {
        let mut packet = channel_data(number, &vec![7; length]);
        packet.resize(packet.len() + padding, 0);
        let expected = self.model.channel_data(client, number, length);
        self.client_sends(client, &packet, 4, length, expected);
    }

    fn client_sends(
        &mut self,
        client: usize,
        packet: &[u8],
        start: usize,
        length: usize,
        expected: Option<Peer>,
    ) {
        let client = self.clients[client].client;
        match (self.server.receive(&client, packet), expected) {
            (Verdict::ToPeer(to_peer), Some(peer)) => {
                assert_eq!(to_peer.peer, peer.route);
                assert_eq!(to_peer.payload, start..start + length);
                let socket = self.server.sockets.open[&to_peer.relay.index()];
                assert_eq!(socket.is_ipv4(), peer.address.is_ipv4());
            }
            (Verdict::Drop(_), None) => {}
            (verdict, expected) => panic!("{verdict:?}, but expected {expected:?}"),
        }
    }

    /// The client's relay of the peer's family.
    fn relay(&self, client: usize, peer: usize) -> Option<(RelayId, Peer)> {
        let peer = self.model.peers[peer];
        let family = Family::of(&peer.address.ip());
        let (port, _) = self.model.allocations.get(&client)?.relays.get(&family)?;
        let address = SocketAddr::new(RELAYS[family as usize].local, *port);
        Some((self.server.sockets.relay_at(address)?, peer))
    }

    fn peer_sends(&mut self, client: usize, place: usize, length: usize) {
        let Some((relay, peer)) = self.relay(client, place) else {
            return;
        };
        let expected = self.model.peer_sends(client, place, length);
        let server = &mut self.server;
        let delivery =
            server.server.from_peer(server.now, relay, peer.route, length, &server.stats);
        let Some(channel) = expected else {
            assert!(delivery.is_err(), "{delivery:?}");
            return;
        };
        let delivery = delivery.expect("there is a permission");
        assert_eq!(delivery.client, self.clients[client].client);
        let mut room = [0; DATA_INDICATION_MAX];
        let header = delivery.framing.write(&mut room, length).expect("it fits");
        let stream = delivery.client.tuple.transport.is_stream();
        let padding = delivery.framing.padding(length, stream);
        match (delivery.framing, channel) {
            (Framing::Channel(number), Some(expected)) => {
                assert_eq!(number.get(), expected);
                assert_eq!(padding, if stream { (4 - length % 4) % 4 } else { 0 });
            }
            (Framing::Indication { peer: named, .. }, None) => {
                assert_eq!(named, peer.address);
                assert_eq!((header + length + padding) % 4, 0);
            }
            (framing, expected) => panic!("{framing:?}, but expected {expected:?}"),
        }
    }

    fn icmp(&mut self, client: usize, place: usize, kind: u8, code: u8) {
        let Some((relay, peer)) = self.relay(client, place) else {
            return;
        };
        let (mut out, mtu) = ([0; RESPONSE_MAX], 1280);
        let icmp = Icmp { kind, code, mtu };
        let server = &mut self.server;
        let told =
            server.server.from_icmp(server.now, relay, peer.route, icmp, &mut out, &server.stats);
        assert_eq!(told.is_some(), self.model.icmp(client, place, kind));
        let Some((to, length)) = told else { return };
        assert_eq!(to, self.clients[client].client);
        let message = Message::parse(&out[..length]).expect("a message");
        assert_eq!(message.kind(), Kind::indication(Method::DATA));
        let named = message.attribute(attribute::XOR_PEER_ADDRESS).expect("it");
        let named = decode_xor_address(named, &message.transaction_id());
        assert_eq!(named, Ok(peer.address));
        // RFC 8656 §18.13
        let too_big = match peer.address {
            SocketAddr::V4(_) => (kind, code) == (3, 4),
            SocketAddr::V6(_) => kind == 2,
        };
        let [_, _, high, low] = if too_big { mtu } else { 0 }.to_be_bytes();
        let value = [0, 0, kind, code, 0, 0, high, low];
        assert_eq!(message.attribute(attribute::ICMP), Some(&value[..]));
    }

    /// Everything that can be seen of the state.
    fn compare(&mut self) {
        let (server, model) = (&mut self.server, &mut self.model);
        for (number, client) in self.clients.iter().enumerate() {
            let has = server.server.has_allocation(server.now, &client.client.tuple);
            assert_eq!(has, model.allocations.contains_key(&number));
        }
        let count = model.allocations.len();
        assert_eq!(server.server.allocations(), count);
        assert_eq!(server.ledger.allocations(), count as u32);
        let mut open: Vec<_> = server.sockets.open.values().copied().collect();
        open.sort();
        let mut relays: Vec<_> = model
            .allocations
            .values()
            .flat_map(|allocation| &allocation.relays)
            .map(|(family, (port, _))| SocketAddr::new(RELAYS[*family as usize].local, *port))
            .collect();
        relays.sort();
        assert_eq!(open, relays);
        for (ip, free, all) in server.ledger.free_ports() {
            let taken = model.taken(Family::of(&ip)).len();
            assert_eq!(all - free, taken, "ports of {ip}");
        }
        // Several that end in one step may come in any order.
        let sort = |ended: &mut Vec<(usize, _, _)>| ended.sort_by_key(|(client, ..)| *client);
        let name = |session: Session| {
            let of = self.clients.iter().position(|client| client.client.tuple == session.client);
            (of.expect("known"), session.reason, session.traffic)
        };
        let mut ended: Vec<_> = server.ended().into_iter().map(name).collect();
        let mut expected = std::mem::take(&mut model.ended);
        sort(&mut ended);
        sort(&mut expected);
        assert_eq!(ended, expected);
    }
}

fn method_of(request: &Request) -> Method {
    match request {
        Request::Allocate(_) => Method::ALLOCATE,
        Request::Refresh { .. } => Method::REFRESH,
        Request::CreatePermission(_) => Method::CREATE_PERMISSION,
        Request::ChannelBind { .. } => Method::CHANNEL_BIND,
    }
}

fn write(request: &Request, peers: &[Peer], writer: &mut Writer<'_>) {
    let mut byte = |kind, value: Option<u8>| {
        if let Some(value) = value {
            writer.number(kind, u32::from(value) << 24);
        }
    };
    match request {
        Request::Allocate(ask) => {
            byte(attribute::REQUESTED_TRANSPORT, ask.transport.ok().flatten());
            byte(attribute::REQUESTED_ADDRESS_FAMILY, ask.family);
            byte(attribute::ADDITIONAL_ADDRESS_FAMILY, ask.additional);
            if ask.transport.is_err() {
                writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0]);
            }
            if let Some(reserve) = ask.even_port {
                writer.attribute(attribute::EVEN_PORT, &[u8::from(reserve) << 7]);
            }
            if let Some(token) = ask.token {
                writer.attribute(attribute::RESERVATION_TOKEN, &token);
            }
            if let Some(lifetime) = ask.lifetime {
                writer.number(attribute::LIFETIME, lifetime);
            }
        }
        Request::Refresh { lifetime, family } => {
            byte(attribute::REQUESTED_ADDRESS_FAMILY, *family);
            if let Some(lifetime) = lifetime {
                writer.number(attribute::LIFETIME, *lifetime);
            }
        }
        Request::CreatePermission(list) => {
            for peer in list.iter().flatten() {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peers[*peer].address);
            }
            if list.is_err() {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peers[0].address);
                writer.attribute(attribute::XOR_PEER_ADDRESS, &[0, 3, 1, 2, 3, 4, 5, 6]);
            }
        }
        Request::ChannelBind { number, peer } => {
            if let Some(number) = number {
                writer.number(attribute::CHANNEL_NUMBER, u32::from(*number) << 16);
            }
            if let Some(peer) = peer {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peers[*peer].address);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_server_agrees_with_the_reference_model(history in vec(steps(CLIENTS.len()), 1..250)) {
        let mut check = Check::new();
        for step in &history {
            check.step(step);
        }
        // In the end everything is over, and nothing is left.
        check.step(&Step::Wait(Duration::from_secs(4000)));
        check.server.assert_empty();
    }
}

/// Keeps the list of peers honest: what it says of each is what the policy says.
#[test]
fn the_policy_of_the_list_of_peers_is_that_of_the_server() {
    use turnwire::turn::Decision;
    let policy = turn_settings(reference::FIRST_PORT, reference::LAST_PORT).peers;
    for peer in peers() {
        let decision = policy.decide(peer.address.ip());
        let denied = matches!(decision, Decision::Deny(_));
        assert_eq!(denied, !peer.ip_allowed, "{}", peer.address);
        assert_eq!(policy.route(peer.address), peer.route);
        assert_eq!(policy.known_as(peer.route), peer.address);
        let port = decision == Decision::Allow
            || (decision == Decision::Guarded && policy.admits_port(peer.address));
        assert_eq!(port, peer.port_allowed);
    }
    let own: IpAddr = RELAYS[0].advertised;
    assert!(peers().iter().any(|peer| peer.address.ip() == own));
}
