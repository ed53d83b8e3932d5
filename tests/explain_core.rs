//! What is said of a refusal, and to whom: the client that has proved its address, the log, and whoever follows the
//! client.

mod core;
#[path = "explain_core/followers.rs"]
mod followers;

use std::net::SocketAddr;
use std::time::Duration;

use crate::core::{Forged, REALM, Response, START, Setup, TestClient, TestServer};
use turnwire::auth::{OnExpiry, RestDigest, Secret, mint_password};
use turnwire::stun::{Method, attribute};
use turnwire::turn::{Cause, Notice, Outcome, PeerPolicy, PeerRule, Refusal, Whom};

const PUBLIC: &str = "8.8.4.4:5000";

fn alice() -> TestClient {
    TestClient::new("198.51.100.7:4000", "alice", "wonder")
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn whom(user: &str) -> Whom {
    Whom { user: Some(user.to_owned()), ..Whom::default() }
}

/// The last refusal that was told, with why the log tells it.
fn refusal(server: &mut TestServer) -> (Refusal, Option<Notice>) {
    let told = server.told().pop().expect("somebody is told");
    match told.case.outcome {
        Outcome::Refused(refusal) => (*refusal, told.notice),
        other => panic!("{other:?}"),
    }
}

/// A refusal says the same to the client, to the log and to a follower.
fn assert_told(server: &mut TestServer, response: &Response, code: u16, label: &str, words: &str) {
    assert_eq!((response.code(), response.reason()), (code, words));
    let (refusal, notice) = refusal(server);
    assert_eq!((refusal.cause.code(), refusal.cause.label()), (code, label));
    assert_eq!(refusal.words, words);
    assert!(refusal.hint.len() > 20, "{refusal:?}");
    assert_eq!(notice, Some(Notice::First { untold: 0 }), "{label}");
}

/// A minted credential of that age; the application's secret is `north`.
fn minted(secret: &str, username: &str) -> TestClient {
    let password = mint_password(RestDigest::Sha1, &Secret::new(secret), username);
    TestClient::new("198.51.100.7:4000", username, &password)
}

#[test]
fn a_401_says_which_of_its_kinds_it_is() {
    let mut setup = Setup::default();
    setup.auth.secrets = vec![Secret::new("north")];
    let mut server = setup.server();
    let mut wrong = alice();
    wrong.password = "rabbit".to_owned();
    let response = wrong.allocate(&mut server);
    let words = "wrong password for user \"alice\"";
    assert_told(&mut server, &response, 401, "wrong_password", words);

    let mut nobody = TestClient::new("198.51.100.7:4000", "mallory", "x");
    let response = nobody.allocate(&mut server);
    assert_told(&mut server, &response, 401, "unknown_user", "unknown user \"mallory\"");

    let name = format!("{}:carol", START.unix + 60);
    let response = minted("south", &name).allocate(&mut server);
    let words = format!("the password of \"{name}\" was not made with a secret of this server");
    assert_told(&mut server, &response, 401, "wrong_secret", &words);

    let mut client = alice();
    let first = client.build(Method::ALLOCATE, |_| ());
    client.learn(&server.ask(&client.client, &first));
    let forged = Forged { realm: Some(b"example.com".to_vec()), ..Forged::allocate(&mut client) };
    let packet = forged.write(&mut client);
    let response = server.ask(&client.client, &packet);
    let words = format!("wrong realm: \"example.com\" is asked for, this is \"{REALM}\"");
    assert_told(&mut server, &response, 401, "wrong_realm", &words);
}

#[test]
fn an_expired_credential_says_since_when_and_doubts_the_clocks() {
    let mut setup = Setup::default();
    setup.auth.secrets = vec![Secret::new("north")];
    let mut server = setup.server();
    let mut ago = |seconds: u64| {
        let mut client = minted("north", &format!("{}:carol", START.unix - seconds));
        let response = client.allocate(&mut server);
        assert_eq!(response.code(), 401);
        response.reason().to_owned()
    };
    assert_eq!(ago(5), "the credential expired 5 s ago");
    assert_eq!(ago(125), "the credential expired 2 min ago");
    assert_eq!(ago(3 * 3600 + 60), "the credential expired 3 h 1 min ago");
    let long = "the credential expired 30 d 0 h ago: is a clock wrong?";
    assert_eq!(ago(30 * 86_400), long);
    // A time to live in place of a time.
    let lifetime = "\"3600:carol\" has expired: 3600 is no time in seconds since 1970";
    assert_eq!(ago(START.unix - 3600), lifetime);
}

#[test]
fn an_allocation_s_own_credential_may_expire_as_well() {
    let mut setup = Setup::default();
    setup.auth.secrets = vec![Secret::new("north")];
    setup.auth.on_expiry = OnExpiry::Refuse;
    let mut server = setup.server();
    let mut client = minted("north", &format!("{}:carol", START.unix + 60));
    assert!(client.allocate(&mut server).success());
    server.advance(Duration::from_secs(70));
    let response = client.refresh(&mut server, 600);
    let words = "the credential expired 10 s ago";
    assert_told(&mut server, &response, 401, "expired_credential", words);
}

#[test]
fn who_meets_what_no_rule_opens_is_not_sent_to_the_rules() {
    let mut setup = Setup::default();
    let turn = &mut setup.turn;
    turn.peers =
        PeerPolicy::new(vec![], turn.relays.clone(), turn.ports, vec![at("203.0.113.1:3478")]);
    let mut server = setup.server();
    let mut client = alice();
    client.allocate(&mut server);
    client.bind(&mut server, 0x4000, at("203.0.113.1:3478"));
    let (own, _) = refusal(&mut server);
    assert_eq!(own.words, "peer 203.0.113.1 denied: the server itself, not a relayed address");
    assert!(own.hint.contains("no rule opens a port on which it listens"), "{}", own.hint);
    client.permit(&mut server, &[at("0.0.0.0:3478")]);
    let (unspecified, _) = refusal(&mut server);
    let hint = "No rule opens it: an unspecified address leads to this server's own host";
    assert_eq!(unspecified.hint, hint);
}

#[test]
fn a_403_names_the_peer_and_the_rule() {
    let mut setup = Setup::default();
    let rule = PeerRule { prefix: "8.8.8.0/24".parse().unwrap(), allow: false };
    let turn = &mut setup.turn;
    turn.peers =
        PeerPolicy::new(vec![rule], turn.relays.clone(), turn.ports, vec![at("203.0.113.1:3478")]);
    let mut server = setup.server();
    let mut client = alice();
    client.allocate(&mut server);
    let response = client.permit(&mut server, &[at("172.21.0.3:5000")]);
    let words = "peer 172.21.0.3 denied: private address of RFC 1918, 172.16.0.0/12; normal if another pair works";
    assert_told(&mut server, &response, 403, "peer_denied", words);
    client.permit(&mut server, &[at("10.0.0.9:5000")]);
    let (private, _) = refusal(&mut server);
    assert!(private.hint.ends_with("--allow-peer 10.0.0.9/32"), "{}", private.hint);

    let response = client.permit(&mut server, &[at("8.8.8.8:5000")]);
    let words = "peer 8.8.8.8 denied by the operator's rule 8.8.8.0/24";
    assert_told(&mut server, &response, 403, "peer_denied", words);
    client.bind(&mut server, 0x4000, at("8.8.8.9:5000"));
    server.audience.set_verbose(true);
    client.bind(&mut server, 0x4000, at("8.8.8.9:5000"));
    let (denied, _) = refusal(&mut server);
    assert!(denied.hint.contains("Take 8.8.8.0/24 out of peers.deny"), "{}", denied.hint);

    let response = client.bind(&mut server, 0x4000, at("203.0.113.1:3478"));
    assert_eq!(
        response.reason(),
        "peer 203.0.113.1 denied: the server itself, not a relayed address"
    );
}

#[test]
fn each_limit_is_named_with_its_value() {
    let mut setup = Setup::default();
    setup.turn.ports.last = setup.turn.ports.first + 2;
    setup.turn.limits.allocations_per_user = 1;
    setup.turn.limits.allocations_per_address = 2;
    setup.turn.limits.permissions = 1;
    setup.turn.limits.channels = 1;
    let mut server = setup.server();
    let mut client = alice();
    assert!(client.allocate(&mut server).success());
    let response = client.sibling("198.51.100.7:4001").allocate(&mut server);
    let words = "user \"alice\" has 1 allocations, the limit";
    assert_told(&mut server, &response, 486, "user_quota", words);
    let mut bob = TestClient::new("198.51.100.7:4002", "bob", "builder");
    assert!(bob.allocate(&mut server).success());
    let response = bob.sibling("198.51.100.7:4003").allocate(&mut server);
    let words = "the client's address has 2 allocations, the limit";
    assert_told(&mut server, &response, 486, "address_quota", words);

    let peers = [at("8.8.4.4:5000"), at("8.8.4.5:5000")];
    let response = client.permit(&mut server, &peers);
    let words = "more permissions than the 1 that an allocation may have";
    assert_told(&mut server, &response, 508, "permission_limit", words);
    assert!(client.bind(&mut server, 0x4000, peers[0]).success());
    let response = client.bind(&mut server, 0x4001, at("8.8.4.4:5001"));
    let words = "more channels than the 1 that an allocation may have";
    assert_told(&mut server, &response, 508, "channel_limit", words);
}

#[test]
fn a_508_names_the_ports_and_a_486_the_whole_server() {
    let mut setup = Setup::default();
    setup.turn.ports.last = setup.turn.ports.first;
    let mut server = setup.server();
    assert!(alice().allocate(&mut server).success());
    let response = TestClient::new("198.51.100.8:1", "bob", "builder").allocate(&mut server);
    assert_told(&mut server, &response, 508, "no_port", "no relay port is free of 49152-49152");

    let mut setup = Setup::default();
    setup.turn.limits.allocations = 1;
    let mut server = setup.server();
    assert!(alice().allocate(&mut server).success());
    let response = TestClient::new("198.51.100.8:1", "bob", "builder").allocate(&mut server);
    assert_told(
        &mut server,
        &response,
        486,
        "total_quota",
        "the server has 1 allocations, the limit",
    );
}

#[test]
fn the_others_say_what_the_request_has_to_do_with_it() {
    let mut server = Setup::default().server();
    let mut client = alice();
    let response = client.permit(&mut server, &[at(PUBLIC)]);
    assert_told(&mut server, &response, 437, "no_allocation", "there is no allocation");
    client.allocate(&mut server);

    let mut bob = client.sibling("198.51.100.7:4000");
    (bob.username, bob.password) = ("bob".to_owned(), "builder".to_owned());
    let response = bob.permit(&mut server, &[at(PUBLIC)]);
    assert_eq!(response.code(), 441);
    // The client is not told whose it is; the operator is.
    let told = "the allocation belongs to another user than \"bob\" of example.org";
    assert_eq!(response.reason(), told);
    let (refusal, _) = refusal(&mut server);
    assert!(
        refusal.words.ends_with("of example.org: it is that of \"alice\""),
        "{}",
        refusal.words
    );

    let response = client.permit(&mut server, &[at("[2a00:1450::8888]:5000")]);
    let words = "the allocation has no IPv6 address to reach 2a00:1450::8888 from";
    assert_told(&mut server, &response, 443, "peer_family", words);
    let response = client.request(&mut server, Method::CREATE_PERMISSION, |_| ());
    assert_told(&mut server, &response, 400, "missing_attribute", "XOR-PEER-ADDRESS is missing");
    let mut other = alice().sibling("198.51.100.9:1");
    let response = other.request(&mut server, Method::ALLOCATE, |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[132, 0, 0, 0]);
    });
    let words = "REQUESTED-TRANSPORT 132 is not relayed here";
    assert_told(&mut server, &response, 442, "transport_not_supported", words);
    let response = other.request(&mut server, Method::ALLOCATE, |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        writer.attribute(0x7ABC, &[]);
    });
    assert_told(&mut server, &response, 420, "unknown_attribute", "unknown attributes 0x7ABC");
}

