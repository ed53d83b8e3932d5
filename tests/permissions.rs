//! Permissions: RFC 8656 §9 and §10.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::{Client, Peer, Setup, new_id};
use turnwire::stun::{Method, attribute};

fn peer_at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 9, last), port))
}

/// RFC 8656 §10.2: one peer that cannot be permitted, and none is.
#[test]
fn all_peers_of_a_request_are_permitted_or_none() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    client.allocate();
    let peer = Peer::new();
    let denied = SocketAddr::from(([10, 0, 0, 1], 9));
    let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 9));
    assert_eq!(client.try_permit(&[peer.address, denied]).code(), 403);
    assert_eq!(client.try_permit(&[denied, peer.address]).code(), 403);
    assert_eq!(client.try_permit(&[peer.address, v6]).code(), 443);
    client.send(peer.address, b"not permitted");
    client.fence();
    assert_eq!(server.drops("no_permission"), 1);
    client.permit(peer.address);
    client.send(peer.address, b"permitted");
    assert_eq!(peer.payload(), b"permitted");
}

/// RFC 8656 §10.1: any number of peers; a client is known to name fourteen.
#[test]
fn fourteen_peers_are_permitted_by_one_request() {
    let server = Setup::with_local_peers().start();
    for mut client in Client::both(&server) {
        let relayed = client.allocate();
        let peers: Vec<_> =
            (1..=14).map(|last| Peer::at(IpAddr::V4(Ipv4Addr::new(127, 0, 9, last)))).collect();
        let addresses: Vec<_> = peers.iter().map(|peer| peer.address).collect();
        assert_eq!(client.try_permit(&addresses).code(), 0);
        for peer in &peers {
            peer.send(relayed, b"hello");
            assert_eq!(client.data(), (peer.address, b"hello".to_vec()));
        }
    }
}

/// RFC 8656 §9: a permission is for an IP address; ports do not matter.
#[test]
fn a_permission_is_for_all_ports_of_its_address_and_for_no_other_address() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    let relayed = client.allocate();
    let (named, other_port) = (Peer::new(), Peer::new());
    let other_address = Peer::at(Ipv4Addr::new(127, 0, 0, 2).into());
    client.permit(SocketAddr::new(named.address.ip(), 0));
    other_address.send(relayed, b"unheard");
    for peer in [named, other_port] {
        peer.send(relayed, b"heard");
        assert_eq!(client.data(), (peer.address, b"heard".to_vec()));
        client.send(peer.address, b"answered");
        assert_eq!(peer.payload(), b"answered");
    }
    assert_eq!(server.drops("no_permission"), 1);
}

/// RFC 8656 §10.2: 443 for a family that the allocation does not have, before anything else.
#[test]
fn a_peer_of_another_family_is_a_mismatch() {
    let server = Setup::new().listen("127.0.0.1:0").listen("[::1]:0").start();
    let v4 = SocketAddr::from(([10, 0, 0, 1], 9));
    let v6 = "[fd00::1]:9".parse::<SocketAddr>().expect("an address");
    let mut client = Client::udp(&server);
    client.allocate_family(1);
    assert_eq!(client.try_permit(&[v6]).code(), 443);
    let mut client = Client::udp(&server);
    client.allocate_family(2);
    assert_eq!(client.try_permit(&[v4]).code(), 443);
    assert_eq!(client.try_permit(&[v6]).code(), 403);
}

/// RFC 8656 §10.2
#[test]
fn a_request_without_a_readable_peer_is_bad() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    client.allocate();
    assert_eq!(client.try_permit(&[]).code(), 400);
    for value in [&b""[..], &[0, 1, 0, 9, 127, 0, 0], &[0, 3, 0, 9, 127, 0, 0, 1]] {
        let answer = client.request(Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer_at(1, 9));
            writer.attribute(attribute::XOR_PEER_ADDRESS, value);
        });
        assert_eq!(answer.code(), 400, "{value:?}");
    }
    client.send(peer_at(1, 9), b"not permitted");
    client.fence();
    assert_eq!(server.drops("no_permission"), 1);
}

/// RFC 8656 §10.2: 508 when there are too many; those that are there can be refreshed.
#[test]
fn permissions_are_bounded() {
    let bound = "[limits]\npermissions = 3";
    let server = Setup::with_local_peers().config(bound).start();
    let mut client = Client::udp(&server);
    client.allocate();
    let peers: Vec<_> = (1..=5).map(|last| peer_at(last, 9)).collect();
    assert_eq!(client.try_permit(&peers[..2]).code(), 0);
    // All or none: the third would fit, the fourth does not.
    assert_eq!(client.try_permit(&peers[2..4]).code(), 508);
    client.permit(peers[2]);
    assert_eq!(client.try_permit(&peers[3..4]).code(), 508);
    // A channel is no way round.
    assert_eq!(client.try_bind(0x4000, peers[3]).code(), 508);
    assert_eq!(client.try_permit(&peers[..3]).code(), 0);
    assert_eq!(client.try_bind(0x4000, peers[0]).code(), 0);
    assert_eq!(server.refusals("permission_limit", 508), 3);
}

/// RFC 8489 §6.3.1: whatever it does once, it may do again.
#[test]
fn a_retransmission_is_answered_alike() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    client.allocate();
    for method in [Method::CREATE_PERMISSION, Method::CHANNEL_BIND, Method::REFRESH] {
        let request = client.signed(method, &new_id(), |writer| {
            writer.number(attribute::CHANNEL_NUMBER, 0x4000 << 16);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer_at(1, 9));
        });
        let first = client.exchange(&request);
        assert_eq!(first.code(), 0);
        assert_eq!(client.exchange(&request), first);
    }
}

/// RFC 8656 §5: without an allocation there is nothing to permit.
#[test]
fn without_an_allocation_it_is_a_mismatch() {
    let server = Setup::with_local_peers().start();
    for mut client in Client::both(&server) {
        assert_eq!(client.try_permit(&[peer_at(1, 9)]).code(), 437);
        assert_eq!(client.try_bind(0x4000, peer_at(1, 9)).code(), 437);
    }
}
