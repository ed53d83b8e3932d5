//! Data on its way: RFC 8656 §11 and §12.6, §12.7.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::{Client, Inbound, Peer, Server, Setup, channel_message, eventually, new_id, plain};
use turnwire::stun::{Kind, Method, attribute};

const CHANNEL: u16 = 0x4000;
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// The most that UDP over IPv4 carries.
const LARGEST: usize = 65_507;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 256) as u8).collect()
}

/// A server that listens and relays on both families.
fn dual() -> Server {
    Setup::with_local_peers().listen("127.0.0.1:0").listen("[::1]:0").start()
}

/// RFC 8656 §11.2, §11.3, §12.6, §12.7
#[test]
fn payloads_of_any_length_go_both_ways_over_udp_and_tcp() {
    let server = Setup::with_local_peers().start();
    for mut client in Client::both(&server) {
        let relayed = client.allocate();
        let (bound, permitted) = (Peer::new(), Peer::new());
        client.bind(CHANNEL, bound.address);
        for length in [0, 1, 2, 3, 4, 1200, 1473, 9000] {
            let payload = pattern(length);
            client.channel(CHANNEL, &payload);
            assert_eq!(bound.receive(), (payload.clone(), relayed));
            bound.send(relayed, &payload);
            assert_eq!(client.channel_data(), (CHANNEL, payload.clone()));
            client.send(permitted.address, &payload);
            assert_eq!(permitted.receive(), (payload.clone(), relayed));
            permitted.send(relayed, &payload);
            assert_eq!(client.data(), (permitted.address, payload));
        }
    }
}

/// The longest datagrams fit through a stream, in both framings and directions.
#[test]
fn the_longest_datagrams_go_both_ways_over_tcp() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::tcp(&server);
    let relayed = client.allocate();
    let (bound, permitted) = (Peer::new(), Peer::new());
    client.bind(CHANNEL, bound.address);
    let largest = pattern(LARGEST);
    client.channel(CHANNEL, &largest);
    assert_eq!(bound.receive().0, largest);
    client.send(permitted.address, &largest);
    assert_eq!(permitted.receive().0, largest);
    bound.send(relayed, &largest);
    assert_eq!(client.channel_data(), (CHANNEL, largest.clone()));
    // Data indications of such a length pass 65,535 bytes with their header, and still fit.
    permitted.send(relayed, &largest);
    assert_eq!(client.data(), (permitted.address, largest));
    // One byte more is no datagram.
    client.channel(CHANNEL, &pattern(LARGEST + 1));
    client.fence();
    assert_eq!(server.drops("too_long"), 1);
}

/// What has no room for the header on the way to a client over UDP is lost, and nothing else.
#[test]
fn a_datagram_too_long_for_its_header_costs_only_itself() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    let relayed = client.allocate();
    let (bound, permitted) = (Peer::new(), Peer::new());
    client.bind(CHANNEL, bound.address);
    for peer in [&bound, &permitted] {
        peer.send(relayed, &pattern(LARGEST));
        peer.send(relayed, b"fits");
    }
    assert_eq!(client.channel_data(), (CHANNEL, b"fits".to_vec()));
    assert_eq!(client.data(), (permitted.address, b"fits".to_vec()));
    let longest = pattern(LARGEST - 4);
    bound.send(relayed, &longest);
    assert_eq!(client.channel_data(), (CHANNEL, longest));
    assert_eq!(server.drops("send_too_big"), 2);
}

/// RFC 8656 §12.5: over UDP, padding is not needed and does no harm.
#[test]
fn channel_data_may_be_padded_over_udp() {
    let server = Setup::with_local_peers().start();
    let (mut client, peer) = (Client::udp(&server), Peer::new());
    client.allocate();
    client.bind(CHANNEL, peer.address);
    for length in 1..=4 {
        let payload = pattern(length);
        let mut padded = channel_message(CHANNEL, &payload);
        padded.resize(8, 0);
        client.write(&padded);
        assert_eq!(peer.payload(), payload);
    }
}

