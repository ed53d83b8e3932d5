//! DTLS clients that have proved their addresses and mean ill: what they can take from others.
#![cfg(feature = "dtls")]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use common::{Carried, PATIENCE, Server, Setup, Trust, kind, receive};

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
