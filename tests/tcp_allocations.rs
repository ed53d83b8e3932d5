//! Allocations that relay TCP (RFC 6062), on the wire: how a client and its peers come to be connected.

mod common;

use std::io::Write;
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use common::{
    Client, LOCALHOST, Leg, Setup, TcpPeer, connected, dial, eventually, is_closed, new_id,
    read_exactly, read_to_end,
};
use socket2::{Domain, SockRef, Socket, Type};
use turnwire::stun::{Method, attribute};

#[test]
fn a_client_reaches_a_peer_from_its_relayed_address() {
    let server = Setup::with_local_peers().start();
    let (_control, mut data, mut peer) = connected(&server);
    data.write_all(b"to the peer").unwrap();
    assert_eq!(read_exactly(&mut peer, 11), b"to the peer");
    peer.write_all(b"to the client").unwrap();
    assert_eq!(read_exactly(&mut data, 13), b"to the client");
    let bytes = |direction: &str| {
        server.metric(&format!("relayed_bytes_total{{direction=\"{direction}\"}}"))
    };
    assert_eq!((bytes("to_peer"), bytes("to_client")), (11, 13));
    assert_eq!(server.metric("peer_connections_total{direction=\"out\"}"), 1);
    assert_eq!(server.metric("peer_connections_bound_total"), 1);
    assert_eq!(server.metric("peer_connections_live"), 1);
}

#[test]
fn a_peer_reaches_a_client_that_has_permitted_it() {
    let server = Setup::with_local_peers().start();
    let mut control = Client::tcp(&server);
    let relayed = control.allocate_tcp();
    // RFC 6062 §5.3: without a permission it is accepted and closed at once.
    is_closed(&mut dial(relayed));
    control.permit(SocketAddr::new(LOCALHOST, 9));
    let mut peer = dial(relayed);
    peer.write_all(b"said before it is bound ").unwrap();
    let (address, connection) = control.attempt();
    assert_eq!(address, peer.local_addr().unwrap());
    let mut data = Client::tcp(&server).into_data(connection);
    peer.write_all(b"and after").unwrap();
    assert_eq!(read_exactly(&mut data, 33), b"said before it is bound and after");
    data.write_all(b"answer").unwrap();
    assert_eq!(read_exactly(&mut peer, 6), b"answer");
    assert_eq!(server.metric("peer_connections_total{direction=\"in\"}"), 1);
    assert_eq!(server.drops("no_permission"), 1);
}

/// RFC 6062 §4.5: from the ConnectionBind's success on, the connection carries the peer's bytes.
#[test]
fn what_follows_the_bind_at_once_belongs_to_the_peer() {
    let server = Setup::with_local_peers().start();
    let mut control = Client::tcp(&server);
    control.allocate_tcp();
    let peer = TcpPeer::at(LOCALHOST);
    let connection = control.connect(peer.address);
    let (mut stream, _) = peer.accept();
    let mut client = Client::tcp(&server);
    let mut bytes = client.signed(Method::CONNECTION_BIND, &new_id(), |writer| {
        writer.number(attribute::CONNECTION_ID, connection);
    });
    // These look like a STUN message, and are none of the server's business.
    let allocate = client.signed(Method::ALLOCATE, &new_id(), |_| ());
    bytes.extend_from_slice(&allocate);
    client.write(&bytes);
    assert_eq!(read_exactly(&mut stream, allocate.len()), allocate);
    stream.shutdown(Shutdown::Write).unwrap();
    let Leg::Tcp(mut rest, _) = client.leg else { panic!("it is on TCP") };
    // Nothing but the response.
    let response = read_to_end_after_fin(&mut rest);
    assert_eq!(response[..2], [0x01, 0x0B]);
    assert_eq!(usize::from(u16::from_be_bytes([response[2], response[3]])) + 20, response.len());
}

fn read_to_end_after_fin(stream: &mut TcpStream) -> Vec<u8> {
    stream.shutdown(Shutdown::Write).unwrap();
    read_to_end(stream)
}

