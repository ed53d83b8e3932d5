//! NAT behaviour discovery on the wire: RFC 5780's tests, and RFC 3489's, against two addresses
//! and two ports of this host.

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};

use common::{Answer, Client, PATIENCE, Server, Setup, new_id, plain};
use turnwire::stun::{Kind, Method, Writer, attribute, decode_address};

const BINDING: Kind = Kind::request(Method::BINDING);
const BOTH: u32 = 6;

fn start(setup: Setup) -> Server {
    setup.listen("127.0.0.1:0").flag("--nat-alternate", "127.0.0.2:0").start()
}

/// A1P1 and A2P2, as a client learns them.
fn learn(server: &Server) -> [SocketAddr; 2] {
    let answer = Client::udp(server).exchange(&plain(BINDING, &new_id(), |_| ()));
    assert_eq!(told(&answer, attribute::RESPONSE_ORIGIN), server.address());
    [server.address(), told(&answer, attribute::OTHER_ADDRESS)]
}

/// All four.
fn corners(server: &Server) -> Vec<SocketAddr> {
    let [first, second] = learn(server);
    let with = |ip: IpAddr| [first.port(), second.port()].map(|port| SocketAddr::new(ip, port));
    [with(first.ip()), with(second.ip())].concat()
}

#[track_caller]
fn told(answer: &Answer, kind: u16) -> SocketAddr {
    decode_address(answer.attribute(kind).expect("an address")).expect("an address")
}

/// A client that takes datagrams from anybody.
fn open_client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Answer, SocketAddr) {
    let mut buffer = [0; 4096];
    let (length, from) = socket.recv_from(&mut buffer).expect("an answer");
    (Answer(buffer[..length].to_vec()), from)
}

fn ask(
    socket: &UdpSocket,
    server: SocketAddr,
    fill: impl Fn(&mut Writer<'_>),
) -> (Answer, SocketAddr) {
    socket.send_to(&plain(BINDING, &new_id(), fill), server).unwrap();
    receive(socket)
}

/// RFC 5780 §6
#[test]
fn all_four_addresses_answer_over_udp_and_tcp_and_tell_of_the_other() {
    let server = start(Setup::new());
    let all = corners(&server);
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|corner| server.listeners().contains(corner)));
    let opposite = |corner: &SocketAddr| {
        let other = |it: &&SocketAddr| it.ip() != corner.ip() && it.port() != corner.port();
        *all.iter().find(other).unwrap()
    };
    for corner in &all {
        for mut client in [Client::udp_to(*corner), Client::tcp_to(*corner)] {
            let answer = client.exchange(&plain(BINDING, &new_id(), |_| ()));
            assert_eq!(answer.mapped(), client.local());
            assert_eq!(told(&answer, attribute::MAPPED_ADDRESS), client.local());
            assert_eq!(told(&answer, attribute::RESPONSE_ORIGIN), *corner);
            assert_eq!(told(&answer, attribute::OTHER_ADDRESS), opposite(corner));
        }
    }
}

/// RFC 5780 §4.4, §6.1
#[test]
fn answers_really_come_from_where_they_are_wanted_and_say_so() {
    let server = start(Setup::new().flag("--workers", 2));
    let all = corners(&server);
    for to in &all {
        for (flags, ip_changes, port_changes) in
            [(0, false, false), (4, true, false), (2, false, true), (BOTH, true, true)]
        {
            let client = open_client();
            let (answer, from) =
                ask(&client, *to, |writer| writer.number(attribute::CHANGE_REQUEST, flags));
            assert_eq!(told(&answer, attribute::RESPONSE_ORIGIN), from);
            assert!(all.contains(&from));
            let changed = (from.ip() != to.ip(), from.port() != to.port());
            assert_eq!(changed, (ip_changes, port_changes));
            assert_eq!(answer.mapped(), client.local_addr().unwrap());
        }
    }
    let series = "nat_discovery_total{request=\"change_request\"}";
    assert_eq!(server.metric(series), 12);
}

