//! Allocations that relay TCP (RFC 6062), on the wire: what a client and its peers see of them.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Data, Leg, Server, Setup, TcpPeer, dial, eventually, new_id};
use socket2::{Domain, SockRef, Socket, Type};
use turnwire::stun::{Method, attribute};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// `length` bytes that are nowhere the same for long.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let words = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.rotate_left(31).to_le_bytes()
    });
    words.take(length.div_ceil(8)).flatten().take(length).collect()
}

#[track_caller]
fn read_exactly(from: &mut impl Read, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).expect("all of it");
    bytes
}

/// Reads to the end of the stream, which must be an orderly one.
#[track_caller]
fn read_to_end(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("an orderly end");
    bytes
}

/// Waits until the connection is closed, orderly or not.
#[track_caller]
fn is_closed(stream: &mut impl Read) {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it stays open"),
    }
}

/// A client with a TCP allocation, connected with a peer: the control connection, the client's data
/// connection and the peer's end.
fn connected(server: &Server) -> (Client, Data, TcpStream) {
    let mut control = Client::tcp(server);
    let relayed = control.allocate_tcp();
    let peer = TcpPeer::at(LOCALHOST);
    let connection = control.connect(peer.address);
    let (stream, from) = peer.accept();
    assert_eq!(from, relayed, "a connection comes from the relayed transport address");
    let data = Client::tcp(server).into_data(connection);
    (control, data, stream)
}

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

/// Big transfers at once in both directions over several connections, each compared byte for byte.
#[test]
fn megabytes_pass_unchanged_both_ways_at_once() {
    const LENGTH: usize = 4 << 20;
    let server = Setup::with_local_peers().flag("--workers", 2).start();
    let mut control = Client::tcp(&server);
    control.allocate_tcp();
    let pairs: Vec<_> = (0..4_u64)
        .map(|number| {
            let peer = TcpPeer::at(LOCALHOST);
            let connection = control.connect(peer.address);
            let (stream, _) = peer.accept();
            (number, Client::tcp(&server).into_data(connection), stream)
        })
        .collect();
    thread::scope(|scope| {
        for (number, data, stream) in pairs {
            for (seed, mut from, mut to) in [
                (number, data.stream.try_clone().unwrap(), stream.try_clone().unwrap()),
                (number + 100, stream, data.stream),
            ] {
                let sent = pattern(seed, LENGTH);
                let expected = sent.clone();
                scope.spawn(move || {
                    // Pieces of all sizes, so that no boundary is met by chance alone.
                    for (turn, piece) in sent.chunks(1 + 7919 * (seed as usize % 13)).enumerate() {
                        from.write_all(piece).unwrap_or_else(|error| panic!("{turn}: {error}"));
                    }
                    from.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(move || {
                    let got = read_to_end(&mut to);
                    assert!(got == expected, "{} of {LENGTH} bytes", got.len());
                });
            }
        }
    });
    let relayed = server.metric("relayed_bytes_total{direction=\"to_peer\"}");
    assert_eq!(relayed, 4 * LENGTH as u64);
    eventually("all connections have ended", || {
        (server.metric("peer_connections_live") == 0).then_some(())
    });
}

/// RFC 6062 §3: "if the relay process is no longer able to write data to the destination of the
/// relayed data, the relay process stops reading data from the source."
#[test]
fn a_slow_reader_slows_its_writer_and_costs_no_memory() {
    const CONNECTIONS: usize = 10;
    const LENGTH: usize = 32 << 20;
    let server = Setup::with_local_peers().start();
    let mut control = Client::tcp(&server);
    control.allocate_tcp();
    let before = server.resident();
    let bytes = pattern(5, LENGTH + CONNECTIONS);
    let mut stuck: Vec<(Data, TcpStream, usize)> = Vec::new();
    for _ in 0..CONNECTIONS {
        let peer = TcpPeer::at(LOCALHOST);
        let connection = control.connect(peer.address);
        let (stream, _) = peer.accept();
        let data = Client::tcp(&server).into_data(connection);
        stuck.push((data, stream, 0));
    }
    // Every other one is stuck in the other direction.
    for (number, (data, stream, sent)) in stuck.iter_mut().enumerate() {
        let writer = if number % 2 == 0 { &mut *stream } else { &mut data.stream };
        *sent = fill(writer, &bytes[number..]);
        assert!(*sent < LENGTH, "32 MiB went somewhere");
    }
    // The server still does everything else.
    let (_control, mut data, mut peer) = connected(&server);
    data.write_all(b"quick").unwrap();
    assert_eq!(read_exactly(&mut peer, 5), b"quick");
    let grown = server.resident().saturating_sub(before);
    assert!(grown < (CONNECTIONS as u64) * (200 << 10), "{grown} bytes for what nobody reads");
    // Nothing was lost.
    for (number, (mut data, mut stream, sent)) in stuck.into_iter().enumerate() {
        let got = if number % 2 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
            read_to_end(&mut data)
        } else {
            data.stream.shutdown(Shutdown::Write).unwrap();
            read_to_end(&mut stream)
        };
        assert!(got == bytes[number..number + sent], "{} of {sent} bytes", got.len());
    }
}

/// Writes until nothing more goes in for a while, and tells how much went in.
fn fill(writer: &mut TcpStream, bytes: &[u8]) -> usize {
    writer.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut since = Instant::now();
    while sent < bytes.len() && since.elapsed() < Duration::from_millis(150) {
        match writer.write(&bytes[sent..]) {
            Ok(more) => {
                sent += more;
                since = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("the writer is cut off: {error}"),
        }
    }
    writer.set_nonblocking(false).unwrap();
    sent
}

#[test]
fn the_end_of_one_direction_is_passed_on_and_the_other_goes_on() {
    let server = Setup::with_local_peers().start();
    for client_first in [true, false] {
        let (_control, data, peer) = connected(&server);
        let (mut first, mut second) =
            if client_first { (data.stream, peer) } else { (peer, data.stream) };
        first.write_all(b"a question").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut second), b"a question");
        let answer = pattern(7, 300_000);
        let expected = answer.clone();
        let writer = thread::spawn(move || {
            second.write_all(&answer).unwrap();
            second
        });
        assert_eq!(read_exactly(&mut first, expected.len()), expected);
        drop(writer.join().unwrap());
        assert_eq!(read_to_end(&mut first), b"");
        eventually("the connection is over", || {
            (server.metric("peer_connections_live") == 0).then_some(())
        });
    }
}

