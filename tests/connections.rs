//! TCP allocations as the core sees them (RFC 6062): what is asked, answered and waited for until a connection with a
//! peer is there, with a clock that is stepped by hand and connections that are none.

mod core;

use std::time::Duration;

use core::connections::{
    OTHER, PATIENCE, PEER, alice, at, begin, bind, bound, connect, owner, reach, refused, relay_of,
    with_peer,
};
use core::{Deed, RELAYS, Setup, TestClient, TestServer, channel_data, send_indication};
use turnwire::stun::{Class, Kind, Method, Writer, attribute};
use turnwire::turn::{Cause, ConnectFailure, Dropped, EndReason, Protocol, Transport, Verdict};

fn server() -> TestServer {
    Setup::default().server()
}

/// RFC 6062 §5.1
#[test]
fn a_tcp_allocation_needs_a_stream_and_nothing_that_is_for_udp() {
    let mut server = server();
    let mut datagrams = TestClient::new("198.51.100.7:1000", "alice", "wonder");
    assert_eq!(datagrams.allocate_tcp(&mut server).code(), 400);
    let mut dtls = TestClient::over(Transport::Dtls, "198.51.100.7:1000", "alice", "wonder");
    assert_eq!(dtls.allocate_tcp(&mut server).code(), 400);
    let mut client = alice("198.51.100.7:1000");
    for kind in [attribute::DONT_FRAGMENT, attribute::EVEN_PORT, attribute::RESERVATION_TOKEN] {
        let value: &[u8] = match kind {
            attribute::DONT_FRAGMENT => &[],
            attribute::EVEN_PORT => &[0],
            _ => &[0; 8],
        };
        let response = client.request(&mut server, Method::ALLOCATE, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, 6 << 24);
            writer.attribute(kind, value);
        });
        assert_eq!(response.code(), 400, "{kind:#06x}");
    }
    let response = client.allocate_tcp(&mut server);
    assert!(response.success() && !response.has(attribute::RESERVATION_TOKEN));
    assert_eq!(server.sockets.listening.len(), 1);
    // RFC 8656 §7.2 holds here as well: the same again for a retransmission, 437 for another.
    assert_eq!(client.allocate_tcp(&mut server).code(), 437);
    assert_eq!(client.refresh(&mut server, 0).code(), 0);
    let session = server.ended().remove(0);
    assert_eq!((session.protocol, session.reason), (Protocol::Tcp, EndReason::Deleted));
    server.assert_empty();
}

#[test]
fn a_server_that_is_not_to_relay_tcp_knows_nothing_of_it() {
    let mut setup = Setup::default();
    setup.turn.tcp_allocations = false;
    let mut server = setup.server();
    let mut client = alice("198.51.100.7:1000");
    assert_eq!(client.allocate_tcp(&mut server).code(), 442);
    assert_eq!(connect(&mut server, &mut client, PEER), Verdict::Drop(Dropped::Unserved));
    let mut data = alice("198.51.100.7:1001");
    let fill = |writer: &mut Writer<'_>| writer.number(attribute::CONNECTION_ID, 1);
    let request = data.build(Method::CONNECTION_BIND, fill);
    assert_eq!(server.receive(&data.client, &request), Verdict::Drop(Dropped::Unserved));
}

/// RFC 6062 §5.2
#[test]
fn a_connect_is_answered_when_the_peer_has_answered() {
    let mut server = server();
    let mut client = owner(&mut server);
    let request = client.build(Method::CONNECT, with_peer(at(PEER)));
    assert_eq!(server.receive(&client.client, &request), Verdict::Later);
    let [Deed::Connect(connection, relay, to)] = server.deeds()[..] else {
        panic!("nothing is done about it");
    };
    assert_eq!((to, server.sockets.open[&relay.index()].ip()), (at(PEER), RELAYS[0].local));
    server.advance(Duration::from_secs(29));
    let (told, response) = server.connected(connection, Ok(())).expect("somebody waits");
    assert_eq!(told, client.client);
    assert_eq!(response.kind(), Kind::success(Method::CONNECT));
    assert_eq!(response.id().bytes()[..], request[8..20]);
    assert_eq!(response.connection(), Some(connection.get()));
    assert!(response.signed(&client.key()).is_some());
    // Nobody waits for a second answer.
    assert_eq!(server.connected(connection, Ok(())), None);
    assert_eq!(server.stats.connections_out.get(), 1);
}

#[test]
fn a_connect_without_an_allocation_for_tcp_is_refused() {
    let mut server = server();
    let mut client = alice("198.51.100.7:1000");
    let fill = with_peer(at(PEER));
    assert_eq!(client.request(&mut server, Method::CONNECT, &fill).code(), 437);
    assert!(client.allocate(&mut server).success());
    assert_eq!(client.request(&mut server, Method::CONNECT, &fill).code(), 437);
    assert_eq!(server.deeds(), []);
    assert_eq!(server.stats.refused[Cause::WrongProtocol.index()].get(), 1);
    // The same on datagrams, where no allocation can be one for TCP.
    let mut client = TestClient::new("198.51.100.7:1000", "alice", "wonder");
    assert_eq!(client.request(&mut server, Method::CONNECT, &fill).code(), 437);
    assert!(client.allocate(&mut server).success());
    assert_eq!(client.request(&mut server, Method::CONNECT, &fill).code(), 437);
    assert_eq!(server.deeds(), []);
}