/// RFC 5780 §4.6
#[test]
fn an_answer_goes_to_another_port_of_the_client_that_has_been_quiet() {
    let server = start(Setup::new());
    let [first, _] = learn(&server);
    let (quiet, other) = (open_client(), open_client());
    let port = quiet.local_addr().unwrap().port();
    let request = plain(BINDING, &new_id(), |writer| {
        writer.number(attribute::RESPONSE_PORT, u32::from(port) << 16);
    });
    other.send_to(&request, first).unwrap();
    let (answer, from) = receive(&quiet);
    assert_eq!(from, first);
    assert_eq!(answer.mapped(), other.local_addr().unwrap());
    assert_eq!(server.metric("nat_discovery_total{request=\"response_port\"}"), 1);
}

/// RFC 5780 §3.5
#[test]
fn a_padded_request_is_answered_with_as_many_bytes() {
    let server = start(Setup::new());
    let [first, _] = learn(&server);
    let client = open_client();
    let padded = |writer: &mut Writer<'_>| writer.attribute(attribute::PADDING, &[b'p'; 1500]);
    let (answer, _) = ask(&client, first, padded);
    assert_eq!(answer.0.len(), 20 + 4 + 1500);
    let (answer, from) = ask(&client, first, |writer| {
        padded(writer);
        writer.number(attribute::CHANGE_REQUEST, BOTH);
    });
    assert_eq!(answer.0.len(), 20 + 4 + 1500 + 8);
    assert_ne!(from, first);
    assert_eq!(server.metric("nat_discovery_total{request=\"padding\"}"), 2);
}

/// Behind a 1:1 NAT the server tells the addresses outside, and sends from those inside.
#[test]
fn what_is_told_is_what_the_nat_makes_of_it() {
    let server = start(
        Setup::new()
            .flag("--relay-ip", "127.0.0.1")
            .flag("--external-ip", "203.0.113.5/127.0.0.1")
            .flag("--external-ip", "203.0.113.6/127.0.0.2"),
    );
    let client = open_client();
    let (answer, from) = ask(&client, server.address(), |writer| {
        writer.number(attribute::CHANGE_REQUEST, BOTH);
    });
    assert_eq!(from.ip().to_string(), "127.0.0.2");
    let outside = SocketAddr::new("203.0.113.6".parse().unwrap(), from.port());
    assert_eq!(told(&answer, attribute::RESPONSE_ORIGIN), outside);
    assert_eq!(told(&answer, attribute::OTHER_ADDRESS), outside);
}

/// A wildcard listener gets an address of its own for the purpose.
#[test]
fn beside_a_wildcard_the_relay_address_is_the_first() {
    let server = Setup::new()
        .listen("0.0.0.0:0")
        .flag("--relay-ip", "127.0.0.3")
        .flag("--nat-alternate", "127.0.0.2:0")
        .start();
    let port = server.address().port();
    let first = SocketAddr::new("127.0.0.3".parse().unwrap(), port);
    let client = open_client();
    let (answer, from) =
        ask(&client, first, |writer| writer.number(attribute::CHANGE_REQUEST, BOTH));
    assert_eq!(from, told(&answer, attribute::OTHER_ADDRESS));
    assert_eq!(from.ip().to_string(), "127.0.0.2");
    // Any other address of the wildcard is a plain STUN server.
    let plain_place = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
    let (answer, from) = ask(&client, plain_place, |_| ());
    assert_eq!(from, plain_place);
    assert_eq!(answer.attribute(attribute::OTHER_ADDRESS), None);
}

/// RFC 5780 §6
#[test]
fn a_family_without_a_second_address_serves_none_of_it() {
    let server = Setup::new()
        .listen("127.0.0.1:0")
        .listen("[::1]:0")
        .flag("--nat-alternate", "127.0.0.2:0")
        .start();
    let six = server.listeners().iter().find(|listener| listener.is_ipv6()).unwrap();
    let answer = Client::udp_to(*six).exchange(&plain(BINDING, &new_id(), |writer| {
        writer.number(attribute::CHANGE_REQUEST, BOTH);
    }));
    assert_eq!((answer.code(), answer.unknown()), (420, vec![attribute::CHANGE_REQUEST]));
}
