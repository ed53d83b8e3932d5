//! Connections with peers that are there (RFC 6062), as the core sees them: who may bind them, what they may cost, and
//! what ends them.

mod core;

use std::time::Duration;

use core::connections::{
    OTHER, PATIENCE, PEER, alice, at, begin, bind, bob, bound, connect, owner, reach, refused,
    relay_of,
};
use core::{Deed, START, Setup, TestClient, TestServer};
use turnwire::auth::{OnExpiry, RestDigest, Secret, mint_password};
use turnwire::stun::{Method, Writer, attribute};
use turnwire::turn::{ConnectFailure, Direction, Dropped, RelayId, Transport, Verdict};

fn server() -> TestServer {
    Setup::default().server()
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
