//! Realms: users of one name in two of them are two users, who share nothing.

mod core;
#[path = "core/mobile.rs"]
mod mobile;

use core::connections::{at, bind, bound, refused};
use core::{
    REALM, Setup, TestClient, TestServer, Workers, auth_settings, channel_data, turn_settings,
};
use std::net::SocketAddr;
use std::sync::Arc;

use turnwire::auth::{self, OnRevocation, Reach, Realms, Secret, User};
use turnwire::stun::{Method, Writer, attribute};
use turnwire::turn::{
    Dropped, EndReason, Limits, PeerPolicy, PeerRule, RealmSettings, Settings, Transport, Verdict,
};

/// The realm besides the default one, in which alice has another password.
const OTHER: &str = "other.example";
const LISTENER: &str = "203.0.113.1:5349";
const PEER: &str = "1.1.1.1:80";

fn other(password: &str, on_revocation: OnRevocation) -> auth::Settings {
    let user = User { name: "alice".to_owned(), password: Secret::new(password) };
    let realm = OTHER.to_owned();
    auth::Settings { realm, users: vec![user], on_revocation, ..auth::Settings::default() }
}

/// By the name `other.example`, by a listener of its own, and by the origin `https://other.example`.
fn reach() -> Reach {
    Reach {
        server_names: vec!["turn.other.example".to_owned()],
        listeners: vec![LISTENER.parse().unwrap()],
        origins: vec!["https://other.example".to_owned()],
        exclusive: false,
    }
}

fn setup_with(reach: Reach) -> Setup {
    let realms = vec![(other("other", OnRevocation::Keep), reach)];
    Setup { realms, ..Setup::default() }
}

fn setup() -> Setup {
    setup_with(reach())
}

fn rules(rules: &[(&str, bool)]) -> Vec<PeerRule> {
    let rule = |(prefix, allow): &(&str, bool)| PeerRule {
        prefix: prefix.parse().expect("a prefix"),
        allow: *allow,
    };
    rules.iter().map(rule).collect()
}

/// Settings in which the other realm has these rules and limits of its own.
fn own(own: &[(&str, bool)], limits: Limits) -> Settings {
    let realm = RealmSettings { name: OTHER.to_owned(), rules: rules(own), limits };
    Settings { realms: vec![realm], ..turn_settings(49152, 65535) }
}

/// From now on these settings and these realms beside the default one.
fn reload(server: &mut TestServer, turn: Settings, realms: Vec<(auth::Settings, Reach)>) {
    // The same root as the first ones have: nonces stay good.
    let realms = Realms::new(auth_settings(), realms, [7; 16]).expect("valid credentials");
    let (now, sockets, stats) = (server.now, &mut server.sockets, &server.stats);
    server.server.reconfigure(now, &Arc::new(turn), &Arc::new(realms), sockets, stats);
}

fn alice(address: &str) -> TestClient {
    TestClient::new(address, "alice", "wonder")
}

/// The other realm's, who comes to its listener.
fn namesake(address: &str) -> TestClient {
    let mut client = TestClient::new(address, "alice", "other");
    client.client.tuple.server = LISTENER.parse().unwrap();
    client
}

/// Has it sign for the other realm, whatever it is challenged with.
fn as_namesake(client: &TestClient) -> TestClient {
    let mut client = client.clone();
    (client.realm, client.password) = (Some(OTHER.to_owned()), "other".to_owned());
    client
}

/// The realm that a first request is challenged with.
fn challenged(server: &mut TestServer, client: &mut TestClient, origin: &str) -> String {
    (client.realm, client.nonce) = (None, None);
    let packet = client.build(Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::ORIGIN, b"https://before.example");
        writer.attribute(attribute::ORIGIN, origin.as_bytes());
    });
    let answer = server.ask(&client.client, &packet);
    assert_eq!(answer.code(), 401);
    client.learn(&answer);
    client.realm.clone().expect("a realm")
}

