//! Third-party authorization (RFC 7635): who comes with an access token is let in for as long as
//! the token is good, under the key that is sealed in it.

mod core;

use std::sync::Arc;
use std::time::Duration;

use crate::core::{Response, START, Setup, TestClient, TestServer};
use turnwire::auth::{
    Authority, Key, OnExpiry, OnRevocation, Realms, Token, TokenAlgorithm, TokenKey, TokenSettings,
};
use turnwire::stun::{Digest, Kind, Mac, Message, Method, Writer, attribute};
use turnwire::turn::{EndReason, Verdict};

const SERVER_NAME: &str = "turn.example.org";
const LONG: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const OTHER: &[u8; 16] = b"fedcba9876543210";
const SESSION: [u8; 20] = [7; 20];

fn keys() -> [TokenKey; 2] {
    [
        TokenKey::new("north", TokenAlgorithm::A256Gcm, LONG).unwrap(),
        TokenKey::new("south", TokenAlgorithm::A128Gcm, OTHER).unwrap(),
    ]
}

fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.auth.tokens = TokenSettings {
        server_name: Some(SERVER_NAME.to_owned()),
        keys: keys().into(),
        clock_skew: Duration::from_secs(5),
    };
    setup
}

/// What an authorization server gives to a client.
#[derive(Clone)]
struct Grant {
    kid: &'static str,
    token: Vec<u8>,
    mac_key: Vec<u8>,
    digest: Digest,
}

impl Grant {
    /// Sealed by the first or second key `age` seconds before the start.
    fn new(key: usize, mac_key: &[u8], age: i64, lifetime: u32) -> Self {
        let issued = START.unix.checked_add_signed(-age).unwrap();
        let nonce = [mac_key[0]; 12];
        let token = Token::seal(&keys()[key], SERVER_NAME, nonce, mac_key, issued, lifetime);
        let kid = ["north", "south"][key];
        Self { kid, token: token.unwrap(), mac_key: mac_key.to_vec(), digest: Digest::Sha1 }
    }

    fn key(&self) -> Key {
        Key::session(&self.mac_key).unwrap()
    }
}

/// A client on an address of its own that has been told the nonce.
fn challenged(server: &mut TestServer, address: &str) -> TestClient {
    let mut client = TestClient::new(address, "nobody", "nothing");
    let response = client.build(Method::ALLOCATE, |_| ());
    let response = server.ask(&client.client, &response);
    client.learn(&response);
    client
}