/// RFC 6062 §5.2: "If the request does not contain an XOR-PEER-ADDRESS attribute, or if such attribute is invalid".
#[test]
fn a_connect_to_nowhere_is_400_and_changes_nothing() {
    let mut server = server();
    let mut client = owner(&mut server);
    let (no_family, short, long) =
        ([0, 3, 0, 80, 1, 1, 1, 1], [0, 1, 0, 80], [0, 1, 0, 80, 1, 1, 1, 1, 1]);
    for value in [None, Some(&no_family[..]), Some(&short), Some(&long), Some(&[])] {
        let response = client.request(&mut server, Method::CONNECT, |writer| {
            if let Some(value) = value {
                writer.attribute(attribute::XOR_PEER_ADDRESS, value);
            }
        });
        assert_eq!(response.code(), 400, "{value:?}");
    }
    assert_eq!((server.deeds(), server.server.connections()), (vec![], 0));
    reach(&mut server, &mut client, PEER);
}

#[test]
fn peers_are_refused_as_for_udp() {
    let mut server = server();
    let mut client = owner(&mut server);
    assert_eq!(client.request(&mut server, Method::CONNECT, |_| ()).code(), 400);
    for (peer, code) in [
        ("10.0.0.1:80", 403),
        ("127.0.0.1:80", 403),
        ("[2600::1]:80", 443),
        // The server itself, but for its relays.
        ("203.0.113.1:3478", 403),
        ("203.0.113.1:22", 403),
    ] {
        assert_eq!(refused(&connect(&mut server, &mut client, peer)), code, "{peer}");
    }
    assert_eq!(server.deeds(), []);
    // A relay of this server is reached at its local address, and needs no permission.
    assert_eq!(connect(&mut server, &mut client, "203.0.113.1:50000"), Verdict::Later);
    let deeds = server.deeds();
    assert!(matches!(deeds[..], [Deed::Connect(_, _, to)] if to == at("10.0.0.5:50000")));
}

/// RFC 6062 §5.2; a well-known server never answers anybody again after this.
#[test]
fn a_second_connect_to_a_peer_is_refused_for_as_long_as_there_is_the_first() {
    let mut server = server();
    let mut client = owner(&mut server);
    let first = client.build(Method::CONNECT, with_peer(at(PEER)));
    assert_eq!(server.receive(&client.client, &first), Verdict::Later);
    let [Deed::Connect(connection, ..)] = server.deeds()[..] else { panic!("not begun") };
    for _ in 0..3 {
        assert_eq!(refused(&server.receive(&client.client, &first)), 446);
        assert_eq!(refused(&connect(&mut server, &mut client, PEER)), 446);
    }
    let other = reach(&mut server, &mut client, OTHER);
    assert!(server.connected(connection, Ok(())).is_some());
    assert_eq!(refused(&connect(&mut server, &mut client, PEER)), 446);
    let mut data = alice("198.51.100.7:1001");
    assert_eq!(bound(&bind(&mut server, &mut data, connection.get())), Some(connection));
    assert_eq!(refused(&connect(&mut server, &mut client, PEER)), 446);
    // Another port is another peer, and what is over is no obstacle.
    reach(&mut server, &mut client, "1.1.1.1:81");
    for over in [connection, other] {
        server.server.connection_closed(over, &server.stats);
    }
    reach(&mut server, &mut client, PEER);
    begin(&mut server, &mut client, OTHER);
}

/// RFC 6062 §5.2
#[test]
fn a_peer_that_refuses_is_447_and_may_be_tried_again() {
    let mut server = server();
    let mut client = owner(&mut server);
    for failure in [ConnectFailure::Failed, ConnectFailure::TimedOut] {
        let connection = begin(&mut server, &mut client, PEER);
        let (_, response) = server.connected(connection, Err(failure)).expect("somebody waits");
        assert_eq!((response.code(), response.connection()), (447, None));
        assert!(response.signed(&client.key()).is_some());
    }
    let connection = begin(&mut server, &mut client, PEER);
    let answer = server.connected(connection, Err(ConnectFailure::NoSocket));
    assert_eq!(answer.expect("somebody waits").1.code(), 508);
    assert_eq!(server.server.connections(), 0);
    assert_eq!(server.stats.refused[Cause::ConnectFailed.index()].get(), 1);
    assert_eq!(server.stats.refused[Cause::ConnectTimeout.index()].get(), 1);
    assert_eq!(server.stats.connections_ended.get(), 0);
}