/// RFC 6062 §5.2
#[test]
fn a_peer_that_does_not_listen_is_447_and_one_that_is_there_446() {
    let server = Setup::with_local_peers().start();
    let mut control = Client::tcp(&server);
    control.allocate_tcp();
    // It holds the port, and does not listen.
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder.bind(&SocketAddr::new(LOCALHOST, 0).into()).unwrap();
    let closed = holder.local_addr().unwrap().as_socket().unwrap();
    for _ in 0..3 {
        assert_eq!(control.try_connect(closed).code(), 447);
    }
    let peer = TcpPeer::at(LOCALHOST);
    let connection = control.connect(peer.address);
    for _ in 0..3 {
        assert_eq!(control.try_connect(peer.address).code(), 446);
    }
    let (mut stream, _) = peer.accept();
    let mut data = Client::tcp(&server).into_data(connection);
    assert_eq!(control.try_connect(peer.address).code(), 446);
    data.write_all(b"still there").unwrap();
    assert_eq!(read_exactly(&mut stream, 11), b"still there");
    drop((data, stream));
    eventually("it is over", || (server.metric("peer_connections_live") == 0).then_some(()));
    control.connect(peer.address);
    assert_eq!(server.refusals("connect_failed", 447), 3);
    assert_eq!(server.refusals("connection_exists", 446), 4);
}

/// One well-known server never answers anybody again after two Connects to one peer.
#[test]
fn connects_to_a_peer_that_is_silent_hold_nobody_up() {
    let server = Setup::with_local_peers().start();
    // Its queue is full, so that the handshake of the next one is not answered.
    let silent = full_listener();
    let mut control = Client::tcp(&server);
    control.allocate_tcp();
    let request = |control: &mut Client| {
        let request = control.signed(Method::CONNECT, &new_id(), |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, silent.address);
        });
        control.write(&request);
    };
    request(&mut control);
    assert_eq!(control.try_connect(silent.address).code(), 446);
    request(&mut control);
    let (_control, mut data, mut peer) = connected(&server);
    data.write_all(b"others go on").unwrap();
    assert_eq!(read_exactly(&mut peer, 12), b"others go on");
    // Deleting the allocation ends what is still waited for.
    assert_eq!(control.refresh(0).code(), 0);
    assert_eq!(control.try_connect(silent.address).code(), 437);
}

struct FullListener {
    address: SocketAddr,
    _sockets: Vec<Socket>,
}

fn full_listener() -> FullListener {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::new(LOCALHOST, 0).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        // It waits in the queue or for a place in it.
        let _ = socket.connect(&address);
        sockets.push(socket);
    }
    FullListener { address: address.as_socket().unwrap(), _sockets: sockets }
}

#[test]
fn a_bind_finds_its_connection_whatever_worker_it_comes_to() {
    const WORKERS: usize = 3;
    // The kernel chooses a worker for each control connection: that it is the same for all is one in ten millions.
    const CONTROLS: usize = 16;
    const EACH: usize = 3;
    let server = Setup::with_local_peers().flag("--workers", WORKERS).start();
    let mut controls: Vec<_> = (0..CONTROLS).map(|_| Client::tcp(&server)).collect();
    let mut pairs = Vec::new();
    for control in &mut controls {
        control.allocate_tcp();
        for _ in 0..EACH {
            let peer = TcpPeer::at(LOCALHOST);
            let connection = control.connect(peer.address);
            pairs.push((connection, peer.accept().0));
        }
    }
    let servers: std::collections::BTreeSet<_> =
        pairs.iter().map(|(connection, _)| connection % WORKERS as u32).collect();
    assert!(servers.len() > 1, "all on one worker: too few connections to tell");
    for (connection, mut stream) in pairs {
        let mut data = Client::tcp(&server).into_data(connection);
        data.write_all(&connection.to_be_bytes()).unwrap();
        assert_eq!(read_exactly(&mut stream, 4), connection.to_be_bytes());
        stream.write_all(b"back").unwrap();
        assert_eq!(read_exactly(&mut data, 4), b"back");
    }
    // What is wrong there is answered there as well, and the connection goes on.
    for _ in 0..4 * WORKERS {
        let mut client = Client::tcp(&server);
        for unknown in 0..WORKERS as u32 {
            assert_eq!(client.try_bind_connection(unknown).code(), 400);
        }
        client.fence();
        client.allocate_tcp();
    }
    eventually("all data connections are closed", || {
        (server.metric("peer_connections_live") == 0).then_some(())
    });
}

