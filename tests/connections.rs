//! TCP allocations as the core sees them (RFC 6062): what is asked, answered, waited for and ended,
//! with a clock that is stepped by hand and connections that are none.

mod core;

use std::net::SocketAddr;
use std::time::Duration;

use core::{
    Deed, RELAYS, Response, START, Setup, TestClient, TestServer, channel_data, send_indication,
};
use turnwire::auth::{OnExpiry, RestDigest, Secret, mint_password};
use turnwire::stun::{Class, Kind, Method, Writer, attribute};
use turnwire::turn::{
    Cause, ConnectFailure, ConnectionId, Direction, Dropped, EndReason, Protocol, RelayId,
    Transport, Verdict,
};

const PEER: &str = "1.1.1.1:80";
const OTHER: &str = "1.1.1.2:80";
const PATIENCE: Duration = Duration::from_secs(30);

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

fn server() -> TestServer {
    Setup::default().server()
}

fn alice(address: &str) -> TestClient {
    TestClient::over(Transport::Tcp, address, "alice", "wonder")
}

fn bob(address: &str) -> TestClient {
    TestClient::over(Transport::Tcp, address, "bob", "builder")
}

/// A client on TCP with an allocation that relays TCP.
fn owner(server: &mut TestServer) -> TestClient {
    let mut client = alice("198.51.100.7:1000");
    assert_eq!(client.allocate_tcp(server).code(), 0);
    client
}

fn relay_of(server: &TestServer, response: &Response) -> RelayId {
    let relayed = response.relayed()[0];
    let local = RELAYS.iter().find(|relay| relay.advertised == relayed.ip()).unwrap().local;
    server.sockets.relay_at(SocketAddr::new(local, relayed.port())).expect("an open relay")
}

fn with_peer(peer: SocketAddr) -> impl Fn(&mut Writer<'_>) {
    move |writer| writer.xor_address(attribute::XOR_PEER_ADDRESS, peer)
}

fn connect(server: &mut TestServer, client: &mut TestClient, peer: &str) -> Verdict {
    let request = client.build(Method::CONNECT, with_peer(at(peer)));
    server.receive(&client.client, &request)
}

/// A Connect that the server goes about.
fn begin(server: &mut TestServer, client: &mut TestClient, peer: &str) -> ConnectionId {
    assert_eq!(connect(server, client, peer), Verdict::Later);
    let [Deed::Connect(connection, _, to)] = server.deeds()[..] else {
        panic!("nothing is done about it");
    };
    assert_eq!(to, at(peer));
    connection
}

/// A Connect that succeeds.
fn reach(server: &mut TestServer, client: &mut TestClient, peer: &str) -> ConnectionId {
    let connection = begin(server, client, peer);
    let (told, response) = server.connected(connection, Ok(())).expect("somebody waits");
    assert_eq!(told, client.client);
    assert_eq!(response.connection(), Some(connection.get()));
    connection
}

/// The code of a refusal.
fn refused(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Reply(reply) => reply.refusal.map_or(0, Cause::code),
        other => panic!("not refused: {other:?}"),
    }
}

/// A ConnectionBind on a connection of its own.
fn bind(server: &mut TestServer, client: &mut TestClient, connection: u32) -> Verdict {
    let fill = |writer: &mut Writer<'_>| writer.number(attribute::CONNECTION_ID, connection);
    let request = client.build(Method::CONNECTION_BIND, fill);
    let verdict = server.receive(&client.client, &request);
    if client.nonce.is_none() {
        let Verdict::Reply(reply) = verdict else { panic!("no challenge but {verdict:?}") };
        client.learn(&server.reply(reply.length));
        let request = client.build(Method::CONNECTION_BIND, fill);
        return server.receive(&client.client, &request);
    }
    verdict
}

fn bound(verdict: &Verdict) -> Option<ConnectionId> {
    match verdict {
        Verdict::Bound(_, connection) => Some(*connection),
        _ => None,
    }
}