/// RFC 8656 §11.2: dropped without an answer, and counted.
#[test]
fn send_indications_that_cannot_be_relayed_are_dropped_quietly() {
    let server = Setup::with_local_peers().start();
    let (mut client, peer) = (Client::udp(&server), Peer::new());
    let indication = |attributes: &[(u16, &[u8])]| {
        plain(Kind::indication(Method::SEND), &new_id(), |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer.address);
            attributes.iter().for_each(|(kind, value)| writer.attribute(*kind, value));
        })
    };
    client.send(peer.address, b"no allocation");
    client.allocate();
    client.send(peer.address, b"no permission");
    client.permit(peer.address);
    // RFC 8489 §6.3.2: an unknown attribute that must be understood.
    client.write(&indication(&[(attribute::DATA, b"x"), (0x7F01, b"")]));
    client.write(&indication(&[]));
    let no_peer = plain(Kind::indication(Method::SEND), &new_id(), |writer| {
        writer.attribute(attribute::DATA, b"to whom?");
    });
    client.write(&no_peer);
    // RFC 8656 §14: with the DF bit set, on a way that is wide enough.
    client.write(&indication(&[(attribute::DONT_FRAGMENT, b""), (attribute::DATA, b"fine")]));
    assert_eq!(peer.payload(), b"fine");
    assert!(client.has_nothing());
    let drops = ["no_allocation", "no_permission", "malformed"];
    assert_eq!(drops.map(|reason| server.drops(reason)), [1, 1, 3]);
}

/// RFC 8656 §11.3: without a permission nothing comes in.
#[test]
fn a_peer_without_a_permission_is_not_heard() {
    let server = Setup::with_local_peers().start();
    let friend = Peer::new();
    let stranger = Peer::at(Ipv4Addr::new(127, 0, 0, 2).into());
    for mut client in Client::both(&server) {
        let relayed = client.allocate();
        let before = server.drops("no_permission");
        friend.send(relayed, b"nobody knows me yet");
        // It comes by another socket than the request below.
        eventually("it is dropped", || (server.drops("no_permission") > before).then_some(()));
        client.permit(friend.address);
        stranger.send(relayed, b"nobody knows me");
        friend.send(relayed, b"hello");
        assert_eq!(client.data(), (friend.address, b"hello".to_vec()));
        assert_eq!(server.drops("no_permission"), before + 2);
    }
}

/// RFC 8656 §2.1, §7: the client's family and the peer's need not be the same.
#[test]
fn ipv6_clients_reach_ipv4_peers_and_the_reverse() {
    let server = dual();
    for (listener, family, ip) in [(1, 1, V4), (0, 2, V6), (1, 2, V6)] {
        let listener = server.listeners()[listener];
        for mut client in [Client::udp_to(listener), Client::tcp_to(listener)] {
            let relayed = client.allocate_family(family);
            let (bound, permitted) = (Peer::at(ip), Peer::at(ip));
            client.bind(CHANNEL, bound.address);
            client.channel(CHANNEL, b"ping");
            assert_eq!(bound.receive(), (b"ping".to_vec(), relayed));
            bound.send(relayed, b"pong");
            assert_eq!(client.channel_data(), (CHANNEL, b"pong".to_vec()));
            client.send(permitted.address, b"ping");
            assert_eq!(permitted.receive(), (b"ping".to_vec(), relayed));
            permitted.send(relayed, b"pong");
            assert_eq!(client.data(), (permitted.address, b"pong".to_vec()));
        }
    }
}

