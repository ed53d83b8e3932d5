//! Channels: RFC 8656 §12.

mod common;

use std::net::{Ipv6Addr, SocketAddr};

use common::{Client, Peer, Setup, channel_message};
use turnwire::stun::{Method, attribute};

fn nobody(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 9, 1], port))
}

/// RFC 8656 §12.2: 0x4000 through 0x4FFF.
#[test]
fn the_numbers_of_rfc_8656_can_be_bound_and_no_others() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    client.allocate();
    for number in [0x0000, 0x3FFF, 0x5000, 0x7FFF, 0x8000, 0xFFFF] {
        assert_eq!(client.try_bind(number, nobody(1)).code(), 400, "{number:#x}");
    }
    for (number, port) in [(0x4000, 1), (0x4FFF, 2)] {
        assert_eq!(client.try_bind(number, nobody(port)).code(), 0, "{number:#x}");
    }
    assert_eq!(server.refusals("channel_range", 400), 6);
}

/// RFC 5766 §11: up to 0x7FFF, for old clients, when the operator says so.
#[test]
fn the_numbers_of_rfc_5766_are_a_setting() {
    let setting = "[turn]\nrfc5766_channels = true";
    let server = Setup::with_local_peers().config(setting).start();
    for mut client in Client::both(&server) {
        let (relayed, peer) = (client.allocate(), Peer::new());
        for number in [0x3FFF, 0x8000, 0xFFFF] {
            assert_eq!(client.try_bind(number, nobody(1)).code(), 400, "{number:#x}");
        }
        client.bind(0x7FFF, peer.address);
        client.channel(0x7FFF, b"there");
        assert_eq!(peer.payload(), b"there");
        peer.send(relayed, b"and back");
        assert_eq!(client.channel_data(), (0x7FFF, b"and back".to_vec()));
    }
}

/// RFC 8656 §12.2: one number, one peer; and the same again refreshes.
#[test]
fn a_number_and_a_peer_are_bound_to_each_other_only() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    let (relayed, peer) = (client.allocate(), Peer::new());
    client.bind(0x4000, peer.address);
    assert_eq!(client.try_bind(0x4000, nobody(1)).code(), 400);
    assert_eq!(client.try_bind(0x4001, peer.address).code(), 400);
    assert_eq!(server.refusals("channel_conflict", 400), 2);
    client.bind(0x4000, peer.address);
    // It is the transport address that is bound: another port is another peer.
    let neighbour = Peer::new();
    client.bind(0x4001, neighbour.address);
    for (number, peer) in [(0x4000, &peer), (0x4001, &neighbour)] {
        peer.send(relayed, b"from");
        assert_eq!(client.channel_data(), (number, b"from".to_vec()));
        client.channel(number, b"to");
        assert_eq!(peer.payload(), b"to");
    }
}

/// RFC 8656 §12: a channel comes with a permission, which other ports of the peer profit from;
/// Send indications to a bound peer go on working.
#[test]
fn a_channel_permits_its_address_and_leaves_indications_alone() {
    let server = Setup::with_local_peers().start();
    for mut client in Client::both(&server) {
        let relayed = client.allocate();
        let (bound, neighbour) = (Peer::new(), Peer::new());
        client.bind(0x4000, bound.address);
        neighbour.send(relayed, b"next door");
        assert_eq!(client.data(), (neighbour.address, b"next door".to_vec()));
        client.send(bound.address, b"by indication");
        assert_eq!(bound.receive(), (b"by indication".to_vec(), relayed));
    }
}

/// RFC 8656 §12.2: the peer is judged as in a CreatePermission.
#[test]
fn a_peer_that_may_not_be_permitted_cannot_be_bound() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    client.allocate();
    assert_eq!(client.try_bind(0x4000, nobody(1)).code(), 403);
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 1));
    assert_eq!(client.try_bind(0x4000, v6).code(), 443);
    client.channel(0x4000, b"to nobody");
    client.fence();
    assert_eq!(server.drops("no_channel"), 1);
}

/// RFC 8656 §12.2
#[test]
fn both_attributes_are_needed() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    client.allocate();
    let only_number = client.request(Method::CHANNEL_BIND, |writer| {
        writer.number(attribute::CHANNEL_NUMBER, 0x4000 << 16);
    });
    let only_peer = client.request(Method::CHANNEL_BIND, |writer| {
        writer.xor_address(attribute::XOR_PEER_ADDRESS, nobody(1));
    });
    let short = client.request(Method::CHANNEL_BIND, |writer| {
        writer.attribute(attribute::CHANNEL_NUMBER, &[0x40, 0]);
        writer.xor_address(attribute::XOR_PEER_ADDRESS, nobody(1));
    });
    assert_eq!([only_number, only_peer, short].map(|answer| answer.code()), [400; 3]);
    // RFC 8656 §18.1: the two bytes behind the number are ignored.
    let reserved = client.request(Method::CHANNEL_BIND, |writer| {
        writer.number(attribute::CHANNEL_NUMBER, 0x4000 << 16 | 0xFFFF);
        writer.xor_address(attribute::XOR_PEER_ADDRESS, nobody(1));
    });
    assert_eq!(reserved.code(), 0);
}

/// RFC 8656 §12.2: 508; those that are there can be refreshed.
#[test]
fn channels_are_bounded() {
    let bound = "[limits]\nchannels = 2";
    let server = Setup::with_local_peers().config(bound).start();
    let mut client = Client::udp(&server);
    client.allocate();
    client.bind(0x4000, nobody(1));
    client.bind(0x4001, nobody(2));
    assert_eq!(client.try_bind(0x4002, nobody(3)).code(), 508);
    client.bind(0x4000, nobody(1));
    assert_eq!(server.refusals("channel_limit", 508), 1);
}

/// RFC 8656 §12.6: silently discarded.
#[test]
fn data_on_an_unbound_channel_or_with_a_wrong_length_is_dropped() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    let peer = Peer::new();
    client.write(&channel_message(0x4000, b"no allocation"));
    client.allocate();
    client.bind(0x4000, peer.address);
    client.channel(0x4001, b"no channel");
    client.channel(0x7FFF, b"no channel");
    let mut long = channel_message(0x4000, b"cut off");
    long.truncate(8);
    client.write(&long);
    client.channel(0x4000, b"fine");
    assert_eq!(peer.payload(), b"fine");
    assert!(client.has_nothing());
    let drops = ["no_allocation", "no_channel", "malformed"];
    assert_eq!(drops.map(|reason| server.drops(reason)), [1, 2, 1]);
}
