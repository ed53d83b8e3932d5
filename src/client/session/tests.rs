//! Against the server's own core, without sockets.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::auth::{self, Authority, Realms, Secret, User};
use crate::stun::ChannelNumber;
use crate::time::Now;
use crate::turn::{
    self, Client, FiveTuple, Ledger, OpenError, PeerPolicy, PortRange, RESPONSE_MAX, RelayAddress,
    RelayId, RelaySockets, Server, Settings, Stats, Verdict,
};

const PEER: &str = "8.8.8.8:9";

struct Anywhere;

impl RelaySockets for Anywhere {
    fn open(&mut self, _: RelayId, _: SocketAddr) -> Result<(), OpenError> {
        Ok(())
    }

    fn listen(&mut self, _: RelayId, _: SocketAddr) -> Result<(), OpenError> {
        Ok(())
    }

    fn close(&mut self, _: RelayId) {}
}

/// A server and a client of it, on one clock.
struct Pair {
    server: Server,
    stats: Stats,
    client: Client,
    session: Session,
    now: Mono,
    ids: u8,
    /// The last request that the server has seen.
    request: Vec<u8>,
}

fn server(sha256: bool) -> Server {
    server_with(auth::Settings {
        sha256,
        secrets: vec![Secret::new("north")],
        ..auth::Settings::default()
    })
}

fn server_with(auth: auth::Settings) -> Server {
    let ip = "203.0.113.1".parse().unwrap();
    let (relays, ports) = (vec![RelayAddress { local: ip, advertised: ip }], PortRange::default());
    let settings = Arc::new(Settings {
        peers: PeerPolicy::new(Vec::new(), relays.clone(), ports, Vec::new()),
        relays,
        ports,
        ..Settings::default()
    });
    let users = vec![User { name: "alice".to_owned(), password: Secret::new("wonder") }];
    let auth = auth::Settings { users, nonce_lifetime: Duration::from_secs(60), ..auth };
    let authority = Arc::new(Realms::single(Authority::new(auth, [7; 16]).unwrap()));
    let ledger = Arc::new(Ledger::new(&settings));
    let mut number = 0_u64;
    let random = Box::new(move || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        number
    });
    Server::new(settings, authority, ledger, random, Mono::default())
}

impl Pair {
    fn new(credentials: Option<Credentials>) -> Self {
        let tuple = FiveTuple {
            transport: turn::Transport::Udp,
            client: "192.0.2.7:4000".parse().unwrap(),
            server: "203.0.113.1:3478".parse().unwrap(),
        };
        let timing = Timing::default();
        Self {
            server: server(true),
            stats: Stats::default(),
            client: Client { tuple, leg: 0 },
            session: Session::new(Transport::Udp, credentials.map(Arc::new), timing),
            now: Mono::from_secs(1000),
            ids: 0,
            request: Vec::new(),
        }
    }

    fn alice() -> Self {
        Self::new(Some(credentials("wonder")))
    }

    fn id(&mut self) -> TransactionId {
        self.ids += 1;
        TransactionId::new([self.ids; 12])
    }

    /// The server's answer to a packet.
    fn answer(&mut self, packet: &[u8]) -> Vec<u8> {
        let now = Now { mono: self.now, unix: 1_800_000_000 };
        let mut out = vec![0; RESPONSE_MAX];
        let (client, stats) = (&self.client, &self.stats);
        self.request = packet.to_vec();
        match self.server.receive(now, client, packet, &mut out, &mut Anywhere, stats) {
            Verdict::Reply(reply) => out.truncate(reply.length),
            other => panic!("{other:?}"),
        }
        out
    }

    /// Sends a request, answers challenges, and tells the end with the number of challenges.
    fn ask(&mut self, request: Request) -> (Event, usize) {
        let (mut out, id) = ([0; REQUEST_MAX], self.id());
        let mut length = self.session.begin(self.now, id, request, &mut out).unwrap();
        for challenges in 0.. {
            let answer = self.answer(&out[..length]);
            match self.session.receive(&answer) {
                Event::Challenged => {
                    let id = self.id();
                    length = self.session.repeat(self.now, id, &mut out).unwrap();
                }
                event => return (event, challenges),
            }
        }
        unreachable!("it has returned");
    }
}

fn credentials(password: &str) -> Credentials {
    Credentials::new("alice", &Secret::new(password)).unwrap()
}

const ALLOCATE: Request = Request::Allocate { family: None, lifetime: None };

