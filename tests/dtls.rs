//! TURN over DTLS (RFC 7350) on real sockets, with OpenSSL as the client.
#![cfg(feature = "dtls")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use common::{
    Carried, Client, Dtls, PATIENCE, Peer, Server, Setup, Trust, eventually, kind, new_id, plain,
    receive,
};
use turnwire::stun::{Kind, Method, TransactionId, attribute};

const CHANNEL: u16 = 0x4000;
/// Handshakes refused because their address has too many associations.
const REFUSED: &str = "dtls_refused_total{limit=\"per_address\"}";

/// A server that does DTLS where it does everything else.
fn start() -> (Trust, Server) {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    (trust, server)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 256) as u8).collect()
}

/// A socket that talks to the server and nobody else.
fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a client's socket");
    socket.connect(server).expect("a route to the server");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// A payload to the peer and one back, in a channel.
#[track_caller]
fn echo(client: &mut Client, peer: &Peer, relayed: SocketAddr, payload: &[u8]) {
    client.channel(CHANNEL, payload);
    assert_eq!(peer.receive(), (payload.to_vec(), relayed));
    peer.send(relayed, payload);
    assert_eq!(client.channel_data(), (CHANNEL, payload.to_vec()));
}

/// The ClientHello with which a client begins.
fn hello() -> Vec<u8> {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let mut client = Dtls::new(socket(nobody.local_addr().expect("an address")));
    client.socket().set_nonblocking(true).expect("an option");
    client.step();
    let mut hello = vec![0; 2000];
    let length = nobody.recv(&mut hello).expect("a ClientHello");
    hello.truncate(length);
    hello
}

#[test]
fn payloads_of_any_length_go_both_ways_on_both_kinds_of_listener() {
    let trust = Trust::new();
    let server =
        Setup::with_local_peers().certificate(&trust).flag("--dtls-listen", "127.0.0.1:0").start();
    for address in [server.address(), server.dtls_listeners()[0]] {
        let mut client = Client::dtls_to(address);
        let relayed = client.allocate();
        let (bound, permitted) = (Peer::new(), Peer::new());
        client.bind(CHANNEL, bound.address);
        client.permit(permitted.address);
        for length in [0, 1, 2, 3, 4, 1200, 1473, 9000, 16_000] {
            let payload = pattern(length);
            echo(&mut client, &bound, relayed, &payload);
            client.send(permitted.address, &payload);
            assert_eq!(permitted.receive(), (payload.clone(), relayed));
            permitted.send(relayed, &payload);
            assert_eq!(client.data(), (permitted.address, payload));
        }
        // RFC 5246 §6.2.1: there are no longer records.
        bound.send(relayed, &pattern(16_384 - 3));
        eventually("it is dropped", || (server.drops("too_long") > 0).then_some(()));
    }
    assert_eq!(server.metric("dtls_associations_live"), 2);
}

#[test]
fn ipv6_clients_and_peers_are_served() {
    let trust = Trust::new();
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let server = Setup::with_local_peers().listen("[::1]:0").certificate(&trust).start();
    let mut client = Client::dtls_to(server.address());
    let relayed = client.allocate_family(2);
    let (bound, permitted) = (Peer::at(v6), Peer::at(v6));
    client.bind(CHANNEL, bound.address);
    echo(&mut client, &bound, relayed, &pattern(1200));
    client.permit(permitted.address);
    permitted.send(relayed, b"in the longest header there is");
    assert_eq!(client.data(), (permitted.address, b"in the longest header there is".to_vec()));
}

#[test]
fn plain_stun_is_served_beside_it_and_not_on_its_own_listener() {
    let trust = Trust::new();
    let setup = Setup::with_local_peers().certificate(&trust);
    let server = setup.flag("--dtls-listen", "127.0.0.1:0").start();
    let mut both = Client::dtls_to(server.address());
    both.allocate();
    let mut plain_client = Client::udp(&server);
    plain_client.allocate();
    both.fence();
    let own = server.dtls_listeners()[0];
    let outside = socket(own);
    outside.send(&plain(Kind::request(Method::BINDING), &new_id(), |_| ())).expect("sent");
    eventually("it is dropped", || (server.drops("dtls_unknown") > 0).then_some(()));
    Client::dtls_to(own).fence();
    outside.set_nonblocking(true).expect("an option");
    assert!(outside.recv(&mut [0; 100]).is_err());
}