fn packet(
    client: &mut TestClient,
    grant: &Grant,
    with_token: bool,
    method: Method,
    fill: impl Fn(&mut Writer<'_>),
) -> Vec<u8> {
    let mac = grant.key().mac(grant.digest);
    packet_signed(client, grant, with_token, method, fill, |writer| writer.integrity(mac.clone()))
}

fn packet_signed(
    client: &mut TestClient,
    grant: &Grant,
    with_token: bool,
    method: Method,
    fill: impl Fn(&mut Writer<'_>),
    sign: impl Fn(&mut Writer<'_>),
) -> Vec<u8> {
    let id = client.new_id();
    let mut buffer = vec![0; 4096];
    let mut writer = Writer::new(&mut buffer, Kind::request(method), &id);
    fill(&mut writer);
    if with_token {
        writer.attribute(attribute::ACCESS_TOKEN, &grant.token);
    }
    writer.attribute(attribute::USERNAME, grant.kid.as_bytes());
    writer.attribute(attribute::REALM, client.realm.as_ref().unwrap().as_bytes());
    writer.attribute(attribute::NONCE, client.nonce.as_ref().unwrap());
    sign(&mut writer);
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn allocate(server: &mut TestServer, client: &mut TestClient, grant: &Grant) -> Response {
    let packet = packet(client, grant, true, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.number(attribute::LIFETIME, 1200);
    });
    let response = server.ask(&client.client, &packet);
    if response.success() {
        assert_eq!(response.signed(&grant.key()), Some(grant.digest));
    }
    response
}

fn refresh(
    server: &mut TestServer,
    client: &mut TestClient,
    grant: &Grant,
    with_token: bool,
) -> Response {
    let packet = packet(client, grant, with_token, Method::REFRESH, |writer| {
        writer.number(attribute::LIFETIME, 1200);
    });
    server.ask(&client.client, &packet)
}

fn reason(server: &mut TestServer, address: &str, grant: &Grant) -> String {
    let mut client = challenged(server, address);
    let response = allocate(server, &mut client, grant);
    assert!(matches!(response.code(), 401 | 420), "{}", response.code());
    response.reason().to_owned()
}

/// RFC 7635 §4, §6.1
#[test]
fn a_401_tells_the_name_of_the_server_and_only_where_tokens_are_taken() {
    let mut server = setup().server();
    let mut client = TestClient::new("198.51.100.7:4000", "alice", "wonder");
    let packet = client.build(Method::ALLOCATE, |_| ());
    let response = server.ask(&client.client, &packet);
    assert_eq!(response.code(), 401);
    let told = response.get(attribute::THIRD_PARTY_AUTHORIZATION);
    assert_eq!(told, Some(SERVER_NAME.as_bytes()));
    // RFC 7635 §6.1: who does not know it goes on with a password.
    assert!(client.allocate(&mut server).success());

    let mut unnamed = setup();
    unnamed.auth.tokens.server_name = None;
    let response = unnamed.server().ask(&client.sibling("198.51.100.7:1").client, &packet);
    let realm = response.get(attribute::REALM).map(<[u8]>::to_vec);
    assert_eq!(response.get(attribute::THIRD_PARTY_AUTHORIZATION), realm.as_deref());

    let mut plain = Setup::default().server();
    let response = plain.ask(&client.client, &packet);
    assert!(!response.has(attribute::THIRD_PARTY_AUTHORIZATION));
}

/// RFC 7635 §7, §9
#[test]
fn a_token_of_each_key_opens_an_allocation_that_lives_no_longer_than_it() {
    let mut server = setup().server();
    for (place, (grant, left)) in [
        (Grant::new(0, &SESSION, 0, 300), 305),
        (Grant::new(1, &[8; 20], 100, 300), 205),
        // The issuer's clock goes before ours.
        (Grant::new(0, &[9; 20], -3, 300), 302),
        (Grant::new(0, &[10; 20], 0, 86400), 1200),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = challenged(&mut server, &format!("198.51.100.7:{}", 4000 + place));
        let response = allocate(&mut server, &mut client, &grant);
        assert_eq!((response.code(), response.lifetime()), (0, Some(left)));
    }
    server.advance(Duration::from_secs(206));
    assert_eq!(server.server.allocations(), 3);
    server.advance(Duration::from_secs(200));
    assert_eq!(server.server.allocations(), 1);
    let reasons: Vec<_> = server.ended().iter().map(|session| session.reason).collect();
    assert_eq!(reasons, [EndReason::CredentialExpired; 3]);
}

/// RFC 7635 §9: only Allocate and Refresh carry the token.
#[test]
fn other_requests_are_signed_with_its_key_and_data_flows() {
    let mut server = setup().server();
    let mut client = challenged(&mut server, "198.51.100.7:4000");
    let grant = Grant::new(0, &SESSION, 0, 300);
    assert!(allocate(&mut server, &mut client, &grant).success());
    let peer = "9.9.9.9:9".parse().unwrap();
    let permit = packet(&mut client, &grant, false, Method::CREATE_PERMISSION, |writer| {
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
    });
    let response = server.ask(&client.client, &permit);
    assert_eq!((response.code(), response.signed(&grant.key())), (0, Some(Digest::Sha1)));
    let data = core::send_indication(peer, b"hello");
    assert!(matches!(server.receive(&client.client, &data), Verdict::ToPeer(_)));
    // Without the token nobody else's key will do, and nobody else's 5-tuple.
    let forged = Grant { mac_key: vec![1; 20], ..grant.clone() };
    assert_eq!(refresh(&mut server, &mut client, &forged, false).code(), 401);
    let mut other = challenged(&mut server, "198.51.100.7:4001");
    let told = refresh(&mut server, &mut other, &grant, false);
    assert!(told.reason().starts_with("unknown user"), "{}", told.reason());
    // A refresh without it is bound by what it had.
    assert_eq!(refresh(&mut server, &mut client, &grant, false).lifetime(), Some(305));
    server.advance(Duration::from_secs(200));
    assert_eq!(refresh(&mut server, &mut client, &grant, true).lifetime(), Some(105));
}

/// RFC 7635 §9: "The client MUST use the new token to refresh existing allocations."
#[test]
fn a_new_token_takes_the_allocation_over_and_the_old_one_counts_no_more() {
    let mut server = setup().server();
    let mut client = challenged(&mut server, "198.51.100.7:4000");
    let old = Grant::new(0, &SESSION, 0, 300);
    assert!(allocate(&mut server, &mut client, &old).success());
    server.advance(Duration::from_secs(250));
    // Sealed with another key meanwhile.
    let new = Grant::new(1, &[8; 20], -250, 600);
    let response = refresh(&mut server, &mut client, &new, true);
    assert_eq!((response.code(), response.lifetime()), (0, Some(605)));
    assert_eq!(response.signed(&new.key()), Some(Digest::Sha1));
    server.advance(Duration::from_secs(300));
    assert_eq!(server.server.allocations(), 1);
    assert_eq!(refresh(&mut server, &mut client, &old, false).code(), 401);
    assert_eq!(refresh(&mut server, &mut client, &new, false).lifetime(), Some(305));
    // A password's allocation is no token's, nor the other way round (RFC 8656 §5).
    let mut alice = TestClient::new("198.51.100.9:1", "alice", "wonder");
    assert!(alice.allocate(&mut server).success());
    assert_eq!(refresh(&mut server, &mut alice, &new, true).code(), 441);
    let mut bob = TestClient::new("198.51.100.7:4000", "bob", "builder");
    assert_eq!(bob.refresh(&mut server, 0).code(), 441);
}

/// The key of the token that it was made with is taken out of the configuration: with one of the new key all is as before.
#[test]
fn an_allocation_that_a_new_token_has_taken_over_is_revoked_no_more() {
    let mut settings = setup().auth;
    let mut server = setup().server();
    let mut client = challenged(&mut server, "198.51.100.7:4000");
    let old = Grant::new(0, &SESSION, 0, 300);
    assert!(allocate(&mut server, &mut client, &old).success());
    settings.on_revocation = OnRevocation::Refuse;
    settings.tokens.keys.remove(0);
    // The same root as the first one has: nonces stay good.
    let realms = Arc::new(Realms::single(Authority::new(settings, [7; 16]).unwrap()));
    let (turn, now) = (Arc::new(Setup::default().turn), server.now);
    server.server.reconfigure(now, &turn, &realms, &mut server.sockets, &server.stats);
    assert_eq!(refresh(&mut server, &mut client, &old, false).code(), 401);
    let new = Grant::new(1, &[8; 20], 0, 600);
    assert!(refresh(&mut server, &mut client, &new, true).success());
    // RFC 7635 §9: only Allocate and Refresh carry the token.
    assert_eq!(refresh(&mut server, &mut client, &new, false).code(), 0);
    assert_eq!(refresh(&mut server, &mut client, &old, false).code(), 401);
}

/// RFC 7635 §7
#[test]
fn each_refusal_says_why_and_is_counted() {
    let mut server = setup().server();
    let good = Grant::new(0, &SESSION, 0, 300);
    let mut damaged = good.clone();
    damaged.token[20] ^= 1;
    let elsewhere = {
        let nonce = [1; 12];
        let token = Token::seal(&keys()[0], "other.example.org", nonce, &SESSION, START.unix, 300);
        Grant { token: token.unwrap(), ..good.clone() }
    };
    let bad = "the access token was not sealed for this server";
    let expired = "the access token has expired (or a clock is wrong)";
    let cases = [
        (
            Grant { kid: "west", ..good.clone() },
            "no key of this kid is valid for access tokens here",
        ),
        // A user's name is no kid.
        (
            Grant { kid: "alice", ..good.clone() },
            "no key of this kid is valid for access tokens here",
        ),
        (Grant { kid: "south", ..good.clone() }, bad),
        (damaged, bad),
        (elsewhere, bad),
        (Grant { token: Vec::new(), ..good.clone() }, bad),
        (Grant::new(0, &SESSION, 306, 300), expired),
        (Grant::new(0, &SESSION, -306, 300), expired),
        (
            Grant { mac_key: vec![1; 20], ..good.clone() },
            "the request is not signed with the access token's key",
        ),
    ];
    for (place, (grant, why)) in cases.into_iter().enumerate() {
        let address = format!("198.51.100.7:{}", 4000 + place);
        assert_eq!(reason(&mut server, &address, &grant), why);
    }
    assert_eq!(server.server.allocations(), 0);
    let counted: Vec<_> = turnwire::turn::Cause::labels()
        .zip(&server.stats.refused)
        .filter(|((label, _), count)| label.contains("token") && count.get() > 0)
        .map(|((label, _), count)| (label, count.get()))
        .collect();
    assert_eq!(counted, [("unknown_token_key", 2), ("bad_token", 4), ("expired_token", 2)]);
}

#[test]
fn a_key_is_used_in_its_time_only() {
    let mut setup = setup();
    setup.auth.tokens.keys[0].valid_until = Some(START.unix + 10);
    setup.auth.tokens.keys[1].valid_from = Some(START.unix + 10);
    let mut server = setup.server();
    let grants = [Grant::new(0, &SESSION, 0, 300), Grant::new(1, &[8; 20], 0, 300)];
    let mut client = challenged(&mut server, "198.51.100.7:1");
    assert!(allocate(&mut server, &mut client, &grants[0]).success());
    let why = "no key of this kid is valid for access tokens here";
    assert_eq!(reason(&mut server, "198.51.100.7:2", &grants[1]), why);
    server.advance(Duration::from_secs(10));
    assert_eq!(reason(&mut server, "198.51.100.7:3", &grants[0]), why);
    let mut client = challenged(&mut server, "198.51.100.7:4");
    assert!(allocate(&mut server, &mut client, &grants[1]).success());
}

/// RFC 7635 §7
#[test]
fn an_unexpected_token_is_an_unknown_attribute() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server, "198.51.100.7:4000");
    let response = allocate(&mut server, &mut client, &Grant::new(0, &SESSION, 0, 300));
    assert_eq!(response.code(), 420);
    let unknown = attribute::ACCESS_TOKEN.to_be_bytes();
    assert_eq!(response.get(attribute::UNKNOWN_ATTRIBUTES), Some(&unknown[..]));
    // A Binding request is not asked for one anywhere.
    let mut server = setup().server();
    let binding = client.build(Method::BINDING, |writer| {
        writer.attribute(attribute::ACCESS_TOKEN, b"token");
    });
    let response = server.ask(&client.client, &binding);
    assert_eq!(response.code(), 420);
    assert_eq!(response.get(attribute::UNKNOWN_ATTRIBUTES), Some(&unknown[..]));
}

/// RFC 7635, appendix B
#[test]
fn a_session_key_of_256_bits_serves_both_digests() {
    let mut server = setup().server();
    for (port, digest) in [(1, Digest::Sha1), (2, Digest::Sha256)] {
        let mut client = challenged(&mut server, &format!("198.51.100.7:{port}"));
        let grant = Grant { digest, ..Grant::new(0, &[5; 32], 0, 300) };
        assert!(allocate(&mut server, &mut client, &grant).success());
        let response = refresh(&mut server, &mut client, &grant, false);
        assert_eq!(response.signed(&grant.key()), Some(digest));
    }
}

/// coturn, and what was made for it, signs with 128 bits of the 160.
#[test]
fn a_client_of_coturns_is_understood_and_answered_in_its_way() {
    let mut server = setup().server();
    let mut client = challenged(&mut server, "198.51.100.7:4000");
    let grant = Grant::new(0, &SESSION, 0, 300);
    let sign = |writer: &mut Writer<'_>| writer.integrity(Mac::new(Digest::Sha1, &SESSION[..16]));
    for (method, with_token) in
        [(Method::ALLOCATE, true), (Method::REFRESH, true), (Method::REFRESH, false)]
    {
        let fill = |writer: &mut Writer<'_>| {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        };
        let packet = packet_signed(&mut client, &grant, with_token, method, fill, sign);
        let response = server.ask(&client.client, &packet);
        assert_eq!(response.code(), 0);
        assert!(response.message().verify(Mac::new(Digest::Sha1, &SESSION[..16])));
    }
}

/// What the setting says about ephemeral passwords is not for tokens.
#[test]
fn an_expired_token_ends_its_allocation_whatever_becomes_of_passwords() {
    for on_expiry in [OnExpiry::Keep, OnExpiry::Refuse, OnExpiry::End] {
        let mut setup = setup();
        setup.auth.on_expiry = on_expiry;
        let mut server = setup.server();
        let mut client = challenged(&mut server, "198.51.100.7:4000");
        let grant = Grant::new(0, &SESSION, 0, 60);
        assert!(allocate(&mut server, &mut client, &grant).success());
        server.advance(Duration::from_secs(64));
        assert_eq!(refresh(&mut server, &mut client, &grant, true).lifetime(), Some(1));
        server.advance(Duration::from_secs(1));
        assert_eq!(server.ended()[0].reason, EndReason::CredentialExpired);
        let response = refresh(&mut server, &mut client, &grant, true);
        assert_eq!(response.code(), 401);
        server.assert_empty();
    }
}

/// A kid is everybody's: limits for each user count for each token.
#[test]
fn quotas_count_for_each_token() {
    let mut setup = setup();
    setup.turn.limits.allocations_per_user = 2;
    let mut server = setup.server();
    let grants = [Grant::new(0, &[1; 20], 0, 300), Grant::new(0, &[2; 20], 0, 300)];
    for (place, code) in [(0, 0), (0, 0), (0, 486), (1, 0), (1, 0), (1, 486)].iter().enumerate() {
        let mut client = challenged(&mut server, &format!("198.51.100.7:{}", 4000 + place));
        let response = allocate(&mut server, &mut client, &grants[code.0]);
        assert_eq!(response.code(), code.1, "{place}");
    }
}

/// A client that asks for a pair of ports may have got a new token meanwhile.
#[test]
fn a_reserved_port_is_had_with_another_token_and_not_with_a_password() {
    let mut server = setup().server();
    let reserve = |server: &mut TestServer, client: &mut TestClient, grant: &Grant| {
        let packet = packet(client, grant, true, Method::ALLOCATE, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
            writer.attribute(attribute::EVEN_PORT, &[0x80]);
        });
        server.ask(&client.client, &packet).token().expect("RESERVATION-TOKEN")
    };
    let grants = [Grant::new(0, &SESSION, 0, 300), Grant::new(1, &[8; 20], 0, 300)];
    let mut client = challenged(&mut server, "198.51.100.7:1");
    let token = reserve(&mut server, &mut client, &grants[0]);
    let mut alice = TestClient::new("198.51.100.9:1", "alice", "wonder");
    let redeem = |writer: &mut Writer<'_>| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::RESERVATION_TOKEN, &token);
    };
    assert_eq!(alice.request(&mut server, Method::ALLOCATE, redeem).code(), 508);
    let mut other = challenged(&mut server, "198.51.100.7:2");
    let packet = packet(&mut other, &grants[1], true, Method::ALLOCATE, redeem);
    assert_eq!(server.ask(&other.client, &packet).code(), 0);
}