#[test]
fn the_way_that_a_client_comes_says_which_realm_challenges_it() {
    let mut server = setup().server();
    let mut client = alice("192.0.2.1:1");
    assert_eq!(challenged(&mut server, &mut client, "https://example.org"), REALM);
    assert_eq!(challenged(&mut server, &mut client, "https://other.example"), OTHER);
    assert_eq!(challenged(&mut server, &mut client, &"https://other.example/".repeat(40)), REALM);
    assert_eq!(challenged(&mut server, &mut namesake("192.0.2.1:2"), ""), OTHER);
    let mut tls = TestClient::over(Transport::Tls, "192.0.2.1:3", "alice", "other");
    assert_eq!(challenged(&mut server, &mut tls, ""), REALM);
    server.sockets.names.insert(tls.client.tuple.client, "turn.OTHER.example".to_owned());
    assert_eq!(challenged(&mut server, &mut tls, ""), OTHER);
    assert!(tls.allocate(&mut server).success());
    // On the 5-tuple of an allocation it is that one's realm.
    server.sockets.names.clear();
    assert_eq!(challenged(&mut server, &mut tls, ""), OTHER);
    assert!(tls.refresh(&mut server, 0).success());
    assert_eq!(&*server.ended()[0].realm, OTHER);
}

#[test]
fn each_realm_believes_its_own_users_only() {
    let mut server = setup().server();
    assert!(alice("192.0.2.1:1").allocate(&mut server).success());
    assert!(namesake("192.0.2.1:2").allocate(&mut server).success());
    let stranger = |address: &str, user: &str, password: &str, there: bool| {
        let mut client = TestClient::new(address, user, password);
        if there {
            client.client.tuple.server = LISTENER.parse().unwrap();
        }
        client
    };
    let refused = [("alice", "other", false), ("alice", "wonder", true), ("bob", "builder", true)];
    for (place, (user, password, there)) in refused.into_iter().enumerate() {
        let mut client = stranger(&format!("192.0.2.2:{}", place + 1), user, password, there);
        assert_eq!(client.allocate(&mut server).code(), 401, "{user} {password} {there}");
    }
    assert_eq!(server.ledger.allocations_of(REALM), 1);
    assert_eq!(server.ledger.allocations_of(OTHER), 1);
}

#[test]
fn a_client_may_name_its_realm_unless_that_is_exclusive() {
    for exclusive in [false, true] {
        let mut server = setup_with(Reach { exclusive, ..reach() }).server();
        let mut client = as_namesake(&alice("192.0.2.1:1"));
        client.nonce = Some(b"none".to_vec());
        let mut answer = client.allocate(&mut server);
        // RFC 8489 §9.2.4: 438 for who knows the password, and with it a nonce.
        if !exclusive {
            assert!(answer.success(), "{}", answer.reason());
            continue;
        }
        assert_eq!(answer.code(), 401);
        assert_eq!(answer.get(attribute::REALM), Some(REALM.as_bytes()));
        // Its nonce is none of the default realm's; but not even a good one helps.
        client.nonce = answer.get(attribute::NONCE).map(<[u8]>::to_vec);
        answer = client.allocate(&mut server);
        let words = "wrong realm: \"other.example\" is asked for, this is \"example.org\"";
        assert_eq!((answer.code(), answer.reason()), (401, words));
        // Its own ways are open, and an allocation goes on whatever is said of the way.
        let mut inside = namesake("192.0.2.1:2");
        assert!(inside.allocate(&mut server).success());
        let mut by_origin = alice("192.0.2.1:3");
        by_origin.password = "other".to_owned();
        let allocated = by_origin.request(&mut server, Method::ALLOCATE, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
            writer.attribute(attribute::ORIGIN, b"https://other.example");
        });
        assert!(allocated.success());
        assert!(by_origin.refresh(&mut server, 600).success());
    }
}