#[test]
fn a_stranger_is_told_nothing_and_nobody_is_told_of_it() {
    let mut server = Setup::default().server();
    let mut client = alice();
    // Signed, and with a nonce of nobody's: the address may be forged.
    client.realm = Some(REALM.to_owned());
    client.nonce = Some(b"obMatJos2AAACc1RlcmlsZWx5".to_vec());
    client.password = "guess".to_owned();
    let packet = client.build(Method::ALLOCATE, |_| ());
    let response = server.ask(&client.client, &packet);
    assert_eq!((response.code(), response.reason()), (401, ""));
    assert!(server.told().is_empty());
    // A follower of the address hears it, and that it may be anybody.
    let address = Some("198.51.100.0/24".parse().unwrap());
    server.audience.follow(Whom { address, ..Whom::default() }).unwrap();
    let again = server.ask(&client.client, &packet);
    assert_eq!(again.bytes.len(), response.bytes.len());
    assert_eq!(again.reason(), "");
    let told = server.told();
    assert_eq!((told.len(), told[0].case.proven, told[0].notice), (1, false, None));
    // And the log, if it wants everything.
    server.audience.set_verbose(true);
    server.ask(&client.client, &packet);
    assert_eq!(server.told()[0].notice, Some(Notice::Each));
}

#[test]
fn the_words_can_be_kept_from_clients() {
    let mut setup = Setup::default();
    setup.turn.explain = false;
    let mut server = setup.server();
    let mut wrong = alice();
    wrong.password = "rabbit".to_owned();
    let known = wrong.allocate(&mut server);
    let mut nobody = TestClient::new("198.51.100.7:4000", "malik", "rabbit");
    let unknown = nobody.allocate(&mut server);
    for response in [&known, &unknown] {
        assert_eq!((response.code(), response.reason()), (401, "Unauthenticated"));
    }
    // Nothing else tells one from the other.
    let kinds = |response: &Response| {
        response.message().attributes().map(|(kind, value)| (kind, value.len())).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&known), kinds(&unknown));
    let told: Vec<_> = server.told().into_iter().map(|told| told.case.outcome).collect();
    assert!(matches!(&told[..], [Outcome::Refused(one), Outcome::Refused(other)]
        if one.words.starts_with("wrong password") && other.words.starts_with("unknown user")));

    let mut client = alice();
    client.allocate(&mut server);
    let response = client.permit(&mut server, &[at("10.0.0.9:1")]);
    assert_eq!((response.code(), response.reason()), (403, "Forbidden"));
}

