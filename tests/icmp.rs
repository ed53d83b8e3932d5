//! ICMP errors are told to the client: RFC 8656 §11.5, §18.13.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use common::{Client, Inbound, Peer, Setup};

/// A port where nobody is, and nobody comes while this lives: it is held by a socket that is connected elsewhere.
struct Closed {
    address: SocketAddr,
    _holder: Peer,
}

fn closed_port(ip: IpAddr) -> Closed {
    let holder = Peer::at(ip);
    holder.socket.connect((ip, 9)).expect("a route");
    Closed { address: holder.address, _holder: holder }
}

fn dual() -> common::Server {
    Setup::with_local_peers().listen("127.0.0.1:0").listen("[::1]:0").start()
}

const FAMILIES: [(u8, IpAddr, [u8; 8]); 2] = [
    // Destination unreachable, port unreachable (RFC 792).
    (1, IpAddr::V4(Ipv4Addr::LOCALHOST), [0, 0, 3, 3, 0, 0, 0, 0]),
    // Destination unreachable, port unreachable (RFC 4443 §3.1).
    (2, IpAddr::V6(Ipv6Addr::LOCALHOST), [0, 0, 1, 4, 0, 0, 0, 0]),
];

/// RFC 8656 §11.5: a Data indication with XOR-PEER-ADDRESS and ICMP, and without DATA.
#[test]
fn a_closed_port_is_told_with_type_and_code() {
    let server = dual();
    for (family, ip, icmp) in FAMILIES {
        for mut client in Client::both(&server) {
            client.allocate_family(family);
            let closed = closed_port(ip);
            let nobody = closed.address;
            client.permit(nobody);
            client.send(nobody, b"anybody there?");
            assert_eq!(client.inbound(), Inbound::Icmp(nobody, icmp.to_vec()));
            // A bound peer is told about in the same way: ChannelData cannot say it.
            client.bind(0x4000, nobody);
            client.channel(0x4000, b"still nobody?");
            assert_eq!(client.inbound(), Inbound::Icmp(nobody, icmp.to_vec()));
        }
    }
    assert_eq!(server.metric("icmp_indications_total"), 8);
}

/// The server reads the relay in vain then, and the listener next, which has to tell where a packet was sent.
#[test]
fn a_closed_port_costs_the_next_packet_nothing() {
    let setup = Setup::with_local_peers().listen("0.0.0.0:0").flag("--relay-ip", "127.0.0.1");
    let server =
        setup.flag("--workers", 1).config("[relay]\npass_dscp = false\npass_ecn = false").start();
    let port = server.address().port();
    let mut client = Client::udp_to((Ipv4Addr::LOCALHOST, port).into());
    let (closed, friend) = (closed_port(Ipv4Addr::LOCALHOST.into()), Peer::new());
    let nobody = closed.address;
    client.allocate();
    client.permit(nobody);
    client.bind(0x4000, friend.address);
    for number in 0..20_u8 {
        client.send(nobody, b"anybody there?");
        assert!(matches!(client.inbound(), Inbound::Icmp(..)));
        client.channel(0x4000, &[number]);
        assert_eq!(friend.payload(), [number]);
    }
}

/// The other peers of the allocation notice nothing.
#[test]
fn a_closed_port_costs_other_peers_no_packet() {
    let server = dual();
    for (family, ip, _) in FAMILIES {
        for mut client in Client::both(&server) {
            let relayed = client.allocate_family(family);
            let (closed, friend) = (closed_port(ip), Peer::at(ip));
            let nobody = closed.address;
            client.permit(nobody);
            client.bind(0x4000, friend.address);
            for number in 0..100_u8 {
                client.send(nobody, b"anybody there?");
                client.channel(0x4000, &[number]);
                friend.send(relayed, &[number]);
            }
            for number in 0..100_u8 {
                assert_eq!(friend.payload(), [number]);
            }
            let mut heard = 0..100_u8;
            while !heard.is_empty() {
                match client.inbound() {
                    Inbound::Channel(0x4000, payload) => {
                        assert_eq!(Some(payload[0]), heard.next());
                    }
                    Inbound::Icmp(peer, _) => assert_eq!(peer, nobody),
                    other => panic!("unexpected: {other:?}"),
                }
            }
        }
    }
}
