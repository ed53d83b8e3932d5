//! Other relay addresses and ports under live allocations: what is new is made there, and what lives stays what it is.

mod core;

use core::{Setup, TestClient, TestServer, auth_settings, channel_data};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use turnwire::auth::{Authority, Realms};
use turnwire::stun::{Method, attribute};
use turnwire::turn::{
    Delivery, Framing, PeerPolicy, PortRange, RelayAddress, RelayId, Settings, Verdict,
};

const WIDE: PortRange = PortRange { first: 50_000, last: 50_999 };
const OLD: RelayAddress = relay([10, 0, 0, 5], [203, 0, 113, 1]);
const NEW: RelayAddress = relay([10, 0, 0, 6], [203, 0, 113, 2]);
/// What the NAT makes of the old one from now on.
const RENAMED: RelayAddress = relay([10, 0, 0, 5], [203, 0, 113, 3]);

const fn relay(local: [u8; 4], advertised: [u8; 4]) -> RelayAddress {
    let [[a, b, c, d], [e, f, g, h]] = [local, advertised];
    RelayAddress {
        local: IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d)),
        advertised: IpAddr::V4(std::net::Ipv4Addr::new(e, f, g, h)),
    }
}

fn settings(relays: &[RelayAddress], ports: PortRange) -> Settings {
    let peers = PeerPolicy::new(Vec::new(), relays.to_vec(), ports, Vec::new());
    Settings { relays: relays.to_vec(), ports, peers, ..Settings::default() }
}

/// As `control` does it: the servers first, with what was before, and then the ledger.
fn change(
    server: &mut TestServer,
    relays: &[RelayAddress],
    ports: PortRange,
    before: &[(RelayAddress, PortRange)],
) {
    let mut settings = settings(relays, ports);
    settings.peers = settings.peers.with_former(before.iter().copied());
    let settings = Arc::new(settings);
    let authority = Arc::new(Realms::single(
        Authority::new(auth_settings(), [7; 16]).expect("valid credentials"),
    ));
    let now = server.now;
    server.server.reconfigure(now, &settings, &authority, &mut server.sockets, &server.stats);
    server.ledger.reconfigure(&settings);
}

fn start(relays: &[RelayAddress], ports: PortRange) -> TestServer {
    Setup { turn: settings(relays, ports), ..Setup::default() }.server()
}

fn client(port: u16) -> TestClient {
    TestClient::new(&format!("192.0.2.1:{port}"), "alice", "wonder")
}

fn allocate(server: &mut TestServer, client: &mut TestClient) -> SocketAddr {
    client.allocate(server).relayed()[0]
}

/// Two clients of this server that talk to each other through both of their allocations.
#[track_caller]
fn assert_talk(
    server: &mut TestServer,
    from: &TestClient,
    to: (&TestClient, RelayId),
    sender: SocketAddr,
) {
    let sent = server.receive(&from.client, &channel_data(0x4000, b"hello"));
    let Verdict::ToPeer(decision) = sent else { panic!("{sent:?}") };
    let (stats, now) = (&server.stats, server.now);
    let found = server.server.from_peer(now, to.1, sender, 5, stats);
    let Ok(Delivery { client, framing: Framing::Channel(_) }) = found else { panic!("{found:?}") };
    assert_eq!(client, to.0.client);
    let _ = decision;
}

#[test]
fn what_is_new_is_made_on_the_new_address_and_what_lives_goes_on() {
    let mut server = start(&[OLD], WIDE);
    let (mut first, mut second) = (client(1), client(2));
    let one = allocate(&mut server, &mut first);
    assert_eq!(one.ip(), OLD.advertised);
    change(&mut server, &[NEW], WIDE, &[(OLD, WIDE)]);
    let two = allocate(&mut server, &mut second);
    assert_eq!(two.ip(), NEW.advertised);
    assert_eq!(server.ledger.free_ports(), [(NEW.local, 999, 1000)]);
    assert!(first.refresh(&mut server, 600).success());
    // RFC 8656 §7.2: the same response, whatever has changed.
    let held = server.ledger.former();
    assert_eq!((held[0].relay, held[0].held), (OLD, 1));
    // Each is a peer of the other, at the address inside.
    assert!(first.bind(&mut server, 0x4000, two).success());
    assert!(second.bind(&mut server, 0x4000, one).success());
    let sent = server.receive(&second.client, &channel_data(0x4000, b"x"));
    let Verdict::ToPeer(decision) = sent else { panic!("{sent:?}") };
    assert_eq!(decision.peer, SocketAddr::new(OLD.local, one.port()));
    assert!(first.refresh(&mut server, 0).success());
    assert!(server.ledger.former().is_empty());
}