#[test]
fn without_a_certificate_it_is_noise() {
    let server = Setup::new().start();
    let outside = socket(server.address());
    outside.send(&hello()).expect("sent");
    eventually("it is dropped", || (server.drops("noise") > 0).then_some(()));
}

#[test]
fn it_can_be_kept_off_the_port_of_plain_stun() {
    let trust = Trust::new();
    let server = Setup::new().certificate(&trust).config("[listen]\ndtls_on_udp = false").start();
    let outside = socket(server.address());
    outside.send(&hello()).expect("sent");
    eventually("it is dropped", || (server.drops("noise") > 0).then_some(()));
}

/// RFC 6347 §4.1.1: several records may share a datagram.
#[test]
fn records_that_share_a_datagram_and_datagrams_that_share_a_train_all_arrive() {
    let (_trust, server) = start();
    let mut client = Client::dtls_to(server.address());
    let relayed = client.allocate();
    let peer = Peer::new();
    client.bind(CHANNEL, peer.address);
    let messages =
        [b"one".as_slice(), b"two", b"three"].map(|it| common::channel_message(CHANNEL, it));
    client.dtls().write_together(&messages.each_ref().map(Vec::as_slice));
    assert_eq!([(); 3].map(|()| peer.payload()), [b"one".as_slice(), b"two", b"three"]);
    // A burst each way, while the server does not look: it gets and sends trains.
    let payload = |i: u8| vec![i; 1000];
    server.pause();
    (0..50).for_each(|i| client.channel(CHANNEL, &payload(i)));
    server.resume();
    (0..50).for_each(|i| assert_eq!(peer.payload(), payload(i)));
    server.pause();
    (0..50).for_each(|i| peer.send(relayed, &payload(i)));
    server.resume();
    (0..50).for_each(|i| assert_eq!(client.channel_data(), (CHANNEL, payload(i))));
}

#[test]
fn what_is_replayed_or_forged_is_counted_and_not_relayed() {
    let (_trust, server) = start();
    let mut client = Client::dtls_to(server.address());
    client.allocate();
    let peer = Peer::new();
    client.bind(CHANNEL, peer.address);
    let record = client.dtls().sealed(&common::channel_message(CHANNEL, b"once"));
    let mut forged = record.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    for datagram in [&forged, &record, &record] {
        client.dtls().socket().send(datagram).expect("sent");
    }
    client.fence();
    assert_eq!(peer.payload(), b"once");
    assert!(peer.has_nothing());
    assert_eq!((server.drops("dtls_forged"), server.drops("dtls_replayed")), (1, 1));
}

/// RFC 6347 §4.2.1: strangers cost nothing, and get less than they send.
#[test]
fn a_thousand_hellos_of_strangers_leave_nothing_behind() {
    let (_trust, server) = start();
    let hello = hello();
    let flood = |count| {
        for _ in 0..count {
            // Each from a port of its own.
            let stranger = socket(server.address());
            stranger.send(&hello).expect("sent");
            let mut answer = [0; 2000];
            let length = stranger.recv(&mut answer).expect("a HelloVerifyRequest");
            assert!(length < hello.len() && answer[13] == 3);
        }
    };
    flood(100);
    let before = server.resident();
    flood(1000);
    assert_eq!(server.metric("dtls_cookies_sent_total"), 1100);
    assert_eq!(server.metric("dtls_handshakes_begun_total"), 0);
    let more = server.resident().saturating_sub(before);
    assert!(more < 256 << 10, "{more} bytes for a thousand strangers");
}

#[test]
fn an_association_costs_little_when_nothing_happens() {
    let trust = Trust::new();
    let limits = "[listen]\nworkers = 1\n[limits.dtls]\nidle = \"10m\"";
    let server = Setup::new().certificate(&trust).config(limits).start();
    let mut clients = Vec::new();
    let mut open = |count| {
        for _ in 0..count {
            clients.push(Client::dtls_to(server.address()));
        }
        server.resident()
    };
    let before = open(200);
    let each = open(1000).saturating_sub(before) / 1000;
    assert_eq!(server.metric("dtls_associations_live"), 1200);
    assert!(each < 3 << 10, "{each} bytes each");
}

