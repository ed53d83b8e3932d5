//! Refresh requests, and how allocations end: RFC 8656 §8.

mod common;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

use common::{
    Client, PATIENCE, Peer, Setup, eventually, free_ports, new_id, plain, unique_loopback,
};
use turnwire::stun::{Kind, Method, attribute};

/// RFC 8656 §8.2
#[test]
fn lifetime_zero_deletes_the_allocation_at_once() {
    let ip = unique_loopback();
    let port = free_ports(&[ip], 1);
    let quota = "[limits]\nallocations_per_user = 1";
    let server = Setup::with_local_peers().relay_on(&[ip], port, 1).config(quota).start();
    for [mut client, mut next] in [Client::both(&server), Client::both(&server)] {
        let peer = Peer::new();
        let relayed = client.allocate();
        client.bind(0x4000, peer.address);
        let deleted = client.refresh(0);
        assert_eq!((deleted.code(), deleted.lifetime()), (0, 0));
        // The 5-tuple, the quota and the only port are free again; the channel is gone.
        let dropped = server.drops("no_allocation");
        client.channel(0x4000, b"too late");
        client.fence();
        assert_eq!(server.drops("no_allocation"), dropped + 1);
        assert_eq!(next.allocate(), relayed);
        assert_eq!(next.refresh(0).code(), 0);
        assert_eq!(client.allocate(), relayed);
        assert_eq!(client.refresh(0).code(), 0);
        assert!(peer.has_nothing());
    }
    assert_eq!(server.live(), 0);
}

/// A peer that goes on sending to a deleted allocation learns that nobody is there.
#[test]
fn the_port_of_a_deleted_allocation_is_closed() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    let relayed = client.allocate();
    assert_eq!(client.refresh(0).code(), 0);
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    peer.connect(relayed).expect("a route");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    peer.send(b"hello?").expect("the first one is sent");
    let answer = peer.recv(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(answer, Err(ErrorKind::ConnectionRefused));
}

/// RFC 8656 §8.2, note: a retransmitted deletion finds nothing, which its client takes for
/// success.
#[test]
fn without_an_allocation_there_is_nothing_to_refresh() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    assert_eq!(client.refresh(600).code(), 437);
    client.allocate();
    let request = client.signed(Method::REFRESH, &new_id(), |writer| {
        writer.number(attribute::LIFETIME, 0);
    });
    assert_eq!(client.exchange(&request).code(), 0);
    assert_eq!(client.exchange(&request).code(), 437);
    assert_eq!(server.refusals("no_allocation", 437), 2);
}

/// RFC 8656 §8.2: the desired lifetime is found as that of an Allocate.
#[test]
fn a_lifetime_is_bounded_by_the_default_below_and_the_maximum_above() {
    let lifetimes = "[turn]\ndefault_lifetime = \"60s\"\nmax_lifetime = \"2m\"";
    let server = Setup::new().config(lifetimes).start();
    let mut client = Client::udp(&server);
    client.allocate();
    for (asked, granted) in [(1, 60), (60, 60), (90, 90), (121, 120), (u32::MAX, 120)] {
        assert_eq!(client.refresh(asked).lifetime(), granted, "{asked}");
    }
    assert_eq!(client.request(Method::REFRESH, |_| ()).lifetime(), 60);
}

/// RFC 8489 §14: of attributes that may stand only once, the first counts. §14.5: what stands
/// after MESSAGE-INTEGRITY does not count at all.
#[test]
fn the_first_lifetime_counts_and_none_after_the_integrity() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    client.allocate();
    let twice = client.request(Method::REFRESH, |writer| {
        writer.number(attribute::LIFETIME, 700);
        writer.number(attribute::LIFETIME, 800);
    });
    assert_eq!(twice.lifetime(), 700);
    let (challenge, credential) = (client.challenge(), client.credential().clone());
    let smuggled = plain(Kind::request(Method::REFRESH), &new_id(), |writer| {
        credential.sign(writer, &challenge);
        writer.number(attribute::LIFETIME, 0);
    });
    assert_eq!(client.exchange(&smuggled).lifetime(), 600);
}

