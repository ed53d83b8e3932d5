//! DTLS handshakes on a network that loses datagrams (RFC 6347 §4.2.4), by the server's real clock.
//! With a clock that is stepped, and a network that doubles and reorders, see `tls/dtls/tests.rs`.
#![cfg(feature = "dtls")]

mod common;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::{Client, Dtls, PATIENCE, Peer, Setup, Trust, Way, eventually};

const CHANNEL: u16 = 0x4000;

fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a client's socket");
    socket.connect(server).expect("a route to the server");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// One of four is lost in each direction: each of the first four on its way, with each of the
/// first four on the way back.
#[test]
fn a_quarter_lost_each_way_delays_and_prevents_nothing() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    let lossy = |(out, back): (usize, usize)| {
        let loses = move |way, number| match way {
            Way::Out => number % 4 == out,
            Way::In => number % 4 == back,
        };
        Dtls::lossy(socket(server.address()), Box::new(loses))
    };
    let all = (0..4).flat_map(|out| (0..4).map(move |back| (out, back)));
    let mut waiting: Vec<_> = all.map(lossy).collect();
    let mut complete = Vec::new();
    eventually("all have an association", || {
        complete.extend(waiting.extract_if(.., |dtls| dtls.step()));
        waiting.is_empty().then_some(())
    });
    assert_eq!(server.metric("dtls_handshakes_begun_total"), 16);
    for mut dtls in complete {
        dtls.heal();
        let (mut client, peer) = (Client::on_association(dtls), Peer::new());
        let relayed = client.allocate();
        client.bind(CHANNEL, peer.address);
        client.channel(CHANNEL, b"there");
        assert_eq!(peer.receive(), (b"there".to_vec(), relayed));
        peer.send(relayed, b"and back");
        assert_eq!(client.channel_data(), (CHANNEL, b"and back".to_vec()));
    }
    assert_eq!(server.metric("dtls_associations_live"), 16);
}

/// The client is silent: it is the server's own timer that repeats the flight.
#[test]
fn a_flight_that_nobody_answers_comes_again_by_itself() {
    let trust = Trust::new();
    let server = Setup::new().certificate(&trust).start();
    // All that it gets is the HelloVerifyRequest.
    let mut dtls =
        Dtls::lossy(socket(server.address()), Box::new(|way, number| way == Way::In && number > 0));
    eventually("it has sent its cookie", || {
        assert!(!dtls.step());
        (dtls.sent() == 2).then_some(())
    });
    let begun = Instant::now();
    dtls.heal();
    let mut first = [0; 14];
    loop {
        dtls.socket().peek(&mut first).expect("a flight");
        // RFC 6347 §4.2.4.1: a second, and no less. What came at once is lost.
        if begun.elapsed() > Duration::from_millis(900) {
            break;
        }
        dtls.socket().recv(&mut first).expect("what is there");
    }
    assert_eq!(first[13], 2, "a ServerHello");
    assert_eq!(server.metric("dtls_half_open"), 1);
    // It listens again, and has all it needs.
    assert!(dtls.step());
    Client::on_association(dtls).fence();
}