fn refused(event: &Event) -> (u16, u16) {
    match event {
        Event::Failed(Failure::Refused { method, code, .. }) => (*method, *code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_allocation_with_a_channel_and_its_end() {
    let mut pair = Pair::alice();
    assert_eq!(pair.ask(ALLOCATE), (Event::Done(ALLOCATE), 1));
    let relayed = pair.session.relayed().unwrap();
    assert_eq!(relayed.ip().to_string(), "203.0.113.1");
    assert_eq!(pair.session.mapped(), Some(pair.client.tuple.client));
    assert_eq!(pair.session.lifetime(), 600);
    let peer = PEER.parse().unwrap();
    let number = ChannelNumber::new(0x4000).unwrap();
    for request in [
        Request::CreatePermission { peer },
        Request::ChannelBind { number, peer },
        Request::Refresh { lifetime: 900 },
    ] {
        // The nonce is known by now.
        assert_eq!(pair.ask(request), (Event::Done(request), 0));
    }
    assert_eq!(pair.session.lifetime(), 900);
    assert_eq!(pair.server.allocations(), 1);
    let end = Request::Refresh { lifetime: 0 };
    assert_eq!(pair.ask(end), (Event::Done(end), 0));
    assert_eq!(pair.session.relayed(), None);
    assert_eq!(pair.server.allocations(), 0);
}

#[test]
fn a_binding_needs_no_credentials() {
    let mut pair = Pair::new(None);
    assert_eq!(pair.ask(Request::Binding), (Event::Done(Request::Binding), 0));
    assert_eq!(pair.session.mapped(), Some(pair.client.tuple.client));
    assert_eq!(refused(&pair.ask(ALLOCATE).0), (Method::ALLOCATE.0, 401));
}

#[test]
fn a_minted_credential_lets_in() {
    let minted = Credentials::ephemeral(&Secret::new("north"), "load", 1_800_003_600).unwrap();
    let mut pair = Pair::new(Some(minted));
    assert_eq!(pair.ask(ALLOCATE), (Event::Done(ALLOCATE), 1));
}

/// RFC 8489 §9.2.5: asked for and offered; else MD5 and SHA-1, which every server knows.
#[test]
fn sha256_is_used_when_it_is_offered_and_asked_for() {
    for (offered, asked) in [(true, true), (true, false), (false, true)] {
        let mut pair = Pair::alice();
        pair.server = server(offered);
        pair.session = pair.session.prefer_sha256(asked);
        assert_eq!(pair.ask(ALLOCATE), (Event::Done(ALLOCATE), 1));
        let request = Message::parse(&pair.request).unwrap();
        let used = request.integrity().unwrap() == crate::stun::Digest::Sha256;
        assert_eq!(used, offered && asked);
    }
}

/// RFC 8489 §9.2.5: the name is hidden from whoever listens, where the server can find it by its hash.
#[test]
fn a_name_is_hidden_where_the_server_asks_for_it() {
    let mut pair = Pair::alice();
    let anonymity = auth::Settings { username_anonymity: true, ..auth::Settings::default() };
    pair.server = server_with(anonymity);
    assert_eq!(pair.ask(ALLOCATE), (Event::Done(ALLOCATE), 1));
    let request = Message::parse(&pair.request).unwrap();
    assert_eq!(request.attribute(attribute::USERNAME), None);
    assert!(request.attribute(attribute::USERHASH).is_some());
}

/// RFC 8489 §9.2.5: somebody has taken the list away, to have a weaker password hash used.
#[test]
fn a_challenge_that_has_lost_its_list_of_algorithms_is_not_answered() {
    let mut pair = Pair::alice();
    let (mut out, id) = ([0; REQUEST_MAX], pair.id());
    pair.session.begin(pair.now, id, ALLOCATE, &mut out).unwrap();
    let mut packet = [0; 128];
    let mut writer = Writer::new(&mut packet, Kind::error(Method::ALLOCATE), &id);
    writer.error_code(401, "Unauthenticated");
    writer.attribute(attribute::REALM, b"r");
    writer.attribute(attribute::NONCE, b"obMatJos2gAAA0123");
    let length = writer.finish().unwrap();
    let (method, what) = (Method::ALLOCATE.0, "PASSWORD-ALGORITHMS");
    let expected = Event::Failed(Failure::Incomplete { method, what });
    assert_eq!(pair.session.receive(&packet[..length]), expected);
}

#[test]
fn a_wrong_password_is_a_refusal_and_no_endless_loop() {
    let mut pair = Pair::new(Some(credentials("builder")));
    let (event, challenges) = pair.ask(ALLOCATE);
    assert_eq!((refused(&event), challenges), ((Method::ALLOCATE.0, 401), 1));
    assert_eq!(pair.session.deadline(), None);
}

#[test]
fn a_stale_nonce_is_replaced() {
    let mut pair = Pair::alice();
    pair.ask(ALLOCATE);
    pair.now = pair.now + Duration::from_secs(61);
    let request = Request::Refresh { lifetime: 600 };
    assert_eq!(pair.ask(request), (Event::Done(request), 1));
}

#[test]
fn a_challenge_that_comes_twice_before_its_answer_is_answered_once() {
    let mut pair = Pair::alice();
    let (mut out, id) = ([0; REQUEST_MAX], pair.id());
    let length = pair.session.begin(pair.now, id, ALLOCATE, &mut out).unwrap();
    // The request was sent again, and both answers come together.
    let answers = [pair.answer(&out[..length]), pair.answer(&out[..length])];
    assert_eq!(pair.session.receive(&answers[0]), Event::Challenged);
    assert_eq!(pair.session.receive(&answers[1]), Event::Ignored);
    let id = pair.id();
    let length = pair.session.repeat(pair.now, id, &mut out).unwrap();
    assert_eq!(pair.session.receive(&answers[1]), Event::Ignored);
    let answer = pair.answer(&out[..length]);
    assert_eq!(pair.session.receive(&answer), Event::Done(ALLOCATE));
}

#[test]
fn a_server_that_only_challenges_is_given_up() {
    let mut pair = Pair::alice();
    let mut out = [0; REQUEST_MAX];
    let mut id = pair.id();
    pair.session.begin(pair.now, id, ALLOCATE, &mut out).unwrap();
    for round in 0_u8.. {
        let mut packet = [0; 128];
        let mut writer = Writer::new(&mut packet, Kind::error(Method::ALLOCATE), &id);
        writer.error_code(438, "Stale\u{7} Nonce");
        writer.attribute(attribute::REALM, b"r");
        writer.attribute(attribute::NONCE, &[round]);
        let length = writer.finish().unwrap();
        match pair.session.receive(&packet[..length]) {
            Event::Challenged => assert!(round < CHALLENGES),
            Event::Failed(failure) => {
                assert_eq!(failure.to_string(), "Allocate was refused: 438 Stale\\u{7} Nonce");
                return assert_eq!(round, CHALLENGES);
            }
            other => panic!("{other:?}"),
        }
        id = pair.id();
        pair.session.repeat(pair.now, id, &mut out).unwrap();
    }
}

/// RFC 8489 §9.2.5: such a response is as if it had never come.
#[test]
fn a_success_without_the_password_is_not_believed() {
    let mut pair = Pair::alice();
    pair.ask(ALLOCATE);
    let (mut out, id) = ([0; REQUEST_MAX], pair.id());
    let request = Request::Refresh { lifetime: 0 };
    pair.session.begin(pair.now, id, request, &mut out).unwrap();
    let mut packet = [0; 128];
    let mut writer = Writer::new(&mut packet, Kind::success(Method::REFRESH), &id);
    writer.number(attribute::LIFETIME, 0);
    let length = writer.finish().unwrap();
    assert_eq!(pair.session.receive(&packet[..length]), Event::Ignored);
    assert_eq!(pair.session.unauthentic(), 1);
    assert!(pair.session.deadline().is_some() && pair.session.relayed().is_some());
}

#[test]
fn responses_to_nothing_are_ignored() {
    let mut pair = Pair::new(None);
    let (mut out, id) = ([0; REQUEST_MAX], pair.id());
    let length = pair.session.begin(pair.now, id, Request::Binding, &mut out).unwrap();
    let answer = pair.answer(&out[..length]);
    let mut other = answer.clone();
    other[19] ^= 1;
    assert_eq!(pair.session.receive(&other), Event::Ignored);
    assert_eq!(pair.session.receive(&out[..length]), Event::Ignored);
    assert_eq!(pair.session.receive(b"\xFFnoise"), Event::Ignored);
    assert_eq!(pair.session.receive(&answer), Event::Done(Request::Binding));
    assert_eq!(pair.session.receive(&answer), Event::Ignored);
}

/// RFC 8489 §6.2.1: the same bytes, at growing distances, and then an end.
#[test]
fn what_is_not_answered_is_sent_again_and_then_given_up() {
    let mut pair = Pair::alice();
    pair.ask(ALLOCATE);
    let (mut out, id) = ([0; REQUEST_MAX], pair.id());
    let request = Request::Refresh { lifetime: 300 };
    let length = pair.session.begin(pair.now, id, request, &mut out).unwrap();
    let first = out[..length].to_vec();
    let mut again = 0;
    loop {
        let deadline = pair.session.deadline().unwrap();
        match pair.session.expire(deadline, &mut out) {
            Expiry::Send(length) => assert_eq!(&out[..length], first),
            Expiry::Failed(failure) => {
                assert_eq!(failure.to_string(), "Refresh was not answered");
                break;
            }
            Expiry::Nothing => panic!("its own deadline"),
        }
        again += 1;
    }
    assert_eq!(again, 6);
    assert_eq!(pair.session.deadline(), None);
    assert_eq!(pair.session.expire(Mono::from_secs(9999), &mut out), Expiry::Nothing);
}

#[test]
fn a_buffer_that_is_too_small_is_an_error() {
    let mut pair = Pair::alice();
    let id = pair.id();
    let written = pair.session.begin(pair.now, id, ALLOCATE, &mut [0; 24]);
    assert_eq!(written, Err(Error::Space));
}