/// RFC 6062 §5.1
#[test]
fn a_tcp_allocation_needs_a_stream_and_nothing_that_is_for_udp() {
    let mut server = server();
    let mut datagrams = TestClient::new("198.51.100.7:1000", "alice", "wonder");
    assert_eq!(datagrams.allocate_tcp(&mut server).code(), 400);
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

/// RFC 6062 §5.2 says nothing of a permission: a Connect needs none, and makes none.
#[test]
fn a_connect_makes_no_permission() {
    let mut server = server();
    let mut client = alice("198.51.100.7:1000");
    let allocated = client.allocate_tcp(&mut server);
    let relay = relay_of(&server, &allocated);
    reach(&mut server, &mut client, PEER);
    assert_eq!(server.incoming(relay, at("1.1.1.1:81")), Err(Dropped::NoPermission));
}

/// RFC 6062 §5.4
#[test]
fn only_its_user_binds_a_connection_and_only_once() {
    let mut server = server();
    let mut client = owner(&mut server);
    let connection = begin(&mut server, &mut client, PEER);
    let mut data = alice("198.51.100.7:1001");
    // The peer has not answered yet.
    assert_eq!(refused(&bind(&mut server, &mut data, connection.get())), 400);
    server.connected(connection, Ok(())).expect("somebody waits");
    assert_eq!(data.request(&mut server, Method::CONNECTION_BIND, |_| ()).code(), 400);
    let unknown = connection.get().wrapping_add(1);
    assert_eq!(refused(&bind(&mut server, &mut data, unknown)), 400);
    let mut stranger = bob("198.51.100.8:1001");
    assert_eq!(refused(&bind(&mut server, &mut stranger, connection.get())), 400);
    let mut datagrams = TestClient::new("198.51.100.7:1001", "alice", "wonder");
    assert_eq!(refused(&bind(&mut server, &mut datagrams, connection.get())), 400);
    // A control connection cannot carry data as well.
    assert_eq!(refused(&bind(&mut server, &mut client, connection.get())), 437);
    let verdict = bind(&mut server, &mut data, connection.get());
    let Verdict::Bound(reply, found) = verdict else { panic!("{verdict:?}") };
    assert_eq!(found, connection);
    let response = server.reply(reply.length);
    assert!(response.success() && response.signed(&data.key()).is_some());
    let mut second = alice("198.51.100.7:1002");
    assert_eq!(refused(&bind(&mut server, &mut second, connection.get())), 400);
    assert_eq!(server.stats.connections_bound.get(), 1);
}

/// RFC 6062 §4.3: "the same method and credentials as for the control connection". A client that
/// takes the nonce along needs no challenge of its own, and keeps the nonce good for both.
#[test]
fn the_nonce_of_the_control_connection_serves_to_bind() {
    let mut server = server();
    let mut client = owner(&mut server);
    let connection = reach(&mut server, &mut client, PEER);
    let mut data = client.clone();
    data.client = alice("198.51.100.7:1001").client;
    assert_eq!(bound(&bind(&mut server, &mut data, connection.get())), Some(connection));
    // It opens nothing else: not another connection's door, and no other request.
    let mut other = data.sibling("198.51.100.7:1002");
    (other.realm, other.nonce) = (data.realm.clone(), data.nonce.clone());
    assert_eq!(refused(&bind(&mut server, &mut other, connection.get() ^ 1)), 438);
    let packet = other.build(Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 6 << 24);
    });
    assert_eq!(server.ask(&other.client, &packet).code(), 438);
}

/// RFC 6062 §5.5
#[test]
fn connections_end_with_their_allocation() {
    let mut server = server();
    let mut client = owner(&mut server);
    let going = begin(&mut server, &mut client, PEER);
    let made = reach(&mut server, &mut client, OTHER);
    let used = reach(&mut server, &mut client, "1.1.1.3:80");
    let mut data = alice("198.51.100.7:1001");
    assert!(bound(&bind(&mut server, &mut data, used.get())).is_some());
    assert_eq!(client.refresh(&mut server, 0).code(), 0);
    assert_eq!(server.deeds(), [going, made, used].map(Deed::Close));
    assert_eq!(server.connected(going, Ok(())), None);
    assert_eq!(refused(&bind(&mut server, &mut data, made.get())), 400);
    server.assert_empty();
    // The same when its control connection is lost, and when its time is over.
    let mut client = owner(&mut server);
    let lost = reach(&mut server, &mut client, PEER);
    let TestServer { server: core, sockets, stats, now, .. } = &mut server;
    core.disconnected(*now, &client.client, sockets, stats);
    assert_eq!(server.deeds(), [Deed::Close(lost)]);
    let mut client = owner(&mut server);
    let late = reach(&mut server, &mut client, PEER);
    assert!(bound(&bind(&mut server, &mut data, late.get())).is_some());
    server.advance(Duration::from_secs(600));
    assert_eq!(server.deeds(), [Deed::Close(late)]);
    server.assert_empty();
}