/// RFC 6062 §5.2: "The timeout value MUST be at least 30 seconds."
#[test]
fn a_peer_has_thirty_seconds() {
    let mut server = server();
    let mut client = owner(&mut server);
    let connection = begin(&mut server, &mut client, PEER);
    server.advance(PATIENCE - Duration::from_micros(1));
    assert_eq!(server.deeds(), []);
    server.advance(Duration::from_micros(1));
    assert_eq!(server.deeds(), [Deed::GiveUp(connection)]);
    let answer = server.connected(connection, Err(ConnectFailure::TimedOut));
    assert_eq!(answer.expect("somebody waits").1.code(), 447);
    server.advance(PATIENCE);
    assert_eq!((server.deeds(), server.server.connections()), (vec![], 0));
}

/// RFC 6062 §5.2, §5.3
#[test]
fn a_client_has_thirty_seconds_to_bind() {
    let mut server = server();
    let mut client = alice("198.51.100.7:1000");
    let allocated = client.allocate_tcp(&mut server);
    let relay = relay_of(&server, &allocated);
    assert!(client.permit(&mut server, &[at(OTHER)]).success());
    let made = reach(&mut server, &mut client, PEER);
    server.advance(Duration::from_secs(10));
    let (taken, ..) = server.incoming(relay, at(OTHER)).expect("permitted");
    server.advance(Duration::from_secs(19));
    assert_eq!(server.deeds(), []);
    server.advance(Duration::from_secs(1));
    assert_eq!(server.deeds(), [Deed::Close(made)]);
    let mut data = alice("198.51.100.7:1001");
    assert_eq!(refused(&bind(&mut server, &mut data, made.get())), 400);
    assert_eq!(bound(&bind(&mut server, &mut data, taken.get())), Some(taken));
    server.advance(Duration::from_secs(300));
    assert_eq!((server.deeds(), server.server.connections()), (vec![], 1));
}

/// RFC 6062 §5.3
#[test]
fn a_peer_with_a_permission_is_announced_and_others_are_not() {
    let mut server = server();
    let mut client = alice("198.51.100.7:1000");
    let allocated = client.allocate_tcp(&mut server);
    let relay = relay_of(&server, &allocated);
    assert_eq!(server.incoming(relay, at(PEER)), Err(Dropped::NoPermission));
    assert!(client.permit(&mut server, &[at("1.1.1.1:1")]).success());
    // RFC 8656 §9.1: a permission is for an address, whatever the port.
    let (connection, told, indication) = server.incoming(relay, at(PEER)).expect("permitted");
    assert_eq!(told, client.client);
    assert_eq!(indication.kind(), Kind::indication(Method::CONNECTION_ATTEMPT));
    assert_eq!(indication.kind().class, Class::Indication);
    assert_eq!(indication.connection(), Some(connection.get()));
    assert_eq!(indication.peer(), Some(at(PEER)));
    assert_eq!(server.incoming(relay, at(OTHER)), Err(Dropped::NoPermission));
    // The one that is there already is the only one with this peer.
    assert_eq!(refused(&connect(&mut server, &mut client, PEER)), 446);
    server.advance(Duration::from_secs(300));
    assert_eq!(server.incoming(relay, at("1.1.1.1:81")), Err(Dropped::NoPermission));
    assert_eq!(server.stats.connections_in.get(), 1);
    assert_eq!(server.stats.dropped[Dropped::NoPermission as usize].get(), 3);
}

/// RFC 6062 §4.3 and §5.2 know no permission but the policy's (403): a Connect needs none, and makes none.
#[test]
fn a_connect_makes_no_permission() {
    let mut server = server();
    let mut client = alice("198.51.100.7:1000");
    let allocated = client.allocate_tcp(&mut server);
    let relay = relay_of(&server, &allocated);
    reach(&mut server, &mut client, PEER);
    assert_eq!(server.incoming(relay, at("1.1.1.1:81")), Err(Dropped::NoPermission));
}

#[test]
fn datagrams_have_no_business_in_a_tcp_allocation() {
    let mut server = server();
    let mut client = alice("198.51.100.7:1000");
    let allocated = client.allocate_tcp(&mut server);
    let relay = relay_of(&server, &allocated);
    assert!(client.permit(&mut server, &[at(PEER)]).success());
    assert_eq!(client.bind(&mut server, 0x4000, at(PEER)).code(), 437);
    // RFC 8656 §12.2: a channel brings a permission along; one that is refused does not.
    assert_eq!(client.bind(&mut server, 0x4000, at(OTHER)).code(), 437);
    assert_eq!(server.incoming(relay, at(OTHER)), Err(Dropped::NoPermission));
    let sent = server.receive(&client.client, &send_indication(at(PEER), b"data"));
    assert_eq!(sent, Verdict::Drop(Dropped::TcpAllocation));
    let sent = server.receive(&client.client, &channel_data(0x4000, b"data"));
    assert_eq!(sent, Verdict::Drop(Dropped::NoChannel));
}