/// RFC 8656 §7.2, check 9
#[test]
fn a_dual_allocation_relays_to_both_families() {
    let server = dual();
    let mut client = Client::udp(&server);
    let both = client.try_allocate(|writer| {
        writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    let relayed = both.addresses(attribute::XOR_RELAYED_ADDRESS);
    let peers = [Peer::at(V4), Peer::at(V6)];
    assert_eq!(client.try_permit(&[peers[0].address, peers[1].address]).code(), 0);
    for (peer, relayed) in peers.iter().zip(relayed) {
        client.send(peer.address, b"ping");
        assert_eq!(peer.receive(), (b"ping".to_vec(), relayed));
        peer.send(relayed, b"pong");
        assert_eq!(client.data(), (peer.address, b"pong".to_vec()));
    }
}

/// Two clients of the server reach each other through their relayed addresses, whatever kind of
/// address that is: it is the usual case of a call.
#[test]
fn two_clients_talk_through_their_relayed_addresses() {
    let advertised = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
    let plain = Setup::new().start();
    let behind_nat = Setup::new().flag("--external-ip", advertised).start();
    for (server, ip) in [(plain, V4), (behind_nat, advertised)] {
        for [mut alice, other] in [Client::both(&server), Client::both(&server)] {
            let mut bob = other.bob();
            let (at_alice, at_bob) = (alice.allocate(), bob.allocate());
            assert_eq!([at_alice.ip(), at_bob.ip()], [ip, ip]);
            alice.bind(CHANNEL, at_bob);
            bob.permit(at_alice);
            alice.channel(CHANNEL, b"hello bob");
            assert_eq!(bob.data(), (at_alice, b"hello bob".to_vec()));
            bob.send(at_alice, b"hello alice");
            assert_eq!(alice.channel_data(), (CHANNEL, b"hello alice".to_vec()));
        }
    }
}

/// Nothing is lost, doubled or put out of order on the way, in bursts that the sockets can hold.
#[test]
fn bursts_arrive_whole_and_in_order() {
    let server = Setup::with_local_peers().start();
    for mut client in Client::both(&server) {
        let (relayed, peer) = (client.allocate(), Peer::new());
        client.bind(CHANNEL, peer.address);
        let numbered = |number: u32| [&number.to_be_bytes()[..], &pattern(200)].concat();
        for burst in 0..50 {
            let numbers = burst * 40..(burst + 1) * 40;
            for number in numbers.clone() {
                client.channel(CHANNEL, &numbered(number));
            }
            for number in numbers.clone() {
                assert_eq!(peer.payload(), numbered(number));
                peer.send(relayed, &numbered(number));
            }
            for number in numbers {
                assert_eq!(client.channel_data(), (CHANNEL, numbered(number)));
            }
        }
    }
    for direction in ["to_peer", "to_client"] {
        let packets = format!("relayed_packets_total{{direction=\"{direction}\"}}");
        let bytes = format!("relayed_bytes_total{{direction=\"{direction}\"}}");
        assert_eq!(server.metric(&packets), 2 * 2000);
        assert_eq!(server.metric(&bytes), 2 * 2000 * 204);
    }
}

/// A worker that finds all of its sockets full, handles more in one go than its buffers hold, and
/// mixes nothing up.
#[test]
fn a_server_that_was_held_up_loses_and_mixes_up_nothing() {
    let server = Setup::with_local_peers().flag("--workers", 1).start();
    let mut calls: Vec<_> = (0..16)
        .flat_map(|_| Client::both(&server))
        .map(|mut client| {
            let (relayed, peer) = (client.allocate(), Peer::new());
            client.bind(CHANNEL, peer.address);
            (client, peer, relayed)
        })
        .collect();
    let label = |call: usize, number: u8| [&[call as u8, number], &[number; 60][..]].concat();
    // No more than a default socket buffer holds: UDP clients share the listener's.
    let to_peer = |client: &Client| if client.is_stream() { 150 } else { 20 };
    server.pause();
    for (call, (client, peer, relayed)) in calls.iter_mut().enumerate() {
        (0..to_peer(client)).for_each(|number| client.channel(CHANNEL, &label(call, number)));
        (0..100).for_each(|number| peer.send(*relayed, &label(call, number)));
    }
    server.resume();
    for (call, (client, peer, _)) in calls.iter_mut().enumerate() {
        for number in 0..to_peer(client) {
            assert_eq!(peer.payload(), label(call, number));
        }
        for number in 0..100 {
            assert_eq!(client.channel_data(), (CHANNEL, label(call, number)));
        }
    }
}

/// RFC 8489 §14: what is application data is not looked into, even when it looks like STUN.
#[test]
fn relayed_stun_is_only_data() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    let (relayed, peer) = (client.allocate(), Peer::new());
    client.permit(peer.address);
    // A connectivity check of ICE (RFC 8445 §7).
    let check = plain(Kind::request(Method::BINDING), &new_id(), |writer| {
        writer.attribute(attribute::USERNAME, b"them:us");
        writer.fingerprint();
    });
    client.send(peer.address, &check);
    assert_eq!(peer.payload(), check);
    peer.send(relayed, &check);
    assert_eq!(client.inbound(), Inbound::Data(peer.address, check));
}