#[test]
fn a_family_that_ends_takes_its_own_connections_with_it() {
    let mut server = server();
    let mut client = alice("198.51.100.7:1000");
    let response = client.request(&mut server, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 6 << 24);
        writer.number(attribute::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
    });
    assert_eq!(response.relayed().len(), 2);
    let four = reach(&mut server, &mut client, PEER);
    let six = begin(&mut server, &mut client, "[2600::1]:80");
    let response = client.request(&mut server, Method::REFRESH, |writer| {
        writer.number(attribute::LIFETIME, 0);
        writer.number(attribute::REQUESTED_ADDRESS_FAMILY, 2 << 24);
    });
    assert!(response.success());
    assert_eq!(server.deeds(), [Deed::Close(six)]);
    let mut data = alice("198.51.100.7:1001");
    assert_eq!(bound(&bind(&mut server, &mut data, four.get())), Some(four));
}

#[test]
fn datagrams_have_no_business_in_a_tcp_allocation() {
    let mut server = server();
    let mut client = owner(&mut server);
    assert!(client.permit(&mut server, &[at(PEER)]).success());
    assert_eq!(client.bind(&mut server, 0x4000, at(PEER)).code(), 437);
    let sent = server.receive(&client.client, &send_indication(at(PEER), b"data"));
    assert_eq!(sent, Verdict::Drop(Dropped::TcpAllocation));
    let sent = server.receive(&client.client, &channel_data(0x4000, b"data"));
    assert_eq!(sent, Verdict::Drop(Dropped::NoChannel));
}

#[test]
fn connections_are_bounded_by_allocation_and_by_user() {
    let mut setup = Setup::default();
    setup.turn.limits.connections = 4;
    setup.turn.limits.pending_connections = 2;
    setup.turn.limits.connections_per_user = 5;
    let mut servers = setup.servers(2);
    let mut client = alice("198.51.100.7:1000");
    let mut relay = RelayId::from_index(0);
    let use_one = |server: &mut TestServer, client: &mut TestClient, last: u8| {
        let connection = reach(server, client, &format!("1.1.1.{last}:80"));
        let mut data = client.sibling(&format!("198.51.100.7:{}", 2000 + u16::from(last)));
        assert!(bound(&bind(server, &mut data, connection.get())).is_some());
    };
    for server in &mut servers {
        let allocated = client.allocate_tcp(server);
        relay = relay_of(server, &allocated);
        assert!(client.permit(server, &[at("1.1.1.9:1")]).success());
        begin(server, &mut client, "1.1.1.1:80");
        begin(server, &mut client, "1.1.1.2:80");
        assert_eq!(refused(&connect(server, &mut client, "1.1.1.3:80")), 508);
        assert_eq!(server.incoming(relay, at("1.1.1.9:9")), Err(Dropped::ConnectionLimit));
        server.advance(PATIENCE);
        for deed in server.deeds() {
            let Deed::GiveUp(connection) = deed else { panic!("{deed:?}") };
            server.connected(connection, Err(ConnectFailure::TimedOut)).expect("it waits");
        }
    }
    for last in 1..=4 {
        use_one(&mut servers[0], &mut client, last);
    }
    assert_eq!(refused(&connect(&mut servers[0], &mut client, "1.1.1.5:80")), 508);
    use_one(&mut servers[1], &mut client, 5);
    assert_eq!(refused(&connect(&mut servers[1], &mut client, "1.1.1.6:80")), 486);
    let beyond = servers[1].incoming(relay, at("1.1.1.9:9"));
    assert_eq!(beyond, Err(Dropped::ConnectionLimit));
    // Another user has an allowance of its own, and what has ended counts no more.
    let mut other = bob("198.51.100.8:1000");
    assert!(other.allocate_tcp(&mut servers[1]).success());
    reach(&mut servers[1], &mut other, PEER);
    assert!(client.refresh(&mut servers[0], 0).success());
    reach(&mut servers[1], &mut client, "1.1.1.6:80");
}