/// A realm that offers less must not be a way around what this one offers (RFC 8489 §9.2.1).
#[test]
fn a_nonce_of_a_realm_that_offers_less_is_stale() {
    let mut setup = setup();
    setup.realms[0].0.sha256 = false;
    let mut server = setup.server();
    let mut client = alice("192.0.2.1:1");
    assert_eq!(challenged(&mut server, &mut client, "https://other.example"), OTHER);
    client.realm = Some(REALM.to_owned());
    let packet = client.build(Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
    });
    let answer = server.ask(&client.client, &packet);
    assert_eq!(answer.code(), 438);
    assert!(answer.get(attribute::PASSWORD_ALGORITHMS).is_some());
}

/// RFC 8656 §5: 441 for another user than the allocation's, whatever it is called.
#[test]
fn an_allocation_is_of_its_realm_for_ever() {
    for password in ["other", "wonder"] {
        let mut setup = setup();
        setup.realms[0].0 = other(password, OnRevocation::Keep);
        let mut server = setup.server();
        let mut client = alice("192.0.2.1:1000");
        assert!(client.allocate(&mut server).success());
        let mut thief = as_namesake(&client);
        thief.password = password.to_owned();
        for method in [Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND] {
            let answer = thief.request(&mut server, method, |writer| {
                writer.number(attribute::LIFETIME, 0);
                writer.number(attribute::CHANNEL_NUMBER, 0x4000 << 16);
                writer.xor_address(attribute::XOR_PEER_ADDRESS, at(PEER));
            });
            let expected =
                (441, "the allocation belongs to another user than \"alice\" of other.example");
            assert_eq!((answer.code(), answer.reason()), expected, "{method:?}");
        }
        assert_eq!(thief.allocate(&mut server).code(), 437);
        assert!(client.refresh(&mut server, 600).success());
        assert_eq!(server.server.allocations(), 1);
    }
}

/// RFC 8656 §7.2
#[test]
fn a_reservation_token_is_worth_nothing_to_a_namesake() {
    let mut server = setup().server();
    let made = alice("192.0.2.1:1").request(&mut server, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::EVEN_PORT, &[0x80]);
    });
    let token = made.get(attribute::RESERVATION_TOKEN).expect("a token").to_vec();
    let redeem = |writer: &mut Writer<'_>| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::RESERVATION_TOKEN, &token);
    };
    let mut thief = namesake("192.0.2.1:2");
    assert_eq!(thief.request(&mut server, Method::ALLOCATE, redeem).code(), 508);
    let mut own = alice("192.0.2.1:3");
    assert!(own.request(&mut server, Method::ALLOCATE, redeem).success());
}

/// RFC 8016 §3.2.2, at the worker that holds the allocation and at another one.
#[test]
fn a_mobility_ticket_is_worth_nothing_to_a_namesake() {
    let mut setup = setup();
    setup.turn.mobility = true;
    let mut workers = Workers::new(setup, 2);
    let mut call = mobile::Call::begin(&mut workers, "198.51.100.1:1");
    for worker in 0..2 {
        for (place, realm) in [(0, Some(OTHER.to_owned())), (1, None)] {
            let mut thief = namesake(&format!("198.51.100.2:{}", 10 * worker + place));
            thief.realm = realm;
            let ticket = mobile::with_ticket(&call.ticket);
            let answer = workers.request(worker, &mut thief, Method::REFRESH, ticket);
            assert_eq!(answer.code(), 441, "{}", answer.reason());
        }
    }
    // Its own client moves, there and back.
    for worker in [1, 0] {
        let mut new = alice(&format!("198.51.100.3:{}", worker + 1));
        call.move_to(&mut workers, worker, &mut new);
        assert!(call.relays(&mut workers, worker, &new.client));
    }
}