#[test]
fn words_of_the_client_s_cannot_leave_their_quotes_or_fill_the_phrase() {
    let mut server = Setup::default().server();
    let mut client = alice();
    let first = client.build(Method::ALLOCATE, |_| ());
    client.learn(&server.ask(&client.client, &first));
    for name in [
        "x\" cause=\"granted\n\x1B[31m\u{202E}".as_bytes(),
        &[0xFF; 300],
        "\u{1F511}".repeat(99).as_bytes(),
    ] {
        let forged = Forged { username: Some(name.to_vec()), ..Forged::allocate(&mut client) };
        let packet = forged.write(&mut client);
        let response = server.ask(&client.client, &packet);
        let told = response.reason();
        assert_eq!(response.code(), 401);
        assert!(told.chars().count() < 128 && !told.contains(turnwire::text::steers), "{told:?}");
        assert_eq!(told.matches('"').count(), 2, "{told}");
    }
}

#[test]
fn the_log_is_told_of_a_kind_once_a_minute() {
    let mut server = Setup::default().server();
    let mut client = alice();
    client.allocate(&mut server);
    let mut notices = |server: &mut TestServer, peer: &str| {
        client.permit(server, &[at(peer)]);
        server.told().into_iter().map(|told| told.notice.unwrap()).collect::<Vec<_>>()
    };
    let first = Notice::First { untold: 0 };
    assert_eq!(notices(&mut server, "192.168.1.2:1"), [first]);
    assert_eq!(notices(&mut server, "192.168.1.2:1"), []);
    // Of all private peers of a range one stands for all; another range is another matter.
    assert_eq!(notices(&mut server, "192.168.77.9:1"), []);
    assert_eq!(notices(&mut server, "10.9.9.9:1"), [first]);
    server.advance(Duration::from_secs(60));
    assert_eq!(notices(&mut server, "192.168.1.2:1"), [Notice::First { untold: 2 }]);
}