#[test]
fn a_bind_that_comes_to_another_server_is_sent_to_the_right_one() {
    let mut servers = Setup::default().servers(3);
    for number in 0..3_u32 {
        let mut client = alice(&format!("198.51.100.7:{}", 1000 + number));
        let server = &mut servers[number as usize];
        assert!(client.allocate_tcp(server).success());
        let connection = reach(server, &mut client, PEER);
        let mut data = alice(&format!("198.51.100.7:{}", 2000 + number));
        let wrong = (number as usize + 1) % 3;
        // The challenge comes from whom it asks first.
        let verdict = bind(&mut servers[wrong], &mut data, connection.get());
        assert_eq!(verdict, Verdict::Elsewhere(number));
        let fill = |writer: &mut Writer<'_>| {
            writer.number(attribute::CONNECTION_ID, connection.get());
        };
        let request = data.build(Method::CONNECTION_BIND, fill);
        // A server that has no time leaves the answer to the first.
        let busy = servers[wrong].receive_here(&data.client, &request);
        assert_eq!(refused(&busy), 508);
        let right = &mut servers[number as usize];
        assert_eq!(bound(&right.receive(&data.client, &request)), Some(connection));
    }
}

#[test]
fn an_expired_credential_may_bind_if_it_may_go_on() {
    for (on_expiry, may) in [(OnExpiry::Keep, true), (OnExpiry::Refuse, false)] {
        let mut setup = Setup::default();
        setup.auth.secrets = vec![Secret::new("north")];
        setup.auth.on_expiry = on_expiry;
        let mut server = setup.server();
        let name = format!("{}:carol", START.unix + 60);
        let password = mint_password(RestDigest::Sha1, &Secret::new("north"), &name);
        let over = |address| TestClient::over(Transport::Tcp, address, &name, &password);
        let mut client = over("198.51.100.7:1000");
        assert!(client.allocate_tcp(&mut server).success());
        server.advance(Duration::from_secs(59));
        let connection = reach(&mut server, &mut client, PEER);
        server.advance(Duration::from_secs(2));
        let verdict = bind(&mut server, &mut over("198.51.100.7:1001"), connection.get());
        assert_eq!(bound(&verdict).is_some(), may, "{on_expiry:?}: {verdict:?}");
    }
}

#[test]
fn bytes_of_data_connections_are_counted_and_paced() {
    let mut setup = Setup::default();
    setup.turn.limits.bytes_per_second = 1000;
    setup.turn.limits.user_bytes_per_second = 1500;
    let mut server = setup.server();
    let mut client = owner(&mut server);
    let connection = reach(&mut server, &mut client, PEER);
    let (start, stats) = (server.now.mono, &server.stats);
    let mut relayed = |direction, bytes, after: u64| {
        let now = start + Duration::from_millis(after);
        let until = server.server.relayed(now, connection, direction, bytes, stats);
        until.map(|until| until.since(start).as_millis())
    };
    // One second's worth may come at once; what is on top is waited for.
    assert_eq!(relayed(Direction::ToPeer, 1000, 0), None);
    assert_eq!(relayed(Direction::ToPeer, 500, 0), Some(500));
    assert_eq!(relayed(Direction::ToClient, 10, 0), None);
    assert_eq!(relayed(Direction::ToPeer, 100, 500), Some(600));
    assert_eq!(relayed(Direction::ToPeer, 2000, 1600), Some(2600));
    assert!(client.refresh(&mut server, 0).success());
    let traffic = server.ended().remove(0).traffic;
    assert_eq!((traffic.to_peer_bytes, traffic.to_client_bytes), (3600, 10));
    assert_eq!((traffic.to_peer_packets, traffic.to_client_packets), (0, 0));
    assert_eq!(server.stats.to_peer_bytes.get(), 3600);
}