/// RFC 6062 §4.3
#[test]
fn a_connection_id_is_worth_nothing_to_a_namesake() {
    let mut server = setup().server();
    let mut client = core::connections::owner(&mut server);
    let connection = core::connections::reach(&mut server, &mut client, PEER);
    let mut thief = TestClient::over(Transport::Tcp, "198.51.100.9:1", "alice", "other");
    thief.client.tuple.server = LISTENER.parse().unwrap();
    let verdict = bind(&mut server, &mut thief, connection.get());
    assert_eq!(refused(&verdict), 400);
    assert_eq!(thief.realm.as_deref(), Some(OTHER));
    let mut own = TestClient::over(Transport::Tcp, "198.51.100.7:1001", "alice", "wonder");
    assert_eq!(bound(&bind(&mut server, &mut own, connection.get())), Some(connection));
}

#[test]
fn quotas_are_apart() {
    let mut setup = setup();
    let limits = Limits {
        allocations: 2,
        allocations_per_user: 1,
        allocations_per_address: 1,
        ..Limits::default()
    };
    setup.turn = own(&[], limits);
    setup.turn.limits.allocations_per_user = 2;
    let bob = User { name: "bob".to_owned(), password: Secret::new("other") };
    let carol = User { name: "carol".to_owned(), password: Secret::new("other") };
    setup.realms[0].0.users.extend([bob, carol]);
    let mut server = setup.server();
    for (place, code) in [0, 0, 486].into_iter().enumerate() {
        let mut client = alice(&format!("192.0.2.1:{}", place + 1));
        assert_eq!(client.allocate(&mut server).code(), code);
    }
    let there = |user: &str, address: &str| {
        let mut client = namesake(address);
        client.username = user.to_owned();
        client
    };
    let cases = [
        ("alice", "192.0.2.1:11", ""),
        ("alice", "192.0.2.2:11", "user \"alice\" has 1 allocations, the limit"),
        ("bob", "192.0.2.1:12", "the client's address has 1 allocations, the limit"),
        ("bob", "192.0.2.2:12", ""),
        ("carol", "192.0.2.3:12", "the realm other.example has 2 allocations, the limit"),
    ];
    for (user, address, refusal) in cases {
        let answer = there(user, address).allocate(&mut server);
        let reason = if answer.success() { "" } else { answer.reason() };
        assert_eq!(reason, refusal, "{user} {address}");
    }
    // The others are not concerned.
    assert!(TestClient::new("192.0.2.1:4", "bob", "builder").allocate(&mut server).success());
}

#[test]
fn limits_of_an_allocation_are_those_of_its_realm() {
    let mut setup = setup();
    let limits = Limits { permissions: 1, bytes_per_second: 100, ..Limits::default() };
    setup.turn = own(&[], limits);
    let mut server = setup.server();
    let (mut here, mut there) = (alice("192.0.2.1:1"), namesake("192.0.2.1:2"));
    for (client, limited) in [(&mut here, false), (&mut there, true)] {
        assert!(client.allocate(&mut server).success());
        assert!(client.bind(&mut server, 0x4000, at(PEER)).success());
        let more = client.permit(&mut server, &[at("1.1.1.2:80")]).code();
        assert_eq!(more, if limited { 508 } else { 0 });
        let data = channel_data(0x4000, &[0; 90]);
        assert!(matches!(server.receive(&client.client, &data), Verdict::ToPeer(_)));
        let second = server.receive(&client.client, &data);
        assert_eq!(second == Verdict::Drop(Dropped::Bandwidth), limited, "{second:?}");
    }
}

#[test]
fn peer_rules_are_those_of_the_realm_and_a_change_ends_what_they_deny() {
    let mut setup = setup();
    let allowed = [("10.1.0.0/16", true), ("1.1.1.0/24", false)];
    setup.turn = own(&allowed, Limits::default());
    let mut server = setup.server();
    let (inside, outside): (SocketAddr, SocketAddr) = (at("10.1.2.3:9"), at(PEER));
    let (mut here, mut there) = (alice("192.0.2.1:1"), namesake("192.0.2.1:2"));
    assert!(here.allocate(&mut server).success());
    assert!(there.allocate(&mut server).success());
    assert_eq!(here.permit(&mut server, &[inside]).code(), 403);
    assert!(here.bind(&mut server, 0x4000, outside).success());
    assert!(there.bind(&mut server, 0x4000, inside).success());
    assert_eq!(there.permit(&mut server, &[outside]).code(), 403);
    let realms = || vec![(other("other", OnRevocation::Keep), reach())];
    reload(&mut server, own(&[("10.1.2.3/32", false)], Limits::default()), realms());
    let data = channel_data(0x4000, b"x");
    assert!(matches!(server.receive(&here.client, &data), Verdict::ToPeer(_)));
    assert_eq!(server.receive(&there.client, &data), Verdict::Drop(Dropped::NoChannel));
    assert!(there.permit(&mut server, &[outside]).success());
}