/// RFC 6062 §5.5: a stream that was cut off must not look as if it had come to its end.
#[test]
fn when_one_end_is_reset_so_is_the_other() {
    let server = Setup::with_local_peers().start();
    for client_dies in [true, false] {
        let (_control, data, peer) = connected(&server);
        let (dies, mut other) = if client_dies { (data.stream, peer) } else { (peer, data.stream) };
        SockRef::from(&dies).set_linger(Some(Duration::ZERO)).unwrap();
        drop(dies);
        let end = other.read(&mut [0; 8]).expect_err("no orderly end");
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    }
    eventually("both are over", || (server.metric("peer_connections_live") == 0).then_some(()));
}

/// RFC 6062 §5.2
#[test]
fn a_peer_that_does_not_listen_is_447_and_one_that_is_there_446() {
    let server = Setup::with_local_peers().start();
    let mut control = Client::tcp(&server);
    control.allocate_tcp();
    let closed = TcpPeer::at(LOCALHOST).address;
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
    const EACH: usize = 12;
    let server = Setup::with_local_peers().flag("--workers", WORKERS).start();
    let mut controls: Vec<_> = (0..4).map(|_| Client::tcp(&server)).collect();
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

/// RFC 6062 §5.5
#[test]
fn data_connections_end_with_their_allocation() {
    let server = Setup::with_local_peers().start();
    for how in ["refresh", "close", "reset"] {
        let (mut control, mut data, mut peer) = connected(&server);
        match how {
            "refresh" => assert_eq!(control.refresh(0).code(), 0),
            "close" => drop(control),
            _ => control.reset(),
        }
        is_closed(&mut data);
        is_closed(&mut peer);
    }
    eventually("each has its line in the log", || {
        let log = server.log();
        let ended = log.lines().filter(|line| line.contains("relay_transport=\"tcp\""));
        (ended.count() == 3).then_some(())
    });
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
fn a_rate_limit_slows_a_data_connection_down_and_loses_nothing() {
    let server = Setup::with_local_peers().config("[limits]\nbytes_per_second = \"200KB\"").start();
    let (_control, data, mut peer) = connected(&server);
    let mut stream = data.stream;
    let bytes = pattern(3, 400_000);
    let expected = bytes.clone();
    let start = Instant::now();
    let writer = thread::spawn(move || {
        stream.write_all(&bytes).unwrap();
        stream
    });
    assert!(read_exactly(&mut peer, expected.len()) == expected);
    // One second's worth at once, and one with the time it takes.
    let taken = start.elapsed();
    assert!(taken > Duration::from_millis(800), "{taken:?}");
    drop(writer.join().unwrap());
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

/// What a peer said before it went is not lost with it.
#[test]
fn a_peer_may_be_gone_when_its_connection_is_bound() {
    let server = Setup::with_local_peers().start();
    let mut control = Client::tcp(&server);
    let relayed = control.allocate_tcp();
    control.permit(SocketAddr::new(LOCALHOST, 9));
    let mut peer = dial(relayed);
    peer.write_all(b"that was all").unwrap();
    drop(peer);
    let (_, connection) = control.attempt();
    let mut data = Client::tcp(&server).into_data(connection);
    assert_eq!(read_to_end(&mut data), b"that was all");
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