#[test]
fn a_cookie_is_worth_nothing_from_another_address() {
    let (_trust, server) = start();
    let mut client = Carried::new(socket(server.address()));
    let hello = client.with_cookie();
    let thief = socket(server.address());
    thief.send(&hello).expect("sent");
    assert_eq!(kind(&receive(&thief)), 3, "a HelloVerifyRequest");
    assert_eq!(server.metric("dtls_handshakes_begun_total"), 0);
    client.outside.send(&hello).expect("sent");
    assert_eq!(kind(&receive(&client.outside)), 2, "a ServerHello");
    assert_eq!(server.metric("dtls_half_open"), 1);
}

#[test]
fn half_open_handshakes_are_bounded_and_the_oldest_makes_room() {
    let trust = Trust::new();
    let limits = "[listen]\nworkers = 1\n[limits.dtls]\nhandshakes = 8";
    let setup = Setup::with_local_peers().certificate(&trust).config(limits);
    let server = setup.start();
    let half_open = |_| Carried::new(socket(server.address())).half_open();
    let mut clients: Vec<_> = (0..20).map(half_open).collect();
    // The last thing that is counted of all of this.
    eventually("all have begun", || {
        let crowded_out = "dtls_handshakes_failed_total{cause=\"crowded_out\"}";
        (server.metric(crowded_out) == 12).then_some(())
    });
    assert_eq!(server.metric("dtls_handshakes_begun_total"), 20);
    assert_eq!(server.metric("dtls_half_open"), 8);
    // Neither the newest of them nor anybody else is kept out.
    clients[19].finish();
    Client::dtls_to(server.address()).allocate();
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up_and_said_so() {
    let trust = Trust::new();
    let limits = "[limits.dtls]\nhandshake = \"1s\"";
    let setup = Setup::new().certificate(&trust).config(limits);
    let server = setup.flag("--log-level", "debug").start();
    let _client = Carried::new(socket(server.address())).half_open();
    eventually("it is given up", || {
        let left = server.metric("dtls_handshakes_failed_total{cause=\"left_silently\"}");
        (left == 1).then_some(())
    });
    assert_eq!(server.metric("dtls_half_open"), 0);
    eventually("it is said", || server.log().contains("left in the middle").then_some(()));
}

#[test]
fn an_address_has_so_many_associations_and_no_more() {
    let trust = Trust::new();
    let limits = "[limits]\nexempt = []\n[limits.dtls]\nper_address = 2";
    let server = Setup::new().certificate(&trust).config(limits).start();
    let mut clients = [(); 2].map(|()| Client::dtls_to(server.address()));
    let mut third = Dtls::new(socket(server.address()));
    third.socket().set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    eventually("it is refused", || {
        assert!(!third.step());
        (server.metric(REFUSED) > 0).then_some(())
    });
    // One that is closed makes room.
    clients[0].dtls().close();
    clients[0].dtls().is_closed_by_server();
    Client::dtls_to(server.address()).fence();
    clients[1].fence();
}

/// What it is about to replace is not held against it.
#[test]
fn a_client_restarts_where_its_address_has_as_many_associations_as_it_may() {
    let trust = Trust::new();
    let limits = "[limits]\nexempt = []\n[limits.dtls]\nper_address = 2";
    let server = Setup::new().certificate(&trust).config(limits).start();
    let mut clients = [(); 2].map(|()| Client::dtls_to(server.address()));
    let socket = clients[0].dtls().socket().try_clone().expect("a second handle");
    let mut restarted = Carried::new(socket).half_open();
    // The other one may come to another worker, which would be the first then.
    eventually("it has begun", || (server.metric("dtls_half_open") == 1).then_some(()));
    // One of them at a time, lest the limit be twice as high.
    let socket = clients[1].dtls().socket().try_clone().expect("a second handle");
    Carried::new(socket).half_open();
    eventually("one is refused", || (server.metric(REFUSED) == 1).then_some(()));
    restarted.finish();
    assert_eq!(server.metric("dtls_associations_live"), 2);
    assert_eq!(server.metric("dtls_handshakes_begun_total"), 3);
}

#[test]
fn close_notify_ends_the_allocation_and_is_answered() {
    let (_trust, server) = start();
    let mut client = Client::dtls_to(server.address());
    client.allocate();
    assert_eq!((server.live(), server.metric("dtls_associations_live")), (1, 1));
    client.dtls().close();
    client.dtls().is_closed_by_server();
    assert_eq!((server.live(), server.metric("dtls_associations_live")), (0, 0));
    eventually("it is logged", || server.log().contains("transport=\"dtls\"").then_some(()));
}

#[test]
fn an_association_without_an_allocation_is_closed_in_order_and_another_is_not() {
    let trust = Trust::new();
    let limits = "[limits.dtls]\nidle = \"1s\"";
    let setup = Setup::with_local_peers().certificate(&trust).config(limits);
    let server = setup.start();
    let mut busy = Client::dtls_to(server.address());
    let relayed = busy.allocate();
    let mut idle = Client::dtls_to(server.address());
    idle.fence();
    idle.dtls().is_closed_by_server();
    assert_eq!(server.metric("dtls_idle_total"), 1);
    let peer = Peer::new();
    busy.bind(CHANNEL, peer.address);
    echo(&mut busy, &peer, relayed, b"still here");
    // Without its allocation it is like the other.
    assert_eq!(busy.refresh(0).code(), 0);
    busy.dtls().is_closed_by_server();
}

/// RFC 6347 §4.2.8
#[test]
fn a_client_that_restarts_begins_anew_and_nobody_else_can_end_its_association() {
    let (_trust, server) = start();
    let mut client = Client::dtls_to(server.address());
    let relayed = client.allocate();
    let peer = Peer::new();
    client.bind(CHANNEL, peer.address);
    // Somebody forges its address, and then even goes on as far as the cookie.
    let socket = client.dtls().socket().try_clone().expect("a second handle");
    socket.send(&hello()).expect("sent");
    assert_eq!(kind(&receive(&socket)), 3, "a HelloVerifyRequest");
    let _forger = Carried::new(socket.try_clone().expect("a third handle")).half_open();
    eventually("it has begun", || (server.metric("dtls_half_open") == 1).then_some(()));
    // The server's flight is not for this session, which reads over it.
    echo(&mut client, &peer, relayed, b"the first goes on");
    // The client itself goes on to the end: its first association and its allocation are over.
    let mut third = Client::on_association(Dtls::connect(socket));
    // The client may have the last flight before the server has counted what it was the end of.
    eventually("the first allocation is over", || (server.live() == 0).then_some(()));
    let relayed = third.allocate();
    third.bind(CHANNEL, peer.address);
    echo(&mut third, &peer, relayed, b"the second is there");
    assert_eq!(server.metric("dtls_associations_live"), 1);
}

#[test]
fn a_certificate_swapped_in_the_middle_of_a_relay_loses_nothing() {
    let (trust, server) = start();
    let mut client = Client::dtls_to(server.address());
    let relayed = client.allocate();
    let peer = Peer::new();
    client.bind(CHANNEL, peer.address);
    let before = client.dtls().serial();
    trust.renew();
    let after = eventually("new clients get the new certificate", || {
        echo(&mut client, &peer, relayed, b"nothing is lost");
        Some(Client::dtls_to(server.address()).dtls().serial()).filter(|it| *it != before)
    });
    assert_ne!(after, before);
    for i in 0..100 {
        echo(&mut client, &peer, relayed, &pattern(i));
    }
    assert_eq!(client.refresh(600).code(), 0);
}

/// RFC 8489 §11
#[test]
fn classic_stun_over_dtls_is_an_error() {
    let (_trust, server) = start();
    let mut client = Client::dtls_to(server.address());
    let id = TransactionId::classic(7, [7; 12]);
    let answer = client.exchange(&plain(Kind::request(Method::BINDING), &id, |_| ()));
    assert_eq!((answer.code(), server.refusals("classic_over_dtls", 500)), (500, 1));
    assert!(answer.attribute(attribute::MAPPED_ADDRESS).is_none());
}

#[test]
fn a_server_that_stops_says_so() {
    let (_trust, server) = start();
    let mut client = Client::dtls_to(server.address());
    client.allocate();
    server.stop();
    client.dtls().is_closed_by_server();
}