#[test]
fn another_user_cannot_take_a_connection() {
    let server = Setup::with_local_peers().start();
    let mut control = Client::tcp(&server);
    control.allocate_tcp();
    let peer = TcpPeer::at(LOCALHOST);
    let connection = control.connect(peer.address);
    let mut bob = Client::tcp(&server).bob();
    assert_eq!(bob.try_bind_connection(connection).code(), 400);
    let (mut stream, _) = peer.accept();
    let mut data = Client::tcp(&server).into_data(connection);
    data.write_all(b"mine").unwrap();
    assert_eq!(read_exactly(&mut stream, 4), b"mine");
}

#[test]
fn ipv6_relays_take_and_make_connections() {
    let server = Setup::with_local_peers().listen("[::1]:0").flag("--relay-ip", "::1").start();
    let mut control = Client::tcp(&server);
    let answer = control.try_allocate_tcp(2);
    assert_eq!(answer.code(), 0);
    let relayed = answer.relayed();
    let peer = TcpPeer::at(Ipv6Addr::LOCALHOST.into());
    let connection = control.connect(peer.address);
    let (mut stream, from) = peer.accept();
    assert_eq!(from, relayed);
    let mut data = Client::tcp(&server).into_data(connection);
    data.write_all(b"six").unwrap();
    assert_eq!(read_exactly(&mut stream, 3), b"six");
    control.permit(peer.address);
    let mut incoming = dial(relayed);
    let (_, connection) = control.attempt();
    let mut data = Client::tcp(&server).into_data(connection);
    incoming.write_all(b"from six").unwrap();
    assert_eq!(read_exactly(&mut data, 8), b"from six");
    assert_eq!(control.try_connect(TcpPeer::at(LOCALHOST).address).code(), 443);
}

/// Two clients of one server, each behind its own relay.
#[test]
fn two_allocations_reach_each_other() {
    let server = Setup::with_local_peers().start();
    let (mut one, mut two) = (Client::tcp(&server), Client::tcp(&server).bob());
    let (first, second) = (one.allocate_tcp(), two.allocate_tcp());
    two.permit(first);
    let out = one.connect(second);
    let (peer, into) = two.attempt();
    assert_eq!(peer, first);
    let mut ends =
        (Client::tcp(&server).into_data(out), Client::tcp(&server).bob().into_data(into));
    ends.0.write_all(b"hello").unwrap();
    assert_eq!(read_exactly(&mut ends.1, 5), b"hello");
}

#[test]
fn tcp_allocations_can_be_turned_off() {
    let server = Setup::with_local_peers().config("[turn]\ntcp_allocations = false").start();
    let mut client = Client::tcp(&server);
    assert_eq!(client.try_allocate_tcp(1).code(), 442);
    client.allocate();
}

#[test]
fn pending_connections_are_bounded() {
    let server = Setup::with_local_peers().config("[limits]\npending_connections = 3").start();
    let mut control = Client::tcp(&server);
    let relayed = control.allocate_tcp();
    control.permit(SocketAddr::new(LOCALHOST, 9));
    let peers: Vec<_> = (0..3).map(|_| dial(relayed)).collect();
    let attempts: Vec<_> = peers.iter().map(|_| control.attempt()).collect();
    is_closed(&mut dial(relayed));
    assert_eq!(server.drops("connection_limit"), 1);
    let other = TcpPeer::at(LOCALHOST);
    assert_eq!(control.try_connect(other.address).code(), 508);
    // One that is lost before it is bound makes room, and is not there to be bound.
    let lost = peers.into_iter().next().unwrap();
    let address = lost.local_addr().unwrap();
    SockRef::from(&lost).set_linger(Some(Duration::ZERO)).unwrap();
    drop(lost);
    let (_, connection) = attempts.into_iter().find(|(peer, _)| *peer == address).unwrap();
    eventually("the server sees it", || (server.metric("peer_connections_live") < 3).then_some(()));
    assert_eq!(Client::tcp(&server).try_bind_connection(connection).code(), 400);
    control.connect(other.address);
}

#[test]
fn a_listener_of_another_program_is_never_taken_for_a_relay() {
    let ip = common::unique_loopback();
    let first = common::free_ports(&[ip], 4);
    let taken: Vec<_> =
        (first..first + 3).map(|port| TcpListener::bind((ip, port)).expect("free")).collect();
    let server = Setup::with_local_peers().relay_on(&[ip], first, 4).start();
    let mut control = Client::tcp(&server);
    assert_eq!(control.allocate_tcp(), SocketAddr::new(ip, first + 3));
    assert_eq!(Client::tcp(&server).try_allocate_tcp(1).code(), 508);
    drop(taken);
}