/// RFC 8016 §3.2: a kid is everybody's, so the ticket is its token's.
#[test]
fn a_mobile_client_moves_with_its_token_and_nobody_with_another_of_the_same_kid() {
    let mut setup = setup();
    setup.turn.mobility = true;
    let mut server = setup.server();
    let (grant, other) = (Grant::new(0, &SESSION, 0, 300), Grant::new(0, &[8; 20], 0, 300));
    let mut client = challenged(&mut server, "198.51.100.7:1");
    let mobile = |writer: &mut Writer<'_>| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::MOBILITY_TICKET, &[]);
    };
    let allocate = packet(&mut client, &grant, true, Method::ALLOCATE, mobile);
    let response = server.ask(&client.client, &allocate);
    let ticket = response.get(attribute::MOBILITY_TICKET).expect("a ticket").to_vec();
    for (port, grant, code) in [(2, &other, 441), (3, &grant, 0)] {
        let mut moved = challenged(&mut server, &format!("203.0.113.99:{port}"));
        let refresh = packet(&mut moved, grant, true, Method::REFRESH, |writer| {
            writer.attribute(attribute::MOBILITY_TICKET, &ticket);
        });
        let response = server.ask(&moved.client, &refresh);
        assert_eq!(response.code(), code);
    }
}

/// RFC 8656 §7.2
#[test]
fn a_retransmitted_allocate_gets_the_same_response() {
    let mut server = setup().server();
    let mut client = challenged(&mut server, "198.51.100.7:4000");
    let grant = Grant::new(0, &SESSION, 0, 300);
    let packet = packet(&mut client, &grant, true, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
    });
    let first = server.ask(&client.client, &packet);
    assert!(Message::parse(&packet).unwrap().has_integrity() && first.success());
    assert_eq!(server.ask(&client.client, &packet), first);
}
