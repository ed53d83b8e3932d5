//! A server that listens on all addresses answers from the one that was asked.

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use common::{Answer, Client, PATIENCE, Peer, Setup, new_id, plain};
use turnwire::stun::{Kind, Method};

const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn wildcard() -> common::Server {
    Setup::with_local_peers().listen("0.0.0.0:0").listen("[::]:0").flag("--relay-ip", RELAY).start()
}

/// Every address under which the wildcard listeners can be asked here.
fn asked(server: &common::Server) -> Vec<SocketAddr> {
    let [v4, v6] = server.listeners() else {
        panic!("two listeners");
    };
    let at = |ip: &str, port| SocketAddr::new(ip.parse().expect("an address"), port);
    vec![
        at("127.0.0.1", v4.port()),
        at("127.0.0.2", v4.port()),
        at("127.7.7.7", v4.port()),
        at("::1", v6.port()),
    ]
}

/// RFC 8489 §6.3: a response comes from where the request went.
#[test]
fn the_answer_comes_from_the_address_that_was_asked() {
    let server = wildcard();
    for address in asked(&server) {
        // Not connected: it takes what comes from anywhere.
        let any = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(any).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = plain(Kind::request(Method::BINDING), &new_id(), |_| ());
        socket.send_to(&request, address).expect("a route");
        let mut buffer = vec![0; 2000];
        let (length, sender) = socket.recv_from(&mut buffer).expect("an answer");
        buffer.truncate(length);
        assert_eq!(sender, address);
        let mapped = Answer(buffer).mapped();
        assert_eq!(Ok(mapped), socket.local_addr().map_err(|_| ()));
    }
}

/// Relayed data comes from there as well, so that it passes the client's NAT.
#[test]
fn relayed_data_comes_from_the_address_that_was_asked() {
    let server = wildcard();
    for address in asked(&server) {
        // These are connected: what comes from elsewhere does not reach them.
        for mut client in [Client::udp_to(address), Client::tcp_to(address)] {
            let relayed = client.allocate();
            let (bound, permitted) = (Peer::new(), Peer::new());
            client.bind(0x4000, bound.address);
            client.channel(0x4000, b"ping");
            assert_eq!(bound.receive(), (b"ping".to_vec(), relayed));
            bound.send(relayed, b"pong");
            assert_eq!(client.channel_data(), (0x4000, b"pong".to_vec()));
            permitted.send(relayed, b"hello");
            assert_eq!(client.data(), (permitted.address, b"hello".to_vec()));
        }
    }
}

/// RFC 8656 §2.2: the server's address is a part of the 5-tuple.
#[test]
fn one_socket_has_an_allocation_for_each_address_that_it_asks() {
    let server = wildcard();
    let addresses = asked(&server);
    let mut client = Client::udp_to(addresses[0]);
    let mut relayed = HashSet::new();
    for address in &addresses[..3] {
        client.move_to(*address);
        relayed.insert(client.allocate());
        assert_eq!(client.try_allocate(|_| ()).code(), 437);
    }
    assert_eq!(relayed.len(), 3);
    assert_eq!(server.live(), 3);
    // Each is ended by itself.
    assert_eq!(client.refresh(0).code(), 0);
    client.move_to(addresses[0]);
    assert_eq!(client.refresh(600).code(), 0);
    assert_eq!(server.live(), 2);
}

/// The server's own listeners are no peers, under none of the addresses that they have.
#[test]
fn wildcard_listeners_are_no_peers() {
    let server = Setup::new()
        .listen("0.0.0.0:0")
        .flag("--relay-ip", RELAY)
        .flag("--relay-ports", "1024-65535")
        .start();
    let port = server.address().port();
    let mut client = Client::udp_to(SocketAddr::new(RELAY, port));
    client.allocate();
    for own in [RELAY, Ipv4Addr::UNSPECIFIED.into()] {
        let own = SocketAddr::new(own, port);
        assert_eq!(client.try_bind(0x4000, own).code(), 403, "{own}");
    }
}
