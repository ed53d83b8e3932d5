//! Bytes between a client and a TCP peer (RFC 6062), on the wire: all of them, at the pace of who reads, to the end.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    Client, Data, LOCALHOST, Setup, TcpPeer, connected, dial, eventually, is_closed,
    more_than_buffers, pattern, read_exactly, read_to_end,
};
use socket2::SockRef;

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
    let length = more_than_buffers();
    let server = Setup::with_local_peers().start();
    let mut control = Client::tcp(&server);
    control.allocate_tcp();
    let before = server.resident();
    let bytes = pattern(5, length + CONNECTIONS);
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
        assert!(*sent < length, "{sent} bytes went somewhere");
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