/// RFC 8656 §3.2, §8: who does not refresh in time loses the allocation, who does keeps it.
#[test]
fn an_allocation_lives_as_long_as_it_is_refreshed() {
    let short = "[turn]\ndefault_lifetime = \"1s\"";
    let server = Setup::with_local_peers().config(short).start();
    let (mut careful, mut careless) = (Client::udp(&server), Client::tcp(&server));
    let peer = Peer::new();
    careful.allocate();
    careless.allocate();
    careful.bind(0x4000, peer.address);
    eventually("the careless client's allocation is over", || {
        assert_eq!(careful.refresh(1).code(), 0);
        (server.live() == 1).then_some(())
    });
    assert_eq!(careless.refresh(1).code(), 437);
    careful.channel(0x4000, b"alive");
    assert_eq!(peer.payload(), b"alive");
    let expired = server.metric("allocations_ended_total{reason=\"expired\"}");
    assert_eq!(expired, 1);
}

/// RFC 8656 §8.2 and §7.2, check 9: each of two relayed transport addresses has its own life.
#[test]
fn one_family_of_two_can_be_deleted() {
    let server = Setup::with_local_peers().listen("127.0.0.1:0").listen("[::1]:0").start();
    let mut client = Client::udp(&server);
    let both = client.try_allocate(|writer| {
        writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    let relayed = both.addresses(attribute::XOR_RELAYED_ADDRESS);
    let refresh = |client: &mut Client, family: u8, lifetime| {
        client.request(Method::REFRESH, |writer| {
            writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
            writer.number(attribute::LIFETIME, lifetime);
        })
    };
    let (v4, v6) = (Peer::new(), Peer::at("::1".parse().expect("an address")));
    client.bind(0x4001, v4.address);
    client.bind(0x4002, v6.address);
    assert_eq!(refresh(&mut client, 2, 900).lifetime(), 900);
    assert_eq!(refresh(&mut client, 2, 0).lifetime(), 0);
    assert_eq!(refresh(&mut client, 2, 600).code(), 443);
    assert_eq!(refresh(&mut client, 7, 600).code(), 443);
    // The other one is not concerned.
    client.channel(0x4002, b"to nobody");
    client.channel(0x4001, b"to somebody");
    assert_eq!(v4.receive(), (b"to somebody".to_vec(), relayed[0]));
    assert!(v6.has_nothing());
    assert_eq!(refresh(&mut client, 1, 0).code(), 0);
    assert_eq!((client.refresh(600).code(), server.live()), (437, 0));
}

/// RFC 8656 §5: an allocation belongs to its user.
#[test]
fn another_user_gets_nowhere_on_the_same_5_tuple() {
    let server = Setup::with_local_peers().start();
    for mut client in Client::both(&server) {
        client.allocate();
        let mut thief = client.bob();
        assert_eq!(thief.refresh(0).code(), 441);
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(thief.try_permit(&[peer]).code(), 441);
        assert_eq!(thief.try_bind(0x4000, peer).code(), 441);
        assert_eq!(thief.try_allocate(|_| ()).code(), 437);
        let nobody = common::Credential::user("nobody", "knows");
        let mut stranger = thief.with(nobody);
        assert_eq!(stranger.refresh(0).code(), 401);
        let mut owner = stranger.with(common::Credential::user("alice", "wonderland"));
        assert_eq!(owner.refresh(600).code(), 0);
    }
    assert_eq!(server.refusals("wrong_user", 441), 6);
}

/// A session's end is told in one line of the log: who, how long, how much, why.
#[test]
fn each_ended_session_has_one_line_in_the_log() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    let relayed = client.allocate();
    let peer = Peer::new();
    client.bind(0x4000, peer.address);
    client.channel(0x4000, b"12345");
    assert_eq!(peer.payload(), b"12345");
    assert_eq!(client.refresh(0).code(), 0);
    let line = eventually("the session is logged", || {
        let log = server.log();
        let mut lines = log.lines().filter(|line| line.contains(&relayed.to_string()));
        let line = lines.next()?.to_owned();
        assert_eq!(lines.next(), None);
        Some(line)
    });
    for word in ["alice", &client.local().to_string(), "deleted"] {
        assert!(line.contains(word), "{word} in {line}");
    }
}