/// Its own rules are as they were last, and the server's are those of now: what is denied to everybody is denied to it.
#[test]
fn the_servers_rules_reach_the_calls_of_a_realm_that_is_gone() {
    let mut setup = setup();
    setup.turn = own(&[("10.1.0.0/16", true)], Limits::default());
    let mut server = setup.server();
    let mut client = namesake("192.0.2.1:1");
    let (inside, outside) = (at("10.1.2.3:9"), at(PEER));
    assert!(client.allocate(&mut server).success());
    assert!(client.bind(&mut server, 0x4000, outside).success());
    assert!(client.bind(&mut server, 0x4001, inside).success());
    let mut stricter = turn_settings(49152, 65535);
    stricter.peers = PeerPolicy::new(
        rules(&[("1.1.1.0/24", false)]),
        stricter.relays.clone(),
        stricter.ports,
        Vec::new(),
    );
    reload(&mut server, stricter, Vec::new());
    let data = |channel| channel_data(channel, b"x");
    assert_eq!(server.receive(&client.client, &data(0x4000)), Verdict::Drop(Dropped::NoChannel));
    assert!(matches!(server.receive(&client.client, &data(0x4001)), Verdict::ToPeer(_)));
    assert_eq!(client.permit(&mut server, &[outside]).code(), 403);
    assert!(client.permit(&mut server, &[inside]).success());
}

#[test]
fn a_realm_that_is_taken_out_revokes_its_credentials() {
    for policy in [OnRevocation::Keep, OnRevocation::Refuse, OnRevocation::End] {
        let mut setup = setup();
        setup.realms[0].0 = other("other", policy);
        let mut server = setup.server();
        let (mut here, mut there) = (alice("192.0.2.1:1"), namesake("192.0.2.1:2"));
        for client in [&mut here, &mut there] {
            assert!(client.allocate(&mut server).success());
            assert!(client.bind(&mut server, 0x4000, at(PEER)).success());
        }
        reload(&mut server, turn_settings(49152, 65535), Vec::new());
        assert!(here.refresh(&mut server, 600).success());
        let ended: Vec<_> = server.ended().iter().map(|session| session.reason).collect();
        let ends = policy == OnRevocation::End;
        assert_eq!(ended, if ends { vec![EndReason::CredentialRevoked] } else { vec![] });
        let relayed = server.receive(&there.client, &channel_data(0x4000, b"x"));
        assert_eq!(matches!(relayed, Verdict::ToPeer(_)), !ends, "{relayed:?}");
        let answer = there.refresh(&mut server, 600);
        let keeps = policy == OnRevocation::Keep;
        assert_eq!(answer.code(), if keeps { 0 } else { 401 }, "{policy:?}");
        // Nobody new comes in with it; and when it comes back, it is the same again.
        let mut late = namesake("192.0.2.1:3");
        late.realm = Some(OTHER.to_owned());
        assert_eq!(late.allocate(&mut server).code(), 401);
        let realms = vec![(other("other", policy), reach())];
        reload(&mut server, turn_settings(49152, 65535), realms);
        assert!(namesake("192.0.2.1:4").allocate(&mut server).success());
        if !ends {
            there.realm = Some(OTHER.to_owned());
            assert!(there.refresh(&mut server, 600).success(), "{policy:?}");
        }
    }
}