/// The address outside has changed: a call between two clients that began before goes on.
#[test]
fn allocations_are_known_by_the_address_of_their_time() {
    let mut server = start(&[OLD], WIDE);
    let (mut first, mut second) = (client(1), client(2));
    let (one, two) = (allocate(&mut server, &mut first), allocate(&mut server, &mut second));
    assert!(first.bind(&mut server, 0x4000, two).success());
    assert!(second.bind(&mut server, 0x4000, one).success());
    change(&mut server, &[RENAMED], WIDE, &[(OLD, WIDE)]);
    let to = RelayId::from_index(2);
    assert_talk(&mut server, &first, (&second, to), SocketAddr::new(OLD.local, one.port()));
    // A third one comes, and is known to them by the new address.
    let mut third = client(3);
    let three = allocate(&mut server, &mut third);
    assert_eq!(three.ip(), RENAMED.advertised);
    assert!(first.bind(&mut server, 0x4001, three).success());
    assert!(third.bind(&mut server, 0x4000, one).success());
    assert_talk(
        &mut server,
        &third,
        (&first, RelayId::from_index(0)),
        SocketAddr::new(OLD.local, three.port()),
    );
}

#[test]
fn a_reservation_is_good_for_the_address_and_the_port_that_it_was_made_on() {
    let mut server = start(&[OLD], WIDE);
    let (mut first, mut second) = (client(1), client(2));
    let reserved = first.request(&mut server, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::EVEN_PORT, &[0x80]);
    });
    let (token, port) = (reserved.token().unwrap(), reserved.relayed()[0].port());
    let narrow = PortRange { first: 60_000, last: 60_009 };
    change(&mut server, &[NEW], narrow, &[(OLD, WIDE)]);
    let redeemed = second.request(&mut server, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::RESERVATION_TOKEN, &token);
    });
    assert_eq!(redeemed.relayed(), [SocketAddr::new(OLD.advertised, port + 1)]);
    assert!(first.refresh(&mut server, 0).success());
    assert!(second.refresh(&mut server, 0).success());
    server.assert_empty();
    assert!(server.ledger.former().is_empty());
}

/// RFC 8656 §7.2: a retransmission over the change gets the response that was lost.
#[test]
fn an_allocate_that_is_sent_again_is_answered_as_it_was() {
    let mut server = start(&[OLD], WIDE);
    let mut one = client(1);
    let first = one.build(Method::ALLOCATE, |_| ());
    let challenge = server.ask(&one.client, &first);
    one.learn(&challenge);
    let ask = one.build(Method::ALLOCATE, |it| it.number(attribute::REQUESTED_TRANSPORT, 17 << 24));
    let before = server.ask(&one.client, &ask).relayed();
    change(&mut server, &[RENAMED], PortRange { first: 60_000, last: 60_009 }, &[(OLD, WIDE)]);
    assert_eq!(server.ask(&one.client, &ask).relayed(), before);
    assert_eq!(before[0].ip(), OLD.advertised);
}

/// What is no relay of ours any more is as any other address of the host.
#[test]
fn an_address_that_nobody_has_a_port_on_is_guarded_no_more_and_no_less_than_others() {
    let mut server = start(&[OLD, NEW], WIDE);
    let mut one = client(1);
    allocate(&mut server, &mut one);
    let gone = |relay: RelayAddress| SocketAddr::new(relay.advertised, 50_001);
    assert!(one.permit(&mut server, &[gone(OLD), gone(NEW)]).success());
    change(&mut server, &[OLD], WIDE, &[]);
    // A documentation address, which no rule allows.
    assert_eq!(one.permit(&mut server, &[gone(NEW)]).code(), 403);
    assert!(one.permit(&mut server, &[gone(OLD)]).success());
}