#[test]
fn what_happens_all_day_is_not_told() {
    let mut server = Setup::default().server();
    let mut client = alice();
    // A challenge and, after an hour, an old nonce.
    client.allocate(&mut server);
    server.advance(Duration::from_secs(300));
    client.refresh(&mut server, 3600);
    server.advance(Duration::from_secs(3500));
    client.refresh(&mut server, 3600);
    assert!(server.told().is_empty());
    assert!(server.server.allocations() == 1);
    client.refresh(&mut server, 0);
    assert_eq!(server.ended()[0].refusals, None);
}

#[test]
fn a_session_keeps_its_last_refusal_and_their_number() {
    let mut server = Setup::default().server();
    let mut client = alice();
    client.allocate(&mut server);
    client.permit(&mut server, &[at("10.0.0.9:1")]);
    client.permit(&mut server, &[at("10.0.0.9:1")]);
    server.advance(Duration::from_secs(5));
    client.permit(&mut server, &[at("[2a00:1450::8888]:5000")]);
    // What a stranger sends from a forged address is not the session's.
    let mut stranger = alice();
    stranger.realm = Some(REALM.to_owned());
    stranger.nonce = Some(b"obMatJos2AAACc1RlcmlsZWx5".to_vec());
    stranger.password = "guess".to_owned();
    let packet = stranger.build(Method::REFRESH, |_| ());
    server.ask(&stranger.client, &packet);
    server.advance(Duration::from_secs(700));
    let sessions = server.ended();
    let refusals = sessions[0].refusals.expect("some");
    assert_eq!((refusals.count, refusals.last), (3, Cause::PeerFamily));
    assert_eq!(refusals.at, START.mono + Duration::from_secs(5));
}
