//! DTLS clients that have proved their addresses and mean ill: what they can take from others.
#![cfg(feature = "dtls")]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::{
    Carried, Client, PATIENCE, Peer, Server, Setup, Trust, arrival, eventually, kind, receive,
    stamp,
};

const CHANNEL: u16 = 0x4000;

/// Handshakes refused because their address has just begun many.
const HASTY: &str = "dtls_refused_total{limit=\"handshakes_per_second\"}";

/// A server with one worker to which these limits apply, whatever the client's address.
fn start(limits: &str) -> (Trust, Server) {
    let trust = Trust::new();
    let config = format!("[listen]\nworkers = 1\n[limits]\nexempt = []\n[limits.dtls]\n{limits}");
    let server = Setup::with_local_peers().certificate(&trust).config(&config).start();
    (trust, server)
}

/// A client's socket at 127.0.0.x.
fn socket_at(last: u8, server: SocketAddr) -> UdpSocket {
    let local: IpAddr = Ipv4Addr::new(127, 0, 0, last).into();
    let socket = UdpSocket::bind((local, 0)).expect("a client's socket");
    socket.connect(server).expect("a route to the server");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// The same hello of another handshake.
fn with_another_random(hello: &[u8], number: u8) -> Vec<u8> {
    let mut other = hello.to_vec();
    // Behind the headers of record and message, and the version.
    other[13 + 12 + 2] ^= number;
    other
}

/// RFC 6347 §4.2.1: whoever has seen a cookie cannot have other handshakes begun with it, each of
/// them a signature, and a certificate for its client.
#[test]
fn a_cookie_is_good_for_the_handshake_that_it_was_asked_for_alone() {
    let (_trust, server) = start("");
    let mut client = Carried::new(socket_at(1, server.address()));
    let hello = client.with_cookie();
    for number in 1..=50 {
        let other = with_another_random(&hello, number);
        client.outside.send(&other).expect("sent");
        let answer = receive(&client.outside);
        assert!(kind(&answer) == 3 && answer.len() < other.len(), "a HelloVerifyRequest");
    }
    assert_eq!(server.metric("dtls_handshakes_begun_total"), 0);
    client.outside.send(&hello).expect("sent");
    for number in 1..=50 {
        client.outside.send(&with_another_random(&hello, number)).expect("sent");
    }
    client.finish();
    let count = |series| server.metric(series);
    assert_eq!((count("dtls_handshakes_begun_total"), count("dtls_cookies_sent_total")), (1, 101));
}

/// Each handshake is a signature and a key exchange, from however many ports they come.
#[test]
fn an_address_begins_so_many_handshakes_a_second_and_no_more() {
    let (_trust, server) = start("handshakes_per_second = 1");
    let hellos = || server.metric("dtls_handshakes_begun_total") + server.metric(HASTY);
    let half_open = |_| Carried::new(socket_at(1, server.address())).half_open();
    let began = Instant::now();
    let mut clients: Vec<_> = (0..20).map(half_open).collect();
    eventually("all hellos are there", || (hellos() == 20).then_some(()));
    let begun = server.metric("dtls_handshakes_begun_total");
    assert!((2..=3 + began.elapsed().as_secs()).contains(&begun), "{begun}");
    // Nor is it a way round to begin anew from the same port.
    let restart = |_| {
        Carried::new(clients[1].outside.try_clone().expect("a second handle")).half_open();
    };
    (0..20).for_each(restart);
    eventually("all hellos are there", || (hellos() == 40).then_some(()));
    let begun = server.metric("dtls_handshakes_begun_total");
    assert!(begun <= 3 + began.elapsed().as_secs(), "{begun}");
    // What was begun goes on, and another address is not concerned.
    clients[0].finish();
    Carried::new(socket_at(2, server.address())).half_open().finish();
}

#[test]
fn nobody_crowds_out_the_handshakes_of_others() {
    let limits = "handshakes = 16\nhandshakes_per_address = 6\nhandshakes_per_second = 0";
    let (_trust, server) = start(limits);
    let half_open = |last| Carried::new(socket_at(last, server.address())).half_open();
    let mut honest = half_open(1);
    let crowded_out = || server.metric("dtls_handshakes_failed_total{cause=\"crowded_out\"}");
    // One address has its share of the table.
    let one: Vec<_> = (0..50).map(|_| half_open(2)).collect();
    eventually("it crowds out itself", || (crowded_out() == 44).then_some(()));
    assert_eq!(server.metric("dtls_half_open"), 7);
    // Several fill it, and have to share it.
    let more: Vec<_> = (0..50).flat_map(|_| [3, 4, 5].map(half_open)).collect();
    eventually("they crowd out themselves", || (crowded_out() == 185).then_some(()));
    assert_eq!(server.metric("dtls_half_open"), 16);
    honest.finish();
    // Nor do they keep out who comes now.
    half_open(6).finish();
    drop((one, more));
}

/// A signature takes as long as a thousand packets: these are not to wait for it.
#[test]
fn packets_leave_before_the_handshakes_that_came_with_them_are_worked_on() {
    let (_trust, server) = start("");
    let (mut client, peer) = (Client::udp(&server), Peer::new());
    client.allocate();
    client.bind(CHANNEL, peer.address);
    stamp(&peer.socket);
    let mut others: Vec<_> =
        (0..20).map(|_| Carried::new(socket_at(1, server.address()))).collect();
    let hellos: Vec<_> = others.iter_mut().map(Carried::with_cookie).collect();
    // All of it comes in one wake-up.
    server.pause();
    client.channel(CHANNEL, b"ahead of them");
    for (other, hello) in others.iter().zip(&hellos) {
        stamp(&other.outside);
        other.outside.send(hello).expect("sent");
    }
    server.resume();
    assert_eq!(peer.payload(), b"ahead of them");
    let packet = arrival(&peer.socket);
    let flights = others.iter().map(|other| {
        assert_eq!(kind(&receive(&other.outside)), 2, "a ServerHello");
        arrival(&other.outside)
    });
    let first = flights.min().expect("twenty");
    // An answer takes a signature.
    let after = first.checked_sub(packet).expect("the packet is first");
    assert!(after > Duration::from_micros(50), "{after:?}");
}

/// RFC 6347 §4.2.3: a fragment says how long its message is, and OpenSSL reserves that at once.
#[test]
fn a_message_that_is_said_to_be_long_gets_no_room() {
    let (_trust, server) = start("");
    let mut fence = Client::udp(&server);
    let half_open = |_| Carried::new(socket_at(1, server.address())).half_open();
    let clients: Vec<_> = (0..40).map(half_open).collect();
    eventually("all have begun", || (server.metric("dtls_half_open") == 40).then_some(()));
    clients.iter().for_each(|client| assert_eq!(kind(&receive(&client.outside)), 2));
    let before = server.resident();
    for number in 0..10 {
        // A record in the clear, with one byte of a ClientKeyExchange of 16 KB.
        let record = [22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 10 + number, 0, 13];
        let message = [16, 0, 62, 128, 0, 3 + number, 0, 0, 0, 0, 0, 1, 7];
        let datagram = [record, message].concat();
        for client in &clients {
            client.outside.send(&datagram).expect("sent");
        }
        (0..10).for_each(|_| fence.fence());
    }
    assert_eq!(server.metric("dtls_half_open"), 40);
    let each = server.resident().saturating_sub(before) / 40;
    assert!(each < 10 << 10, "{each} bytes more for each");
}
